//! Writes that never reach the webhook, because the answer is known before they are made.
//!
//! With `failurePolicy: Fail` a dead webhook stops every write that it would judge. A cluster that comes back from a
//! power-off needs some writes before gitadel's Pods can run. Each match condition here keeps out one such class, and
//! only where the decision would admit it from `object` and `oldObject` alone, for anybody: it is a rule evaluated
//! earlier, not a hole. None looks at who asks. The one that does, for the reconciler's dry-runs, exempts requests that
//! store nothing.
//!
//! Not exempt are gitadel's own Pods and workloads (creating and deleting Pods, writing Deployments and ReplicaSets in
//! `gitadel-system`): whether one is *the declared one* cannot be told from the object, so an exemption would admit any
//! Pod there. That needs in-process admission policies with the Pod template as their parameter. Until those exist a
//! cluster that governs `gitadel-system` and replaces all of gitadel's Pods at once while none of them runs (a drain of
//! every node) comes back only when the configuration is deleted; an ordinary power-off, after which the kubelet
//! restarts the same Pods, does not need them.
//!
//! Known to stay open through these rules, because no rule on state can close it: Lease holders (denial of service),
//! plain status such as a Pod's IP until its kubelet writes it again, addresses in the `EndpointSlice` of gitadel's
//! Service (an impostor has no key that `caBundle` trusts), a `Node` nobody asked for, and tokens of the named
//! namespaces (worth little where rules are on state).
//!
//! Traps: absent request fields (`subResource`, `namespace`) must be read with `.?`; `object` is null in a DELETE and
//! `oldObject` in a CREATE, so the operation is tested first; an erroring condition denies. A map entry with an empty
//! value is an entry: compare with `key in old && new[key] == old[key]`, never with a default of `''`.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::MatchCondition;

use crate::api::SYSTEM_NAMESPACE;

/// Name of gitadel's Service, as its `EndpointSlice` names it.
pub const SERVICE_NAME: &str = "gitadel";

/// Taints that node-lifecycle-controller and the kubelet set and remove. `out-of-service` is none of them: it makes
/// controllers delete Pods by force.
const NODE_CONDITION_TAINTS: [&str; 7] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/network-unavailable",
    "node.kubernetes.io/unschedulable",
];

/// A class of writes that is decided before the webhook is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exemption {
    pub name: &'static str,
    /// CEL that is true for the writes that are kept out.
    pub matches: String,
}

impl Exemption {
    fn new(name: &'static str, matches: impl Into<String>) -> Self {
        Self { name, matches: matches.into() }
    }

    /// A match condition lets a request *through to* the webhook, so it is the negation.
    pub fn match_condition(&self) -> MatchCondition {
        MatchCondition { name: self.name.into(), expression: format!("!({})", self.matches) }
    }
}

/// Every exemption, in the order in which a reader understands them. All are evaluated for each request, so the order
/// costs nothing.
pub fn exemptions(reconciler_users: &BTreeSet<String>) -> Vec<Exemption> {
    let mut all = Vec::new();
    if !reconciler_users.is_empty() {
        // A dry-run stores nothing. Ours ask what a commit would become before the webhook knows that commit.
        all.push(Exemption::new(
            "own-dry-run",
            format!("request.?dryRun.orValue(false) && request.userInfo.username in {}", list(reconciler_users)),
        ));
    }
    all.extend([
        // A Lease declares nothing. Without kube-system's neither scheduler nor controller manager becomes leader,
        // without kube-node-lease's every node goes NotReady after 50 s.
        Exemption::new("leases", resource("coordination.k8s.io", "leases")),
        // Diagnosis, a quarter of all writes of a busy cluster, and declared by nobody.
        Exemption::new(
            "events",
            "request.resource.resource == 'events' && request.resource.group in ['', 'events.k8s.io']",
        ),
        // Never stored. The kubelet needs them for `kubectl logs`, which one wants most while gitadel is down.
        Exemption::new("reviews", "request.resource.group in ['authentication.k8s.io', 'authorization.k8s.io']"),
        Exemption::new("pure-status", pure_status()),
        // A new node registers: all nodes may have been replaced while the cluster was off.
        Exemption::new("node-create", format!("{} && request.operation == 'CREATE'", resource("", "nodes"))),
        Exemption::new("node-taints", node_taints()),
        // The kubelet's own record of a node's drivers. A new node is not Ready without it.
        Exemption::new("csinode", resource("storage.k8s.io", "csinodes")),
        // Not stored. kube-system: kube-controller-manager makes its controllers' tokens, without which none runs.
        // gitadel-system: the kubelet mounts the reconciler's token.
        Exemption::new(
            "token",
            format!(
                "{} && request.?namespace.orValue('') in ['kube-system', '{SYSTEM_NAMESPACE}']",
                subresource("", "serviceaccounts", "token"),
            ),
        ),
        Exemption::new("own-binding", own_binding()),
        Exemption::new("own-slices", own_slices()),
    ]);
    all
}

