//! What a person did to the cluster with every right there is, while Git stayed as it was: whatever it changed of what is
//! declared is denied.
//!
//! What a write changes is found here, from the objects in the recording alone and place by place: it puts there neither
//! what was there before nor what was declared. The code under test has no part in that.

use std::collections::BTreeSet;

use gitadel::admission::Outcome;
use gitadel::snapshot::EntryClass;
use serde_json::Value;

use crate::recording::{is_by_person, text};
use crate::replay::replay;
use crate::world::World;

/// What the API server keeps of an object for itself.
const BOOKKEEPING: &[&str] = &[
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generateName",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
];

/// Resources with a status on which others act: a person who writes it decides as much as by their fields.
const KEPT_STATUS: &[&str] = &["services"];

const TEMPLATE_GENERATION: &str = "/metadata/annotations/deprecated.daemonset.template.generation";
const DELETED: &str = "is deleted";

/// Changes that are admitted all the same: resource, names, what changes, why.
const ADMITTED: &[(&str, &[&str], &str, &str)] = &[
    ("daemonsets", &["ds"], TEMPLATE_GENERATION, "the API server counts, whatever anybody writes there"),
    ("foos", &["a"], "/metadata/finalizers", "it is terminating, and could not end otherwise"),
    ("pods", &["eph", "wffc"], DELETED, "it is terminating already"),
    ("pods", &["gated"], DELETED, "its gates were taken away, which nothing brings back: it goes, and is made anew"),
    ("pods", &["bare", "dbg", "deadline"], DELETED, "an eviction: gitadel makes it anew, and a node can be drained"),
];

fn is_admitted(resource: &str, name: &str, change: &str) -> bool {
    ADMITTED.iter().any(|(r, names, c, _)| (*r, *c) == (resource, change) && names.contains(&name))
}

/// A write to something that is declared.
struct Edit {
    /// What it would make of it that neither was there nor is declared.
    changes: Vec<String>,
    /// What it does where it changes nothing.
    otherwise: &'static str,
}

fn edit(world: &World, request: &Value) -> Option<Edit> {
    let entry = world.entries.get(&world.id(request)?)?;
    let is_reported = !KEPT_STATUS.contains(&text(request, "/resource/resource"));
    let has_status = world.kind(request)?.status_subresource() && is_reported;
    let declared = entry.canonical.as_ref()?;
    assert!(matches!(entry.class, EntryClass::Declared | EntryClass::Baseline), "{:?}", entry.id);
    let (mut changes, mut otherwise) = (Vec::new(), "stores nothing in the object");
    match (text(request, "/operation"), text(request, "/subResource")) {
        ("DELETE", _) | ("CREATE", "eviction") => changes.push(DELETED.to_owned()),
        ("UPDATE", _) => {
            let [old, new, declared] =
                [&request["oldObject"], &request["object"], declared].map(|object| governed(object, has_status));
            away(&old, &new, &declared, "", &mut changes);
            otherwise = if new == old { "changes nothing that is governed" } else { "moves toward what is declared" };
        }
        _ => {}
    }
    Some(Edit { changes, otherwise })
}

/// An object without what Git has no say in.
fn governed(object: &Value, has_status: bool) -> Value {
    let mut object = object.clone();
    let members = object.as_object_mut().unwrap();
    if has_status {
        members.remove("status");
    }
    let metadata = members["metadata"].as_object_mut().unwrap();
    metadata.retain(|name, _| !BOOKKEEPING.contains(&name.as_str()));
    object
}

/// The places that get a value which is neither the old nor the declared one. A list is one place.
fn away(old: &Value, new: &Value, declared: &Value, at: &str, found: &mut Vec<String>) {
    if new == old || new == declared {
        return;
    }
    let members = [old, new, declared].map(Value::as_object);
    if new.is_object() && (old.is_object() || declared.is_object()) {
        let names: BTreeSet<&String> = members.into_iter().flatten().flat_map(|members| members.keys()).collect();
        for name in names {
            away(&old[name], &new[name], &declared[name], &format!("{at}/{name}"), found);
        }
    } else {
        found.push(at.to_owned());
    }
}

#[test]
fn whatever_a_person_changes_of_what_is_declared_is_denied() {
    let (mut denied, mut unchanged, mut admitted) = (0, Vec::new(), BTreeSet::new());
    let (mut wrong, mut others) = (Vec::new(), 0);
    replay(|world, request| {
        let (operation, subresource) = (text(request, "/operation"), text(request, "/subResource"));
        if !is_by_person(request) {
            return;
        }
        if operation == "CREATE" && subresource.is_empty() {
            return world.commit(request);
        }
        let Some(Edit { changes, otherwise }) = edit(world, request) else {
            others += 1;
            return;
        };
        let verdict = world.verdict(request);
        let (resource, name) = (text(request, "/resource/resource").to_owned(), world.id(request).unwrap().name);
        let write = format!("{operation} {resource}/{subresource} {name}: {changes:?}, [{}]", verdict.rule);
        match (verdict.outcome == Outcome::Allow, changes.is_empty()) {
            (false, false) => denied += 1,
            (true, true) => unchanged.push(format!("{operation} {resource}/{subresource} {name} {otherwise}")),
            (true, false) if changes.iter().all(|change| is_admitted(&resource, &name, change)) => {
                admitted.extend(changes.into_iter().map(|change| (resource.clone(), name.clone(), change)));
            }
            (true, false) => wrong.push(format!("admitted: {write}")),
            (false, true) => wrong.push(format!("denied: {write} {}", verdict.message.unwrap_or_default())),
        }
    });
    println!(
        "{denied} edits of what is declared denied, {} admitted with a reason, {} without a change of it admitted, \
         {others} writes to other objects",
        admitted.len(),
        unchanged.len()
    );
    println!("without a change:\n{}", unchanged.join("\n"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(denied >= 129 && unchanged.len() >= 9, "{denied} edits were denied, {} changed nothing", unchanged.len());
    for (resource, names, change, why) in ADMITTED {
        for name in *names {
            let write = ((*resource).to_owned(), (*name).to_owned(), (*change).to_owned());
            assert!(admitted.contains(&write), "{write:?} is not admitted any more: {why}");
        }
    }
}

#[test]
fn a_change_is_away_from_both_states() {
    use serde_json::json;
    let found = |old: Value, new: Value, declared: Value| {
        let mut found = Vec::new();
        away(&old, &new, &declared, "", &mut found);
        found
    };
    assert!(found(json!({"a": 1, "b": 2}), json!({"a": 3, "b": 2}), json!({"a": 3, "b": 4})).is_empty());
    assert_eq!(found(json!({"a": 1}), json!({"a": 2}), json!({"a": 3})), ["/a"]);
    assert_eq!(found(json!({"a": 1}), json!({}), json!({"a": 1})), ["/a"]);
    assert_eq!(found(json!({}), json!({"a": {"b": 1}}), json!({})), ["/a"]);
    assert_eq!(found(json!({"a": [1]}), json!({"a": [1, 2]}), json!({"a": [1]})), ["/a"]);
}
