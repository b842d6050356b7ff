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

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::MatchCondition;

use super::expression::{
    annotations_but, in_namespace, in_system_namespace, is, items, one_of, requests_of, same_entries, same_metadata,
};
use super::{ROWS, Row, Treatment};
use crate::admission::builtin::CONDITION_TAINTS;
use crate::admission::request::Operation;
use crate::api::SYSTEM_NAMESPACE;
use crate::cel::{list, quote};

/// Name of gitadel's Service, as its `EndpointSlice` names it.
pub const SERVICE_NAME: &str = "gitadel";
/// Name of the condition that keeps out the reconciler's dry-runs. It is about every write, so no row has it.
pub const OWN_DRY_RUN: &str = "own-dry-run";

/// A class of writes that is decided before the webhook is asked. The rows that name it say which requests those are.
#[derive(Clone, Copy, Debug)]
pub struct Exemption {
    pub name: &'static str,
    /// Which of the requests of its rows, in words.
    pub keeps_out: &'static str,
    /// The same in CEL. None: all of them.
    when: Option<fn() -> String>,
}

/// There is one of each name.
impl PartialEq for Exemption {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

pub const LEASES: Exemption = Exemption { name: "leases", keeps_out: "all", when: None };
pub const EVENTS: Exemption = Exemption { name: "events", keeps_out: "all", when: None };
pub const REVIEWS: Exemption = Exemption { name: "reviews", keeps_out: "all", when: None };
pub const NODE_CREATE: Exemption = Exemption { name: "node-create", keeps_out: "all", when: None };
pub const CSINODE: Exemption = Exemption { name: "csinode", keeps_out: "all", when: None };
pub const PURE_STATUS: Exemption =
    Exemption { name: "pure-status", keeps_out: "those that change nothing but `status`", when: Some(pure_status) };
pub const DEPLOYMENT_STATUS: Exemption = Exemption {
    name: "deployment-status",
    keeps_out: "those that change nothing but `status`, and set `deployment.kubernetes.io/revision` or leave it",
    when: Some(deployment_status),
};
pub const NODE_TAINTS: Exemption = Exemption {
    name: "node-taints",
    keeps_out: "those that change nothing but the taints by which Kubernetes says a node's condition",
    when: Some(node_taints),
};
/// Without kube-system's none of kube-controller-manager's controllers runs; the kubelet mounts the reconciler's.
pub const TOKEN: Exemption = Exemption {
    name: "token",
    keeps_out: "those for accounts in `kube-system` and `gitadel-system`",
    when: Some(|| in_namespace(&["kube-system", SYSTEM_NAMESPACE])),
};
pub const OWN_BINDING: Exemption = Exemption {
    name: "own-binding",
    keeps_out: "those in `gitadel-system` without annotations and with no labels but topology",
    when: Some(own_binding),
};
pub const OWN_SLICES: Exemption = Exemption {
    name: "own-slices",
    keeps_out: "those of gitadel's Service that look like their controller's and name Pods of `gitadel-system` alone",
    when: Some(own_slices),
};

impl Exemption {
    /// Whether it keeps out all requests of its rows.
    pub fn is_unconditional(&self) -> bool {
        self.when.is_none()
    }