/// A write to `/status` that changes nothing but `status`.
///
/// One change of metadata passes: deployment-controller writes its revision annotation *through* `deployments/status`
/// when it rolls back to an old ReplicaSet, and retries for ever where it is denied. Setting it, not removing it.
fn pure_status() -> String {
    let unchanged = ["labels", "finalizers", "ownerReferences"].map(|field| same(&format!("metadata.?{field}")));
    let object = same_entries("object", "oldObject", "k in ['metadata', 'status']");
    let annotations = annotations_but("k == 'deployment.kubernetes.io/revision'");
    format!(
        "request.?subResource.orValue('') == 'status' && request.operation == 'UPDATE' && {} && {object} && ({} || ({} && {annotations}))",
        unchanged.join(" && "),
        same("metadata.?annotations"),
        subresource("apps", "deployments", "status"),
    )
}

/// node-lifecycle-controller removes `not-ready`, or nothing is scheduled on a new node. Only the taints that say a
/// node's condition; everything else of the Node stays as it was.
fn node_taints() -> String {
    let metadata =
        ["labels", "annotations", "finalizers", "ownerReferences"].map(|field| same(&format!("metadata.?{field}")));
    let taints = NODE_CONDITION_TAINTS.map(quote).join(", ");
    let others = |object: &str| format!("{object}.?spec.?taints.orValue([]).filter(t, !(t.key in [{taints}]))");
    format!(
        "{} && request.operation == 'UPDATE' && {} && {} && {} == {}",
        resource("", "nodes"),
        metadata.join(" && "),
        same_entries("object.?spec.orValue({})", "oldObject.?spec.orValue({})", "k == 'taints'"),
        others("object"),
        others("oldObject"),
    )
}

/// The scheduler binds gitadel's Pods. Labels and annotations of a Binding are copied onto the Pod: none may come that
/// way but the topology of the node.
fn own_binding() -> String {
    format!(
        "{} && {} && request.operation == 'CREATE' && object.metadata.?annotations.orValue({{}}).size() == 0 && \
         object.metadata.?labels.orValue({{}}).all(k, k.startsWith('topology.kubernetes.io/'))",
        subresource("", "pods", "binding"),
        in_system_namespace(),
    )
}

/// The new addresses of gitadel's Pods get into the Service by which the API server finds them. Only the slices of that
/// Service, as endpointslice-controller writes them: its name and owner, Pods of the namespace for endpoints, and no
/// annotation but the time of the change. Labels, owner, and ports that are there stay; nothing is deleted.
fn own_slices() -> String {
    const TRIGGER: &str = "k == 'endpoints.kubernetes.io/last-change-trigger-time'";
    let labels = format!(
        "object.metadata.?labels.orValue({{}})[?'kubernetes.io/service-name'].orValue('') == '{SERVICE_NAME}' && \
         object.metadata.?labels.orValue({{}})[?'endpointslice.kubernetes.io/managed-by'].orValue('') == \
         'endpointslice-controller.k8s.io'"
    );
    let endpoints = format!(
        "{}.all(e, e.?targetRef.?kind.orValue('') == 'Pod' && \
         e.?targetRef.?namespace.orValue('') == '{SYSTEM_NAMESPACE}' && e.?hostname.orValue('') == '')",
        items("object", "endpoints"),
    );
    let created = format!(
        "object.metadata.name.startsWith('{SERVICE_NAME}-') && \
         object.metadata.?annotations.orValue({{}}).all(k, {TRIGGER}) && \
         object.metadata.?finalizers.orValue([]).size() == 0 && object.metadata.?ownerReferences.orValue([]).size() == 1 && \
         object.metadata.ownerReferences.all(o, o.kind == 'Service' && o.apiVersion == 'v1' && o.name == '{SERVICE_NAME}' && \
         o.?controller.orValue(false))"
    );
    let unchanged = ["labels", "finalizers", "ownerReferences"].map(|field| same(&format!("metadata.?{field}")));
    let annotations = same_entries(
        "object.metadata.?annotations.orValue({})",
        "oldObject.metadata.?annotations.orValue({})",
        TRIGGER,
    );
    // A slice without endpoints has no ports.
    let [new, old] = ["object", "oldObject"].map(|object| items(object, "ports"));
    let ports = format!("({new}.size() == 0 || {old}.size() == 0 || {new} == {old})");
    let updated = format!("{} && {annotations} && {ports}", unchanged.join(" && "));
    format!(
        "{} && {} && ((request.operation == 'CREATE' && {created}) || (request.operation == 'UPDATE' && {updated})) && \
         {labels} && {endpoints}",
        resource("discovery.k8s.io", "endpointslices"),
        in_system_namespace(),
    )
}

