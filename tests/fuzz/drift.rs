//! The same edits, as if they had got past admission: from every state that they make the way back is free, what is left as it
//! was is no reason to deny, and no third state is reached from two.
//!
//! The reviews are made here, and judged by the snapshot that the webhook of the test reads.

use std::collections::{BTreeMap, BTreeSet};

use gitadel::admission::{Outcome, Request, Verdict, decide};
use gitadel::document::Document;
use gitadel::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::delegated::{ADMINISTRATOR, is_delegated};
use crate::oracle::{REVISION, is_bookkeeping, is_last_applied};
use crate::places::{escaped, remove};
use crate::wire::Target;

/// What one edit made of an object.
pub struct State {
    pub edit: u64,
    pub before: Value,
    pub after: Value,
}

#[derive(Debug, Default)]
pub struct Judged {
    pub repairs: usize,
    pub repeats: usize,
    /// From one state to another that has a value of its own.
    pub moves: usize,
    /// From one state to another, where what becomes of lists would have to be known to say what is right.
    pub unclear: usize,
}

/// Judges what could be written to objects in these states. Returns the wrong verdicts.
pub fn judge(snapshot: &Snapshot, states: &BTreeMap<&str, (&Target, Vec<&State>)>) -> (Judged, Vec<String>) {
    let (mut judged, mut wrong) = (Judged::default(), Vec::new());
    for (title, (target, states)) in states {
        let verdict = |old: &Value, new: &Value| verdict(snapshot, target, old, new);
        let mut expect = |what: String, verdict: Verdict, admitted: bool| {
            if (verdict.outcome == Outcome::Allow) != admitted {
                wrong.push(format!("{title}: {what}: {}", verdict.message.unwrap_or_else(|| "admitted".to_owned())));
            }
        };
        for (at, State { edit, before, after }) in states.iter().enumerate() {
            judged.repairs += 1;
            expect(format!("back from edit {edit}"), verdict(after, &way_back(before, after)), true);
            judged.repeats += 1;
            expect(format!("edit {edit} stays"), verdict(after, after), true);
            for next in states.iter().skip(at + 1).take(2) {
                let mut places = Vec::new();
                third(after, &next.after, before, "", &mut places);
                places.retain(|place| !is_bookkeeping(place) && !is_last_applied(place, &next.after));
                places.retain(|place| !is_delegated(before, place, next.after.pointer(place)));
                if places.is_empty() {
                    judged.unclear += 1;
                } else {
                    judged.moves += 1;
                    let what = format!("from edit {edit} to edit {}, {places:?}", next.edit);
                    expect(what, verdict(after, &next.after), false);
                }
            }
        }
    }
    (judged, wrong)
}

fn verdict(snapshot: &Snapshot, target: &Target, old: &Value, new: &Value) -> Verdict {
    let (resource, name) = (&target.resource, &old["metadata"]["name"]);
    // A Namespace is said to be in itself.
    let namespace = if resource.kind == "Namespace" { name } else { &old["metadata"]["namespace"] };
    let review = json!({
        "uid": "u-1", "operation": "UPDATE", "name": name, "namespace": namespace,
        "kind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "resource": {"group": resource.group, "version": resource.version, "resource": resource.plural},
        "userInfo": {"username": ADMINISTRATOR, "groups": ["system:masters", "system:authenticated"]},
        "object": new, "oldObject": old,
    });
    let document = Document::from_value(&review);
    let request = Request::from_node(document.root()).unwrap();
    decide(&request, snapshot, "2026-11-22T09:00:00Z".parse().unwrap())
}

/// To what was there, but for what Git does not say: a controller's note is the controller's to write again, and a node port
/// that the API server allotted stays.
fn way_back(before: &Value, after: &Value) -> Value {
    let mut back = before.clone();
    if back.pointer(REVISION).is_some() && after.pointer(REVISION) != back.pointer(REVISION) {
        remove(&mut back, REVISION);
        if back["metadata"]["annotations"] == json!({}) {
            remove(&mut back, "/metadata/annotations");
        }
    }
    let allotted = after.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    for allotted in allotted.filter(|port| port["nodePort"].is_number()) {
        let ports = back.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten();
        let is_same = |port: &&mut Value| port["port"] == allotted["port"] && port["protocol"] == allotted["protocol"];
        for port in ports.filter(is_same).filter(|port| port["nodePort"].is_number()) {
            port["nodePort"] = allotted["nodePort"].clone();
        }
    }
    back
}

/// The places where `new` has a value that neither other state has. Lists are looked into only where their items have the
/// same names in the same order: else it takes their keys to say which item is which.
fn third(old: &Value, new: &Value, declared: &Value, at: &str, found: &mut Vec<String>) {
    if new == old || new == declared {
        return;
    }
    let states = [old, new, declared];
    if let [Some(olds), Some(news), Some(declareds)] = states.map(Value::as_object) {
        let names: BTreeSet<&String> = [olds, news, declareds].into_iter().flat_map(|members| members.keys()).collect();
        for name in names {
            third(&old[name], &new[name], &declared[name], &format!("{at}/{}", escaped(name)), found);
        }
    } else if let [Some(olds), Some(news), Some(declareds)] = states.map(Value::as_array) {
        let name = |item: &Value| item["name"].as_str().map(str::to_owned);
        let names = |items: &[Value]| items.iter().map(name).collect::<Option<Vec<_>>>();
        if names(news).is_some() && [olds, declareds].into_iter().all(|items| names(items) == names(news)) {
            for (index, item) in news.iter().enumerate() {
                third(&olds[index], item, &declareds[index], &format!("{at}/{index}"), found);
            }
        }
    } else if !states.into_iter().any(|state| state.is_array() || state.is_object()) {
        found.push(at.to_owned());
    }
}
