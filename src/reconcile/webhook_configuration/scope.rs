//! Which requests the sources of one kind of entry govern, said twice: exactly, as a CEL expression, and coarsely, as a
//! namespace selector.
//!
//! The expression alone would do. The selector keeps the API server from evaluating any CEL for namespaces that nobody
//! governs (a quiet cluster's writes are Leases of `kube-system` for the greater part), and shows in `kubectl get` what
//! is governed. It never holds back a cluster-scoped object, and for a Namespace it looks at its own labels, of which
//! the API server itself writes `kubernetes.io/metadata.name`.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::admission::own::{BASELINE_PREFIX, INVENTORY_PREFIX};
use crate::api::{ClusterScope, GROUP, SYSTEM_NAMESPACE, Scope};
use crate::cel::{list, quote};
use crate::snapshot::{KindInfo, Source};

const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// Absent for cluster-scoped objects; a Namespace's own name for a Namespace.
const NAMESPACE: &str = "request.?namespace.orValue('')";
/// With a definition go the objects of its kind, which may lie anywhere.
const DELETES_DEFINITION: &str = "(request.operation == 'DELETE' && request.resource.group == 'apiextensions.k8s.io' && \
    request.resource.resource == 'customresourcedefinitions')";
const IS_NAMESPACE_OBJECT: &str = "(request.resource.group == '' && request.resource.resource == 'namespaces')";

/// CEL that is true for exactly the requests that at least one source governs (as [`Source::governs`] says), and for the
/// deletion of a Namespace, or of a definition, with which objects may go that it governs.
pub fn governed_by_any(sources: &[&Source], kinds: &[KindInfo]) -> String {
    let expressions: BTreeSet<_> = sources.iter().map(|source| governed(source, kinds)).collect();
    match expressions.len() {
        0 => "false".into(),
        _ => expressions.into_iter().map(|e| format!("({e})")).collect::<Vec<_>>().join(" || "),
    }
}

/// CEL that is true for requests that concern gitadel's own objects and the Enforcements: whatever is enforced, these are
/// kept. A deletion shows the old object alone, and one of a collection no name but there.
pub fn own_objects() -> String {
    const NAME: &str = "(request.operation == 'DELETE' ? oldObject : object).?metadata.?name.orValue('')";
    let named = |resource: &str, prefix: &str| {
        format!("(request.resource.resource == '{resource}' && {NAME}.startsWith({}))", quote(prefix))
    };
    const ENTERED: &str =
        "(request.resource.resource == 'pods' && request.?subResource.orValue('') in ['exec', 'attach'])";
    let core = ["request.resource.resource == 'namespaces'", ENTERED].map(str::to_owned).into_iter();
    let core =
        core.chain([named("configmaps", INVENTORY_PREFIX), named("secrets", BASELINE_PREFIX)]).collect::<Vec<_>>();
    format!(
        "request.resource.group == '{GROUP}' || (request.resource.group == 'apiextensions.k8s.io' && \
         {NAME}.endsWith('.{GROUP}')) || (request.resource.group == '' && {NAMESPACE} == {} && ({}))",
        quote(SYSTEM_NAMESPACE),
        core.join(" || "),
    )
}

fn governed(source: &Source, kinds: &[KindInfo]) -> String {
    let scope = &source.scope;
    let mut namespaced = namespaces(scope);
    if scope.namespaces.is_none() && !source.governs_cluster_kind("", "Namespace") {
        namespaced = format!("{namespaced} && (!{IS_NAMESPACE_OBJECT} || request.operation == 'DELETE')");
    }
    format!("{NAMESPACE} == '' ? {} : ({namespaced})", cluster_kinds(source, kinds))
}

