//! What Kubernetes' own components write, under Git: none of it is denied, but for what Git forbids.

use std::collections::BTreeSet;

use gitadel::admission::coverage::{RULES_FOR_ALL, Treatment, row};
use gitadel::admission::{Outcome, Request, Verdict};
use gitadel::document::Document;
use serde_json::Value;

use crate::recording::text;
use crate::replay::replay_system;

/// Writes that Git forbids, and the system would have to live with it: operation, resource, names, why.
const FORBIDDEN: &[(&str, &str, &[&str], &str)] = &[
    ("DELETE", "secrets", &["ghost-token", "x-token"], "Git declares a token of an account that does not exist"),
    ("UPDATE", "pods", &["bare"], "Git declares a Pod without an owner, and a ReplicaSet that would adopt it"),
    ("DELETE", "configmaps", &["child3"], "Git declares an object whose owner was deleted"),
    ("UPDATE", "configmaps", &["child", "child2"], "the same, orphaned: the owners are those that Git declares"),
    ("UPDATE", "pods", &["ds-dxqn2", "db-0"], "orphaned Pods, recorded in the baseline, are not adopted"),
    ("DELETE", "pods", &["ds-dxqn2", "db-0"], "the same"),
    (
        "UPDATE",
        "clusterroles",
        &["system:basic-user", "system:kube-dns", "system:controller:job-controller"],
        "bootstrap roles in which `admin` had put other rules: the API server would leave these beside its own",
    ),
    ("UPDATE", "clusterrolebindings", &["system:volume-scheduler"], "the same"),
];

fn is_forbidden(operation: &str, resource: &str, name: &str) -> bool {
    FORBIDDEN.iter().any(|(o, r, names, _)| (*o, *r) == (operation, resource) && names.contains(&name))
}
/// The classification of writes says by which rules a write may be decided, and what it may turn out to be.
fn assert_classified(request: &Value, verdict: &Verdict) {
    let document = Document::from_value(request);
    let request = Request::from_node(document.root()).unwrap();
    let subresource = request.subresource.unwrap_or_default();
    let row = row(request.group, request.resource, subresource, request.operation);
    let row = row.unwrap_or_else(|| panic!("no row is about {request:?}"));
    // These were recorded by a webhook from a file of the API server, which alone is asked about them.
    if matches!(row.treatment, Treatment::NeverAsked { .. }) {
        return;
    }
    let known = row.rules.contains(&verdict.rule) && row.classes.contains(&verdict.class);
    assert!(known || RULES_FOR_ALL.contains(&verdict.rule), "{verdict:?} is not what the row says: {row:?}");
}

#[test]
fn no_write_of_the_system_is_denied() {
    let (mut judged, mut forbidden, mut denials) = (0, BTreeSet::new(), Vec::new());
    replay_system(|world, request| {
        let verdict = world.verdict(request);
        judged += 1;
        assert_classified(request, &verdict);
        let (operation, resource) = (text(request, "/operation"), text(request, "/resource/resource"));
        if verdict.outcome == Outcome::Allow {
            return;
        }
        let name = world.id(request).map(|id| id.name).unwrap_or_default();
        if is_forbidden(operation, resource, &name) {
            forbidden.insert((operation.to_owned(), resource.to_owned(), name));
        } else {
            denials.push(format!(
                "{operation} {resource} by {}: [{}] {}",
                text(request, "/userInfo/username"),
                verdict.rule,
                verdict.message.unwrap_or_default()
            ));
        }
    });
    println!("{judged} writes of the system judged, {} forbidden by Git, {} denied", forbidden.len(), denials.len());
    assert!(judged > 1500, "only {judged} reviews were judged");
    for (operation, resource, names, why) in FORBIDDEN {
        for name in *names {
            let write = ((*operation).to_owned(), (*resource).to_owned(), (*name).to_owned());
            assert!(forbidden.contains(&write), "{write:?} is not denied any more: {why}");
        }
    }
    assert!(denials.is_empty(), "{} denials:\n{}", denials.len(), denials.join("\n"));
}
