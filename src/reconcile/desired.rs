//! What all sources together declare, as far as it can be enforced: one owner for every object, each in its source's
//! scope, each of a kind that the cluster serves.
//!
//! Pure. An object that breaks a rule is left out and reported; it never stops the others.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::kinds::Kinds;
use super::observed::api_version;
use crate::admission::own::{is_canary, is_installation, is_own};
use crate::api::{GROUP, Problem, SYSTEM_NAMESPACE};
use crate::object::{GroupKind, ObjectId, ObjectRef};
use crate::render::{ManifestSummary, Rendered};
use crate::snapshot::Source;

/// One source's contribution.
pub struct Contribution<'a> {
    pub source: &'a Source,
    /// `None` where Git was not read yet.
    pub rendered: Option<&'a Arc<Rendered>>,
}

/// Where a desired object is declared. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Index of the source.
    pub source: usize,
    pub file: Arc<str>,
    /// Index of the manifest in the file.
    pub index: usize,
    pub summary: Arc<ManifestSummary>,
    pub stage: Stage,
}

impl Declaration {
    /// `apps/web.yaml:7`
    pub fn position(&self) -> String {
        format!("{}:{}", self.file, self.summary.line)
    }
}

/// Objects of one stage may depend on those of an earlier one: a Namespace is there before what is in it, an account
/// before its token, which kube-controller-manager deletes where it finds no account to it, and a webhook is registered
/// only when what serves it was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Namespaces,
    Definitions,
    Accounts,
    Objects,
    Webhooks,
}

impl Stage {
    pub const ALL: [Self; 5] = [Self::Namespaces, Self::Definitions, Self::Accounts, Self::Objects, Self::Webhooks];

    pub fn of(kind: &GroupKind) -> Self {
        match (kind.group.as_str(), kind.kind.as_str()) {
            ("", "Namespace") => Self::Namespaces,
            ("apiextensions.k8s.io", "CustomResourceDefinition") => Self::Definitions,
            ("", "ServiceAccount") => Self::Accounts,
            ("admissionregistration.k8s.io", _) | ("apiregistration.k8s.io", "APIService") => Self::Webhooks,
            _ => Self::Objects,
        }
    }
}

/// A problem and the source that it belongs to.
#[derive(Clone, Debug)]
pub struct SourceProblem {
    pub source: usize,
    pub problem: Problem,
}

#[derive(Debug, Default)]
pub struct Desired {
    pub objects: BTreeMap<ObjectId, Declaration>,
    pub problems: Vec<SourceProblem>,
    /// Kinds that are declared and not served: a CRD may bring them.
    pub unknown_kinds: bool,
    /// What each source declares in a way that cannot be brought about, as it says it.
    pub unresolved: BTreeSet<(usize, ObjectId)>,
}