/// The main resource, no subresource of it.
fn resource(group: &str, resource: &str) -> String {
    subresource(group, resource, "")
}

fn subresource(group: &str, resource: &str, subresource: &str) -> String {
    format!(
        "request.resource.group == {} && request.resource.resource == {} && request.?subResource.orValue('') == {}",
        quote(group),
        quote(resource),
        quote(subresource),
    )
}

fn in_system_namespace() -> String {
    format!("request.?namespace.orValue('') == {}", quote(SYSTEM_NAMESPACE))
}

/// The list in a field; an empty one where it is null, as an EndpointSlice may have it, or absent.
fn items(object: &str, field: &str) -> String {
    format!("({object}.?{field}.orValue(null) == null ? [] : {object}.{field})")
}

/// Both objects have an equal value at a path, or both have none.
fn same(path: &str) -> String {
    format!("object.{path} == oldObject.{path}")
}

/// Two maps have the same entries, apart from the keys `k` for which `except` holds.
fn same_entries(new: &str, old: &str, except: &str) -> String {
    format!(
        "({new}).all(k, {except} || (k in ({old}) && ({new})[k] == ({old})[k])) && ({old}).all(k, {except} || k in ({new}))"
    )
}

/// The same annotations, apart from the keys `k` for which `settable` holds: those may be added or changed, but not
/// removed.
fn annotations_but(settable: &str) -> String {
    let new = "object.metadata.?annotations.orValue({})";
    let old = "oldObject.metadata.?annotations.orValue({})";
    format!("{new}.all(k, {settable} || (k in {old} && {new}[k] == {old}[k])) && {old}.all(k, k in {new})")
}

/// A CEL list of strings.
pub(super) fn list<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| quote(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

/// A CEL string literal. Names from outside (an Enforcement's namespaces, a user) must not end the literal.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for c in text.chars() {
        match c {
            '\'' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn only_the_own_dry_run_looks_at_who_asks() {
        for exemption in exemptions(&users(&["system:serviceaccount:gitadel-system:gitadel"])) {
            assert_eq!(exemption.matches.contains("userInfo"), exemption.name == "own-dry-run", "{}", exemption.name);
        }
    }

    #[test]
    fn without_a_known_reconciler_nobody_is_exempt_by_name() {
        assert!(exemptions(&BTreeSet::new()).iter().all(|e| e.name != "own-dry-run"));
    }

    #[test]
    fn names_are_unique_and_leave_room_for_routing() {
        let all = exemptions(&users(&["a"]));
        let names: BTreeSet<_> = all.iter().map(|e| e.name).collect();
        assert_eq!(names.len(), all.len());
        // Kubernetes allows 64 conditions an entry.
        assert!(all.len() <= 60);
    }

    #[test]
    fn gitadels_pods_and_workloads_are_judged() {
        let all = exemptions(&users(&["a"]));
        for name in ["own-pod-create", "own-pod-delete", "own-workload"] {
            assert!(all.iter().all(|e| e.name != name), "{name} needs an in-process policy first");
        }
    }

    #[test]
    fn no_comparison_takes_an_absent_entry_for_an_empty_one() {
        for exemption in exemptions(&users(&["a"])) {
            for (at, _) in exemption.matches.match_indices("].orValue('') == ") {
                let right = &exemption.matches[at + "].orValue('') == ".len()..];
                assert!(right.starts_with('\'') && !right.starts_with("''"), "{}: {right}", exemption.name);
            }
        }
    }

    #[test]
    fn a_literal_cannot_be_ended_from_within() {
        let cases = [("shop", "'shop'"), ("a'b", r"'a\'b'"), (r"a\", r"'a\\'"), ("a\nb", r"'a\u000ab'")];
        for (text, expected) in cases {
            assert_eq!(quote(text), expected);
        }
    }
}
