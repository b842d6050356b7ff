//! With a controller's own identity, nothing more can be made of a child than its template yields.

use std::collections::BTreeMap;

use gitadel::admission::Outcome;

use crate::recording::text;
use crate::replay::replay_system;
use crate::tamperings::{place, tamperings};

/// Every child that a controller was seen to make, and everything that could be made of it.
#[test]
fn no_controller_makes_more_of_a_child_than_its_template_yields() {
    let (mut children, mut tried, mut admitted) = (BTreeMap::<String, usize>::new(), 0, Vec::new());
    let mut unpinned = 0;
    replay_system(|world, request| {
        let kind = text(request, "/kind/kind").to_owned();
        let is_made = text(request, "/operation") == "CREATE" && text(request, "/subResource").is_empty();
        if !is_made || !["ReplicaSet", "Pod", "Job", "ControllerRevision"].contains(&kind.as_str()) {
            return;
        }
        let verdict = world.verdict(request);
        // Mirrors have no template, and of some owners nothing but the name is known.
        if verdict.outcome == Outcome::Deny || verdict.rule != "child" || !world.knows_template_of(request) {
            return;
        }
        *children.entry(kind.clone()).or_default() += 1;
        if kind == "Pod" && text(request, "/object/metadata/ownerReferences/0/kind") == "DaemonSet" {
            unpinned += 1;
            for loosened in ["/spec/affinity", "/spec/affinity/nodeAffinity"] {
                let mut forged = request.clone();
                place(&mut forged["object"], loosened, serde_json::Value::Null);
                if world.verdict(&forged).outcome == Outcome::Allow {
                    admitted.push(format!("{kind} {}: without {loosened}", text(request, "/name")));
                }
            }
        }
        for (what, pointer, value) in tamperings(&kind) {
            let mut forged = request.clone();
            place(&mut forged["object"], pointer, value);
            tried += 1;
            if world.verdict(&forged).outcome == Outcome::Allow {
                admitted.push(format!("{kind} {}: {what}", text(request, "/name")));
            }
        }
    });
    assert!(unpinned > 0, "no Pod of a DaemonSet was tried");
    println!("{children:?} children, {tried} attempts, {} admitted", admitted.len());
    assert!(children.len() == 4 && children.values().sum::<usize>() > 60, "{children:?}");
    assert!(admitted.is_empty(), "{}", admitted.join("\n"));
}
