//! What holds for every write and every drift, tried on random objects of a small alphabet, so that collisions are many.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::*;
use super::{Case, case};

fn latitude() -> Case {
    case()
        .allotted("spec.clusterIP")
        .allotted("spec.ports[*].nodePort")
        .allotted("metadata.finalizers[allotted]")
        .free("spec.replicas", Some((2, 4)))
        .free("metadata.annotations[free/*]", None)
        .free("spec.tuning.free", None)
        .free("spec.containers[name=c]", None)
        .free("spec.containers[*].image", None)
}

/// The same where anybody may add what Git does not declare.
fn latitude_for(open: bool) -> Case {
    Case { undeclared_fields: open, ..latitude() }
}

/// An object with some of these members.
fn some(members: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let members: Vec<_> =
        members.into_iter().map(|(key, value)| prop::option::of(value).prop_map(move |value| (key, value))).collect();
    members
        .prop_map(|members| {
            let members: Map<_, _> =
                members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
            Value::Object(members)
        })
        .boxed()
}

fn number(below: i64) -> BoxedStrategy<Value> {
    (1..below).prop_map(Value::from).boxed()
}

fn list(item: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    prop::collection::vec(item, 0..4).prop_map(Value::from).boxed()
}

fn item(
    keys: Vec<(&'static str, BoxedStrategy<Value>)>,
    members: Vec<(&'static str, BoxedStrategy<Value>)>,
) -> BoxedStrategy<Value> {
    let keys: Vec<_> =
        keys.into_iter().map(|(key, value)| value.prop_map(move |value| (key.to_owned(), value))).collect();
    (keys, some(members))
        .prop_map(|(keys, members)| {
            let mut item: Map<_, _> = keys.into_iter().collect();
            item.extend(members.as_object().cloned().unwrap_or_default());
            Value::Object(item)
        })
        .boxed()
}

fn name() -> BoxedStrategy<Value> {
    prop::sample::select(vec!["a", "b", "c"]).prop_map(Value::from).boxed()
}

fn object() -> BoxedStrategy<Value> {
    let env = list(item(vec![("name", name())], vec![("value", number(3))]));
    let container = item(
        vec![("name", name())],
        vec![("image", number(3)), ("tty", number(3)), ("env", env), ("args", list(number(3)))],
    );
    let port =
        item(vec![("port", number(3)), ("protocol", name())], vec![("nodePort", number(3)), ("target", number(3))]);
    let odd = prop_oneof![Just(Value::Null), Just(json!({})), Just(json!([])), Just(json!("x"))].boxed();
    let spec = some(vec![
        ("replicas", number(7)),
        ("clusterIP", number(3)),
        ("plain", some(vec![("x", number(3)), ("y", some(vec![("z", number(3))]))])),
        ("selector", some(vec![("x", number(3)), ("y", number(3))])),
        (
            "tuning",
            prop_oneof![3 => some(vec![("free", number(3)), ("x", number(3)), ("y", number(3))]), 1 => odd.clone()]
                .boxed(),
        ),
        ("args", list(number(3))),
        ("tags", list(name())),
        ("containers", prop_oneof![4 => list(container), 1 => odd].boxed()),
        ("ports", list(port)),
    ]);
    let finalizer = prop::sample::select(vec!["a", "b", "allotted"]).prop_map(Value::from).boxed();
    let metadata = some(vec![
        ("resourceVersion", number(3)),
        ("labels", some(vec![("x", number(3)), ("y", number(3))])),
        ("annotations", some(vec![("x", number(3)), ("free/x", number(3))])),
        ("finalizers", list(finalizer)),
    ]);
    (metadata, spec, number(3))
        .prop_map(|(mut metadata, spec, status)| {
            metadata["name"] = json!("o");
            json!({"apiVersion": "v1", "kind": "K", "metadata": metadata, "spec": spec, "status": status})
        })
        .boxed()
}

/// As the API server stores what Git declares: no duplicates, nothing of its own, nothing that it drops.
fn canonical() -> BoxedStrategy<Value> {
    object()
        .prop_map(|mut object| {
            let members = object.as_object_mut().unwrap();
            members.remove("status");
            members.get_mut("metadata").unwrap().as_object_mut().unwrap().remove("resourceVersion");
            distinct(&mut object);
            object
        })
        .boxed()
}

/// Drops the second of two items that are the same.
fn distinct(value: &mut Value) {
    match value {
        Value::Array(items) => {
            let mut seen = Vec::new();
            items.retain(|item| {
                let identity = item.as_object().map_or_else(
                    || item.clone(),
                    |item| json!([item.get("name"), item.get("port"), item.get("protocol")]),
                );
                let new = item.is_number() || !seen.contains(&identity);
                seen.push(identity);
                new
            });
            items.iter_mut().for_each(distinct);
        }
        Value::Object(members) => members.values_mut().for_each(distinct),
        _ => {}
    }
}

/// Mixes two or three states member by member: such a write is much nearer to being admitted than a random one.
fn mixed(states: &[&Value], choices: &mut dyn Iterator<Item = u8>) -> Value {
    let choice = usize::from(choices.next().unwrap_or_default());
    let maps: Vec<_> = states.iter().filter_map(|state| state.as_object()).collect();
    if choice % 4 == 3 && maps.len() > 1 || maps.len() == states.len() && choice % 8 > 1 {
        let keys: BTreeSet<_> = maps.iter().flat_map(|map| map.keys()).collect();
        let mut mixture = Map::new();
        for key in keys {
            let source = usize::from(choices.next().unwrap_or_default()) % maps.len();
            if maps[source].contains_key(key) {
                let values: Vec<_> = maps.iter().filter_map(|map| map.get(key)).collect();
                mixture.insert(key.clone(), mixed(&values, choices));
            }
        }
        return Value::Object(mixture);
    }
    states[choice % states.len()].clone()
}

/// An independent reading of an object: every place that may change by itself, with its value, but for what is ignored,
/// free or allotted. Written for this shape of object, without the schema and the code under test.
fn places(object: &Value, canonical: &Value) -> BTreeMap<String, Value> {
    let mut places = BTreeMap::new();
    let metadata = &object["metadata"];
    let mut put = |place: String, value: &Value| {
        places.insert(place, value.clone());
    };
    for map in ["labels", "annotations"] {
        for (key, value) in metadata[map].as_object().into_iter().flatten().filter(|(key, _)| !key.starts_with("free/"))
        {
            put(format!("{map}.{key}"), value);
        }
    }
    for member in metadata["finalizers"].as_array().into_iter().flatten().filter(|member| *member != "allotted") {
        put(format!("finalizers={member}"), &Value::Null);
    }
    for (key, value) in object["spec"].as_object().into_iter().flatten() {
        match (key.as_str(), value) {
            ("replicas" | "clusterIP", _) => {}
            ("plain", value) => {
                put("plain".into(), &Value::Null);
                for (key, value) in value.as_object().into_iter().flatten() {
                    put(format!("plain.{key}"), value);
                }
            }
            ("tuning", Value::Object(members)) if canonical["spec"]["tuning"].is_object() => {
                for (key, value) in members.iter().filter(|(key, _)| *key != "free") {
                    put(format!("tuning.{key}"), value);
                }
            }
            // Not declared: a unit, but for the free field in it.
            ("tuning", Value::Object(_)) => {
                let mut value = value.clone();
                value.as_object_mut().unwrap().remove("free");
                if value != json!({}) {
                    put("tuning".into(), &value);
                }
            }
            ("tags", Value::Array(members)) => {
                members.iter().for_each(|member| put(format!("tags={member}"), &Value::Null));
            }
            ("containers", Value::Array(items)) => {
                for item in items.iter().filter(|item| item["name"] != "c") {
                    put(format!("containers={}", item["name"]), &Value::Null);
                    for field in ["tty", "args"].iter().filter(|field| !item[**field].is_null()) {
                        put(format!("containers={}.{field}", item["name"]), &item[*field]);
                    }
                }
            }
            ("ports", Value::Array(items)) => {
                for item in items {
                    put(format!("ports={}/{}", item["port"], item["protocol"]), &item["target"]);
                }
            }
            (_, value) => put(key.clone(), value),
        }
    }
    places
}

/// The declared items of a list, in the order in which they first stand in it.
fn declared_order(object: &Value, canonical: &Value, list: &str) -> Vec<Value> {
    let names = |object: &Value| -> Vec<Value> {
        let items = object["spec"][list].as_array().into_iter().flatten();
        items.map(|item| item.get("name").unwrap_or(item).clone()).collect()
    };
    let (wanted, mut order) = (names(canonical), Vec::new());
    for name in names(object).into_iter().filter(|name| wanted.contains(name)) {
        if !order.contains(&name) {
            order.push(name);
        }
    }
    order
}

fn without_bookkeeping(mut object: Value) -> Value {
    let members = object.as_object_mut().unwrap();
    members.remove("status");
    members.get_mut("metadata").unwrap().as_object_mut().unwrap().remove("resourceVersion");
    object
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_changes_nothing_is_admitted(old in object(), canonical in canonical()) {
        prop_assert_eq!(latitude().judge(&old, &old, &canonical), []);
    }

    #[test]
    fn what_is_admitted_moves_no_place_away_from_git(
        old in object(), canonical in canonical(), other in object(),
        stray in any::<bool>(), choices in prop::collection::vec(any::<u8>(), 100),
    ) {
        let states = if stray { vec![&old, &canonical, &other] } else { vec![&old, &canonical] };
        let new = mixed(&states, &mut choices.into_iter());
        if !latitude().judge(&old, &new, &canonical).is_empty() {
            return Ok(());
        }
        let [old_places, new_places, canonical_places] = [&old, &new, &canonical].map(|object| places(object, &canonical));
        for place in old_places.keys().chain(new_places.keys()).chain(canonical_places.keys()) {
            let value = new_places.get(place);
            prop_assert!(
                value == old_places.get(place) || value == canonical_places.get(place),
                "{place}: {old} → {new} by {canonical}"
            );
        }
    }

    #[test]
    fn what_stands_in_order_stays_in_order(
        old in object(), canonical in canonical(), other in object(), choices in prop::collection::vec(any::<u8>(), 100),
    ) {
        let new = mixed(&[&old, &canonical, &other], &mut choices.into_iter());
        if !latitude().judge(&old, &new, &canonical).is_empty() {
            return Ok(());
        }
        for list in ["tags", "containers"] {
            let wanted = declared_order(&canonical, &canonical, list);
            let is_ordered = |object: &Value| {
                let order = declared_order(object, &canonical, list);
                order == wanted.iter().filter(|name| order.contains(name)).cloned().collect::<Vec<_>>()
            };
            prop_assert!(!is_ordered(&old) || is_ordered(&new), "{list}: {old} → {new} by {canonical}");
        }
    }

    #[test]
    fn a_single_stray_change_is_denied(old in object(), canonical in canonical(), at in 0..5usize) {
        // 9 is in no generated object.
        let place = ["/spec/plain/x", "/spec/selector/x", "/spec/args/0", "/metadata/labels/x", "/spec/ports/0/target"][at];
        let mut new = old.clone();
        if let Some(value) = new.pointer_mut(place) {
            *value = json!(9);
            prop_assert!(!latitude().judge(&old, &new, &canonical).is_empty());
            prop_assert!(!latitude().create(&new, &canonical).is_empty());
        }
    }

    #[test]
    fn the_declared_object_may_be_created(canonical in canonical()) {
        prop_assert_eq!(latitude().create(&canonical, &canonical), []);
    }

    #[test]
    fn one_repair_removes_every_difference(live in object(), canonical in canonical(), open in any::<bool>()) {
        let repaired = latitude_for(open).carry(&canonical, &live);
        prop_assert_eq!(latitude_for(open).difference(&repaired, &canonical), []);
        prop_assert_eq!(&latitude_for(open).carry(&canonical, &repaired), &repaired);
        // Converged is what needs no repair, and nothing else.
        let needed = without_bookkeeping(repaired) != without_bookkeeping(live.clone());
        prop_assert_eq!(latitude_for(open).difference(&live, &canonical).is_empty(), !needed);
    }

    #[test]
    fn identical_is_equal_but_for_bookkeeping(
        live in object(), canonical in canonical(), next in canonical(),
        strange in any::<bool>(), choices in prop::collection::vec(any::<u8>(), 100),
    ) {
        // Mostly the canonical object as it would be stored.
        let mut stored = canonical.clone();
        stored["metadata"]["resourceVersion"] = live["metadata"].get("resourceVersion").cloned().unwrap_or(json!(1));
        stored["status"] = live["status"].clone();
        let live = if strange { mixed(&[&stored, &live], &mut choices.into_iter()) } else { stored };
        let [live_document, canonical_document] = [&live, &canonical].map(crate::document::Document::from_value);
        let is_identical = identical(live_document.root(), canonical_document.root(), true);
        prop_assert_eq!(is_identical, without_bookkeeping(live.clone()) == without_bookkeeping(canonical.clone()));
        if is_identical {
            prop_assert_eq!(latitude().difference(&live, &canonical), []);
            // Whatever comes next, it is written as from the live object.
            let mut told = canonical;
            if let Some(version) = live["metadata"].get("resourceVersion") {
                told["metadata"]["resourceVersion"] = version.clone();
            }
            prop_assert_eq!(latitude().carry(&next, &told), latitude().carry(&next, &live));
        }
    }

    #[test]
    fn the_repair_is_admitted(live in object(), canonical in canonical(), open in any::<bool>()) {
        let repaired = latitude_for(open).carry(&canonical, &live);
        prop_assert_eq!(latitude_for(open).judge(&live, &repaired, &canonical), []);
    }

    #[test]
    fn the_patch_makes_the_repair(live in object(), canonical in canonical(), open in any::<bool>()) {
        let [live_document, canonical_document] = [&live, &canonical].map(crate::document::Document::from_value);
        let case = latitude_for(open);
        let patch = json_patch(live_document.root(), canonical_document.root(), &case.latitude());
        let mut patched = live.clone();
        prop_assert!(::json_patch::patch(&mut patched, &patch).is_ok());
        prop_assert_eq!(without_bookkeeping(patched), without_bookkeeping(latitude_for(open).carry(&canonical, &live)));
    }
}