    /// CEL that is true for the writes that are kept out.
    pub fn matches(&self) -> String {
        let rows: Vec<_> = ROWS
            .iter()
            .filter(|row| matches!(row.treatment, Treatment::PreDecided(exemption) if exemption == self))
            .map(requests_of)
            .collect();
        let requests = match rows.as_slice() {
            [only] => only.clone(),
            several => format!("({})", several.join(") || (")),
        };
        match self.when {
            None => requests,
            Some(when) => format!("{requests} && {}", when()),
        }
    }
}

/// A match condition lets a request *through to* the webhook, so it is the negation.
fn condition(name: &str, kept_out: &str) -> MatchCondition {
    MatchCondition { name: name.into(), expression: format!("!({kept_out})") }
}

/// The match conditions that keep pre-decided writes out. All are evaluated for each request, so their order costs nothing.
pub fn exemptions(reconciler_users: &BTreeSet<String>) -> Vec<MatchCondition> {
    let mut all = Vec::new();
    if !reconciler_users.is_empty() {
        // A dry-run stores nothing. Ours ask what a commit would become before the webhook knows that commit.
        let ours = format!("request.?dryRun.orValue(false) && request.userInfo.username in {}", list(reconciler_users));
        all.push(condition(OWN_DRY_RUN, &ours));
    }
    for row in ROWS {
        if let Treatment::PreDecided(exemption) = row.treatment
            && all.iter().all(|known: &MatchCondition| known.name != exemption.name)
        {
            all.push(condition(exemption.name, &exemption.matches()));
        }
    }
    all
}

/// Whether a condition of [`exemptions`] can keep out a request that concerns what a webhook rule names, a resource or a
/// subresource of it. Where it cannot, it would cost the API server its compilation and evaluation for nothing.
pub fn can_keep_out(condition: &str, group: &str, name: &str) -> bool {
    let (resource, subresource) = name.split_once('/').unwrap_or((name, ""));
    let of_condition =
        |row: &&Row| matches!(row.treatment, Treatment::PreDecided(exemption) if exemption.name == condition);
    let mut rows = ROWS.iter().filter(of_condition).peekable();
    // What is in no row is about every request. Which kinds are custom is not asked either: all could be.
    rows.peek().is_none() || rows.any(|row| row.is_about(group, resource, subresource, true))
}

fn pure_status() -> String {
    format!("{} && {}", same_metadata(&["labels", "annotations", "finalizers", "ownerReferences"]), same_but_status())
}

/// One change of metadata passes: deployment-controller writes its revision annotation *through* `deployments/status`
/// when it rolls back to an old ReplicaSet. Setting it, not removing it.
fn deployment_status() -> String {
    format!(
        "{} && {} && {}",
        same_metadata(&["labels", "finalizers", "ownerReferences"]),
        annotations_but("k == 'deployment.kubernetes.io/revision'"),
        same_but_status(),
    )
}

fn same_but_status() -> String {
    same_entries("object", "oldObject", "k in ['metadata', 'status']")
}

/// Only the taints that say a node's condition; everything else of the Node stays as it was.
fn node_taints() -> String {
    let condition = condition_taint("t");
    let others = |object: &str| format!("{object}.?spec.?taints.orValue([]).filter(t, !({condition}))");
    format!(
        "{} && {} && {} == {}",
        same_metadata(&["labels", "annotations", "finalizers", "ownerReferences"]),
        same_entries("object.?spec.orValue({})", "oldObject.?spec.orValue({})", "k == 'taints'"),
        others("object"),
        others("oldObject"),
    )
}

/// True for a taint of the table: those that may have the same effects are named together.
fn condition_taint(taint: &str) -> String {
    let mut by_effects: Vec<(&[&str], Vec<&str>)> = Vec::new();
    for known in CONDITION_TAINTS {
        match by_effects.iter_mut().find(|(effects, _)| *effects == known.effects) {
            Some((_, keys)) => keys.push(known.key),
            None => by_effects.push((known.effects, vec![known.key])),
        }
    }
    let of_effects = |(effects, keys): &(&[&str], Vec<&str>)| {
        format!("({} && {})", one_of(&format!("{taint}.key"), keys), one_of(&format!("{taint}.effect"), effects))
    };
    let known: Vec<_> = by_effects.iter().map(of_effects).collect();
    format!("!has({taint}.value) && ({})", known.join(" || "))
}

/// The scheduler binds gitadel's Pods. Labels and annotations of a Binding are copied onto the Pod: none may come that
/// way but the topology of the node.
fn own_binding() -> String {
    format!(
        "{} && object.metadata.?annotations.orValue({{}}).size() == 0 && \
         object.metadata.?labels.orValue({{}}).all(k, k.startsWith('topology.kubernetes.io/'))",
        in_system_namespace(),
    )
}

/// Only the slices of gitadel's Service, as endpointslice-controller writes them: its name and owner, Pods of the namespace
/// for endpoints, and no annotation but the time of the change. Labels, owner, and ports that are there stay; nothing is
/// deleted.
fn own_slices() -> String {
    const TRIGGER: &str = "k == 'endpoints.kubernetes.io/last-change-trigger-time'";
    let labels = format!(
        "object.metadata.?labels.orValue({{}})[?'kubernetes.io/service-name'].orValue('') == {} && \
         object.metadata.?labels.orValue({{}})[?'endpointslice.kubernetes.io/managed-by'].orValue('') == \
         'endpointslice-controller.k8s.io'",
        quote(SERVICE_NAME),
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
    let annotations = same_entries(
        "object.metadata.?annotations.orValue({})",
        "oldObject.metadata.?annotations.orValue({})",
        TRIGGER,
    );
    // A slice without endpoints has no ports.
    let [new, old] = ["object", "oldObject"].map(|object| items(object, "ports"));
    let ports = format!("({new}.size() == 0 || {old}.size() == 0 || {new} == {old})");
    let unchanged = same_metadata(&["labels", "finalizers", "ownerReferences"]);
    format!(
        "{} && (({} && {created}) || ({} && {unchanged} && {annotations} && {ports})) && {labels} && {endpoints}",
        in_system_namespace(),
        is(Operation::Create),
        is(Operation::Update),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions() -> Vec<MatchCondition> {
        exemptions(&BTreeSet::from(["system:serviceaccount:gitadel-system:gitadel".to_owned()]))
    }

    #[test]
    fn only_the_own_dry_run_looks_at_who_asks() {
        for condition in conditions() {
            assert_eq!(condition.expression.contains("userInfo"), condition.name == OWN_DRY_RUN, "{}", condition.name);
        }
    }

    #[test]
    fn without_a_known_reconciler_nobody_is_exempt_by_name() {
        assert!(exemptions(&BTreeSet::new()).iter().all(|condition| condition.name != OWN_DRY_RUN));
    }

    #[test]
    fn names_are_unique_and_leave_room_for_routing() {
        let all = conditions();
        let names: BTreeSet<_> = all.iter().map(|condition| &condition.name).collect();
        assert_eq!(names.len(), all.len());
        // Kubernetes allows 64 conditions an entry.
        assert!(all.len() <= 60);
    }

    #[test]
    fn a_condition_is_said_of_the_requests_of_its_rows() {
        let expected = [
            (
                &LEASES,
                "request.resource.group == 'coordination.k8s.io' && request.resource.resource == 'leases' && \
                 request.?subResource.orValue('') == ''",
            ),
            (
                &EVENTS,
                "((request.resource.group == '' && request.resource.resource == 'events') || \
                 (request.resource.group == 'events.k8s.io' && request.resource.resource == 'events')) && \
                 request.?subResource.orValue('') == ''",
            ),
            (
                &NODE_CREATE,
                "request.resource.group == '' && request.resource.resource == 'nodes' && \
                 request.?subResource.orValue('') == '' && request.operation == 'CREATE'",
            ),
        ];
        for (exemption, text) in expected {
            assert_eq!(exemption.matches(), text);
        }
        let status = "request.?subResource.orValue('') == 'status' && request.operation == 'UPDATE' && ";
        assert!(PURE_STATUS.matches().starts_with(status), "{}", PURE_STATUS.matches());
    }

    #[test]
    fn gitadels_pods_and_workloads_are_judged() {
        for name in ["own-pod-create", "own-pod-delete", "own-workload"] {
            assert!(conditions().iter().all(|c| c.name != name), "{name} needs an in-process policy first");
        }
    }

    #[test]
    fn no_comparison_takes_an_absent_entry_for_an_empty_one() {
        for MatchCondition { name, expression } in conditions() {
            for (at, _) in expression.match_indices("].orValue('') == ") {
                let right = &expression[at + "].orValue('') == ".len()..];
                assert!(right.starts_with('\'') && !right.starts_with("''"), "{name}: {right}");
            }
        }
    }
}