fn namespaces(scope: &Scope) -> String {
    if let Some(listed) = &scope.namespaces {
        return format!("{NAMESPACE} in {}", list(listed));
    }
    let excluded = scope.excluded_namespaces.as_deref().unwrap_or_default();
    let (patterns, names): (Vec<_>, Vec<_>) = excluded.iter().partition(|name| name.ends_with('*'));
    let mut terms = Vec::new();
    if !names.is_empty() {
        terms.push(format!("!({NAMESPACE} in {})", list(names)));
    }
    terms.extend(
        patterns
            .iter()
            .filter_map(|pattern| pattern.strip_suffix('*'))
            .map(|prefix| format!("!{NAMESPACE}.startsWith({})", quote(prefix))),
    );
    if terms.is_empty() { "true".into() } else { terms.join(" && ") }
}

fn cluster_kinds(source: &Source, kinds: &[KindInfo]) -> String {
    match source.scope.cluster {
        ClusterScope::All => "true".into(),
        ClusterScope::None => DELETES_DEFINITION.into(),
        ClusterScope::Listed => {
            // Requests name resources. A kind that is not served yet has no requests; once it is, the configuration is
            // computed anew.
            let resources: BTreeSet<_> = kinds
                .iter()
                .filter(|kind| !kind.namespaced && source.governs_cluster_kind(&kind.group, &kind.kind))
                .map(|kind| format!("{}/{}", kind.group, kind.resource))
                .collect();
            let listed = list(resources);
            format!("(request.resource.group + '/' + request.resource.resource) in {listed} || {DELETES_DEFINITION}")
        }
    }
}

/// The namespaces outside of which none of the sources governs anything. `always` is selected whatever they say.
pub fn namespace_selector(sources: &[&Source], always: Option<&str>) -> LabelSelector {
    let open: Vec<_> = sources.iter().filter(|source| source.scope.namespaces.is_none()).collect();
    let (operator, values) = if open.is_empty() {
        let listed: BTreeSet<_> = sources
            .iter()
            .flat_map(|source| source.scope.namespaces.iter().flatten())
            .filter(|name| can_be_namespace(name))
            .map(String::as_str)
            .chain(always)
            .map(str::to_owned)
            .collect();
        // Every Namespace has the label, so this selects none.
        if listed.is_empty() { ("DoesNotExist", listed) } else { ("In", listed) }
    } else {
        let left_out: BTreeSet<_> = open
            .iter()
            .flat_map(|source| source.scope.excluded_namespaces.iter().flatten())
            .filter(|name| can_be_namespace(name) && Some(name.as_str()) != always)
            .filter(|name| !sources.iter().any(|source| source.governs_namespace(name)))
            .cloned()
            .collect();
        if left_out.is_empty() {
            return LabelSelector::default();
        }
        ("NotIn", left_out)
    };
    LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: NAME_LABEL.into(),
            operator: operator.into(),
            values: (!values.is_empty()).then(|| values.into_iter().collect()),
        }]),
        match_labels: None,
    }
}