/// Puts the sources together. `contributions` are in the order of the snapshot's sources.
pub fn resolve(contributions: &[Contribution<'_>], kinds: &Kinds) -> Desired {
    let mut desired = Desired::default();
    for (index, contribution) in contributions.iter().enumerate() {
        for (file, rendered) in contribution.rendered.iter().flat_map(|rendered| &rendered.files) {
            let file: Arc<str> = file.as_str().into();
            for (position, summary) in rendered.manifests.iter().enumerate() {
                let declaration = Declaration {
                    source: index,
                    file: Arc::clone(&file),
                    index: position,
                    summary: Arc::clone(summary),
                    stage: Stage::of(&summary.id.kind),
                };
                desired.add(contributions, declaration, kinds);
            }
        }
    }
    desired
}

impl Desired {
    /// Whether an object has not left a source: another declares it now, or this one in a way that cannot be brought
    /// about. What any other says that it cannot have keeps nothing.
    pub fn still_holds(&self, source: usize, id: &ObjectId) -> bool {
        // Of a kind that is not served, nobody knows that it has a namespace.
        let bare = || ObjectId { namespace: "".into(), ..id.clone() };
        self.objects.contains_key(id)
            || self.unresolved.contains(&(source, id.clone()))
            || (*id.namespace == *"default" && self.unresolved.contains(&(source, bare())))
    }

    fn add(&mut self, contributions: &[Contribution<'_>], declaration: Declaration, kinds: &Kinds) {
        let contribution = &contributions[declaration.source];
        let source = contribution.source;
        let summary = &declaration.summary;
        let Some(kind) = kinds.in_version(&summary.id.kind, &summary.version) else {
            self.unknown_kinds = true;
            let message = unknown_kind(&summary.id.kind, &summary.api_version, kinds.versions(&summary.id.kind));
            return self.report(contribution, &declaration, None, "UnknownKind", message);
        };
        let namespace = match (kind.info.namespaced, summary.id.namespace.as_str()) {
            (true, "") => "default",
            (true, namespace) => namespace,
            (false, _) => "",
        };
        let id = ObjectId { namespace: namespace.into(), ..summary.id.clone() };
        if !kind.info.namespaced && !summary.id.namespace.is_empty() {
            let message = format!("{} is cluster-scoped and can have no namespace", summary.id.kind);
            return self.report(contribution, &declaration, Some(&id), "InvalidManifest", message);
        }
        if !source.governs_id(id.as_ref()) {
            let message = format!(
                "it lies outside the scope of Enforcement \"{}\"; declare it in another source or widen the scope",
                source.name
            );
            return self.report(contribution, &declaration, Some(&id), "OutOfScope", message);
        }
        if id.kind.group == GROUP && source.scope.namespaces.is_some() {
            let message = "Enforcements may be declared only by a source whose scope names their kind".to_owned();
            return self.report(contribution, &declaration, Some(&id), "OutOfScope", message);
        }
        if is_reserved(id.as_ref()) {
            let message = "it is gitadel's own, which makes and keeps it itself; take it out of Git".to_owned();
            return self.report(contribution, &declaration, Some(&id), "Reserved", message);
        }
        if let Some(other) = stricter(source, contributions.iter().map(|other| other.source), id.as_ref()) {
            let message = format!(
                "Enforcement \"{}\" governs it with action {:?}, and this one with {:?}; declare it there",
                other.name, other.action, source.action
            );
            return self.report(contribution, &declaration, Some(&id), "Conflict", message);
        }
        match self.objects.entry(id.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(declaration);
            }
            Entry::Occupied(first) => {
                let message = format!(
                    "it is declared twice: also at {}; the first one counts until one of them is removed",
                    first.get().position()
                );
                self.report(contribution, &declaration, Some(&id), "Conflict", message);
            }
        }
    }

    fn report(
        &mut self,
        contribution: &Contribution<'_>,
        declaration: &Declaration,
        id: Option<&ObjectId>,
        reason: &str,
        message: String,
    ) {
        let id = id.unwrap_or(&declaration.summary.id);
        self.unresolved.insert((declaration.source, id.clone()));
        self.problems.push(SourceProblem {
            source: declaration.source,
            problem: Problem {
                reason: reason.into(),
                object: Some(id.to_string()),
                position: Some(declaration.position()),
                commit: contribution.rendered.map(|rendered| rendered.commit.id.clone()),
                message,
            },
        });
    }
}

fn unknown_kind(kind: &GroupKind, api_version: &str, served: &[String]) -> String {
    let name = &kind.kind;
    if served.is_empty() {
        return format!(
            "the cluster serves no kind {name} in {api_version}; its CustomResourceDefinition must be in the cluster first"
        );
    }
    let served: Vec<_> = served.iter().map(|version| self::api_version(&kind.group, version)).collect();
    format!(
        "the cluster does not serve {name} in {api_version}, but in {}: write the manifest in that version",
        served.join(", ")
    )
}

/// What gitadel makes by its own rules: its records, its Leases, its webhook configuration, its canaries. Two writers of
/// one object would fight, and the API server would obey neither.
fn is_reserved(id: ObjectRef<'_>) -> bool {
    let is_lease = (id.group, id.kind, id.namespace) == ("coordination.k8s.io", "Lease", SYSTEM_NAMESPACE);
    (is_own(id) && !is_installation(id)) || is_canary(id) || is_lease
}

/// Another source that governs an object more strictly. What is merely observed binds nobody: such a declaration would
/// set the object free from the one that enforces.
fn stricter<'a>(source: &Source, mut all: impl Iterator<Item = &'a Source>, id: ObjectRef<'_>) -> Option<&'a Source> {
    all.find(|other| other.action > source.action && other.governs_id(id))
}

#[cfg(test)]
mod tests {
    use super::super::webhook_configuration::testing::source;
    use super::*;
    use crate::api::{Action, Scope};

    #[test]
    fn what_one_enforces_another_does_not_only_observe() {
        let of = |name: &str, action, namespace: &str| {
            let scope = Scope { namespaces: Some(vec![namespace.to_owned()]), ..Scope::default() };
            Source { action, ..source(name, scope) }
        };
        let all = [
            of("a-observing", Action::Observe, "shop"),
            of("enforcing", Action::Enforce, "shop"),
            of("enforcing-too", Action::Enforce, "shop"),
            of("elsewhere", Action::Observe, "bank"),
        ];
        let settings = |namespace| ObjectRef { group: "", kind: "ConfigMap", namespace, name: "settings" };
        let found = |at: usize, namespace| stricter(&all[at], all.iter(), settings(namespace)).map(|s| s.name.as_str());
        assert_eq!(found(0, "shop"), Some("enforcing"));
        assert_eq!(found(1, "shop"), None);
        assert_eq!(found(3, "bank"), None);
    }

    #[test]
    fn what_others_depend_on_comes_first() {
        let kinds = [
            ("", "Namespace"),
            ("apiextensions.k8s.io", "CustomResourceDefinition"),
            ("", "ServiceAccount"),
            ("", "Secret"),
            ("apiregistration.k8s.io", "APIService"),
        ];
        let stages = kinds.map(|(group, kind)| Stage::of(&GroupKind::new(group, kind)));
        assert_eq!(stages, Stage::ALL);
        assert!(Stage::ALL.is_sorted());
    }

    #[test]
    fn a_version_that_is_not_served_is_told_with_those_that_are() {
        let kind = GroupKind::new("apps", "Deployment");
        let told = unknown_kind(&kind, "apps/v1beta1", &["v1".to_owned()]);
        assert!(told.contains("not serve Deployment in apps/v1beta1, but in apps/v1:"), "{told}");
        assert!(unknown_kind(&kind, "apps/v1", &[]).contains("CustomResourceDefinition"));
    }

    #[test]
    fn an_installation_may_be_in_git_and_what_gitadel_makes_may_not() {
        let own = |group, kind, name| {
            let namespace =
                if matches!(kind, "ConfigMap" | "Secret" | "Deployment" | "Lease") { "gitadel-system" } else { "" };
            is_reserved(ObjectRef { group, kind, namespace, name })
        };
        assert!(own("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "gitadel"));
        assert!(own("", "ConfigMap", "gitadel-inventory-all-x"));
        assert!(own("", "Secret", "gitadel-baseline-all-0"));
        assert!(own("", "ConfigMap", "gitadel-canary"));
        assert!(own("coordination.k8s.io", "Lease", "gitadel"));
        for (group, kind, name) in [
            ("", "Namespace", "gitadel-system"),
            ("apiextensions.k8s.io", "CustomResourceDefinition", "enforcements.gitadel.dev"),
            ("apps", "Deployment", "gitadel"),
            ("rbac.authorization.k8s.io", "ClusterRoleBinding", "gitadel"),
            ("gitadel.dev", "Enforcement", "all"),
            ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "other"),
        ] {
            assert!(!own(group, kind, name), "{kind} {name}");
        }
    }
}