/// A DNS label. Other names (and patterns) say nothing about any namespace, but one of them in a selector would have
/// the API server refuse the whole configuration, and with it every other source's.
fn can_be_namespace(name: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && bytes.iter().all(|b| alphanumeric(b) || *b == b'-')
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{kind, source};
    use super::*;
    use crate::api::KindSelector;

    fn scope(namespaces: Option<&[&str]>, excluded: Option<&[&str]>, cluster: ClusterScope) -> Scope {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        Scope {
            namespaces: namespaces.map(owned),
            excluded_namespaces: excluded.map(owned),
            cluster,
            cluster_kinds: vec![KindSelector { group: "rbac.authorization.k8s.io".into(), kind: "ClusterRole".into() }],
        }
    }

    #[test]
    fn a_source_is_said_in_cel() {
        let kinds = [
            kind("rbac.authorization.k8s.io", "ClusterRole", "clusterroles", "v1", &[]),
            kind("rbac.authorization.k8s.io", "ClusterRoleBinding", "clusterrolebindings", "v1", &[]),
        ];
        let (n, crd) = (NAMESPACE, DELETES_DEFINITION);
        let cases = [
            (scope(None, None, ClusterScope::All), format!("{n} == '' ? true : (true)")),
            (
                scope(None, Some(&["kube-*", "legacy"]), ClusterScope::All),
                format!("{n} == '' ? true : (!({n} in ['legacy']) && !{n}.startsWith('kube-'))"),
            ),
            (scope(Some(&["shop"]), None, ClusterScope::None), format!("{n} == '' ? {crd} : ({n} in ['shop'])")),
            (
                scope(None, None, ClusterScope::None),
                format!("{n} == '' ? {crd} : (true && (!{IS_NAMESPACE_OBJECT} || request.operation == 'DELETE'))"),
            ),
            (
                scope(Some(&["shop"]), None, ClusterScope::Listed),
                format!(
                    "{n} == '' ? (request.resource.group + '/' + request.resource.resource) in \
                     ['rbac.authorization.k8s.io/clusterroles'] || {crd} : ({n} in ['shop'])"
                ),
            ),
        ];
        for (scope, expected) in cases {
            assert_eq!(governed(&source("a", scope), &kinds), expected);
        }
    }

    #[test]
    fn the_selector_never_leaves_out_gitadels_own_namespace() {
        let values = |source: Source| {
            let selector = namespace_selector(&[&source], Some("gitadel-system"));
            selector.match_expressions.map(|all| all[0].values.clone().unwrap_or_default())
        };
        assert_eq!(
            values(source("a", scope(Some(&["shop"]), None, ClusterScope::None))).unwrap(),
            ["gitadel-system", "shop"]
        );
        assert_eq!(
            values(source("a", scope(None, Some(&["gitadel-system", "legacy"]), ClusterScope::All))).unwrap(),
            ["legacy"]
        );
        assert_eq!(values(source("a", scope(None, Some(&["gitadel-system"]), ClusterScope::All))), None);
    }

    #[test]
    fn no_source_governs_nothing() {
        assert_eq!(governed_by_any(&[], &[]), "false");
    }

    #[test]
    fn the_selector_leaves_out_only_what_no_source_governs() {
        let all_but = |names: &[&str]| source("a", scope(None, Some(names), ClusterScope::All));
        let only = |names: &[&str]| source("b", scope(Some(names), None, ClusterScope::None));
        let cases = [
            (vec![all_but(&["kube-system", "legacy"])], Some(("NotIn", vec!["kube-system", "legacy"]))),
            (vec![all_but(&["kube-*"])], None),
            (vec![all_but(&["kube-system", "legacy"]), only(&["legacy"])], Some(("NotIn", vec!["kube-system"]))),
            (vec![all_but(&["x", "y"]), all_but(&["y", "z"])], Some(("NotIn", vec!["y"]))),
            (vec![all_but(&["kube-*"]), all_but(&["kube-system"])], Some(("NotIn", vec!["kube-system"]))),
            (vec![only(&["shop"]), only(&["billing", "shop"])], Some(("In", vec!["billing", "shop"]))),
            (vec![only(&["Shop", "o'brien", "", "-a"])], Some(("DoesNotExist", vec![]))),
            (vec![all_but(&["o'brien", "legacy"])], Some(("NotIn", vec!["legacy"]))),
            (vec![only(&[])], Some(("DoesNotExist", vec![]))),
        ];
        for (sources, expected) in cases {
            let selector = namespace_selector(&sources.iter().collect::<Vec<_>>(), None);
            let found = selector.match_expressions.map(|all| {
                assert_eq!(all.len(), 1);
                (all[0].operator.clone(), all[0].values.clone().unwrap_or_default())
            });
            let expected =
                expected.map(|(o, names)| (o.to_owned(), names.into_iter().map(str::to_owned).collect::<Vec<_>>()));
            assert_eq!(found, expected);
        }
    }
}
