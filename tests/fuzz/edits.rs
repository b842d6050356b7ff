//! Random edits of an object as it is in the cluster.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::places::{editable, escaped, general, remove, set, walk};
use crate::random::Random;
use crate::{delegated, spelled};

/// What an edit may take from elsewhere.
#[derive(Default)]
pub struct Pool {
    /// The values that objects have at a place of a kind.
    values: BTreeMap<(String, String), Vec<Value>>,
}

impl Pool {
    pub fn of<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut pool = Self::default();
        for object in objects {
            let kind = object["kind"].as_str().unwrap();
            walk(object, &mut String::new(), &mut |pointer, value| {
                let place = (kind.to_owned(), general(pointer));
                let values = pool.values.entry(place).or_default();
                if !values.contains(value) && values.len() < 20 {
                    values.push(value.clone());
                }
                true
            });
        }
        pool
    }

    /// Members that others of the kind have at a place.
    fn members(&self, kind: &str, place: &str) -> Vec<(&str, &Value)> {
        let prefix = format!("{}/", general(place));
        let first = (kind.to_owned(), prefix.clone());
        let below = self.values.range(first..).take_while(|((k, p), _)| k == kind && p.starts_with(&prefix));
        let members = below.filter(|((_, p), _)| !p[prefix.len()..].contains('/'));
        members.flat_map(|((_, p), values)| values.iter().map(|value| (&p[prefix.len()..], value))).collect()
    }
}

/// A live object, what Git says of it, and what others say.
pub struct Subject<'a> {
    pub manifest: &'a Value,
    pub pool: &'a Pool,
}

type Edit = fn(&mut Value, &mut Random, &Subject<'_>) -> Option<String>;

/// How often of a hundred, and what.
const EDITS: &[(usize, Edit)] = &[
    (18, change),
    (12, drop),
    (4, nothing),
    (12, transplant),
    (18, |object, random, _| spelled::edit(object, random)),
    (12, list),
    (14, metadata),
    (3, unknown),
    (4, as_in_git),
    (3, owner_of_fields),
];

/// Edits an object, and says how.
pub fn edit(object: &mut Value, random: &mut Random, subject: &Subject<'_>) -> String {
    let mut did = Vec::new();
    let several = [1, 1, 1, 1, 1, 2, 2, 2, 3, 5][random.below(10)];
    if delegated::has_delegated(object) && random.percent(60) {
        did.extend(delegated::edit(object, random));
        if random.percent(70) {
            return did.join(", ");
        }
    }
    while did.len() < several {
        let mut chance = random.below(100);
        for (weight, edit) in EDITS {
            if chance < *weight {
                did.extend(edit(object, random, subject));
                break;
            }
            chance -= weight;
        }
    }
    did.join(", ")
}

/// Another value of the same type, or the same value in another form.
fn change(object: &mut Value, random: &mut Random, _: &Subject<'_>) -> Option<String> {
    let leaves = editable(object, |value| !matches!(value, Value::Object(_) | Value::Array(_)));
    let pointer = random.pick(&leaves)?;
    let elsewhere = object.pointer(random.pick(&leaves)?)?.clone();
    let value = other(object.pointer(pointer)?, random, elsewhere);
    *object.pointer_mut(pointer)? = value.clone();
    Some(format!("{pointer} := {value}"))
}

fn other(value: &Value, random: &mut Random, elsewhere: Value) -> Value {
    match value {
        Value::Bool(flag) => json!(!flag),
        Value::Number(number) => match (number.as_i64(), random.below(5)) {
            (Some(number), 0) => json!(number as f64),
            (Some(number), 1) => json!(number.to_string()),
            (Some(_), 2) => json!(0),
            (Some(number), 3) => json!(number - 1),
            (Some(number), _) => json!(number + 1),
            (None, _) => json!(1),
        },
        Value::String(text) => match random.below(6) {
            0 => json!(""),
            1 => elsewhere,
            2 | 3 => same_quantity(text).unwrap_or_else(|| json!(format!("{text}x"))),
            4 => json!(text.to_uppercase()),
            _ => json!(format!("{text}x")),
        },
        _ => json!({}),
    }
}

/// 1 is 1000m, and 128Mi is 131072Ki. As a number, where it is one.
fn same_quantity(text: &str) -> Option<Value> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(if number % 2 == 0 { json!(number) } else { json!(format!("{number}000m")) });
    }
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: i64 = digits.parse().ok()?;
    match &text[digits.len()..] {
        "m" => Some(json!(format!("{}u", number * 1000))),
        "Ki" => Some(json!((number * 1024).to_string())),
        "Mi" => Some(json!(format!("{}Ki", number * 1024))),
        "Gi" => Some(json!(format!("{}Mi", number * 1024))),
        "s" => Some(json!(format!("{}ms", number * 1000))),
        _ => None,
    }
}

fn drop(object: &mut Value, random: &mut Random, _: &Subject<'_>) -> Option<String> {
    let places = editable(object, |_| true);
    let pointer = random.pick(&places)?;
    remove(object, pointer);
    Some(format!("no {pointer}"))
}

/// A null, an empty map, list or text where something is.
fn nothing(object: &mut Value, random: &mut Random, _: &Subject<'_>) -> Option<String> {
    let places = editable(object, |_| true);
    let pointer = random.pick(&places)?;
    let value = match object.pointer(pointer)? {
        _ if random.percent(40) => Value::Null,
        Value::Array(_) => json!([]),
        Value::Object(_) => json!({}),
        _ => json!(""),
    };
    *object.pointer_mut(pointer)? = value.clone();
    Some(format!("{pointer} := {value}"))
}

/// What another object of the kind has there.
fn transplant(object: &mut Value, random: &mut Random, subject: &Subject<'_>) -> Option<String> {
    let kind = object["kind"].as_str()?.to_owned();
    let maps = editable(object, Value::is_object);
    let place = random.pick(&maps)?;
    let members = subject.pool.members(&kind, place);
    let (name, value) = random.pick(&members)?;
    let pointer = format!("{place}/{name}");
    set(object, &pointer, (*value).clone());
    Some(format!("{pointer} from elsewhere"))
}

/// An item twice, another order, an item more.
fn list(object: &mut Value, random: &mut Random, _: &Subject<'_>) -> Option<String> {
    // Order is only a matter of more than one item.
    let least = if random.percent(70) { 2 } else { 1 };
    let lists = editable(object, |value| value.as_array().is_some_and(|items| items.len() >= least));
    let pointer = random.pick(&lists)?;
    let items = object.pointer_mut(pointer)?.as_array_mut()?;
    let at = random.below(items.len());
    let item = items[at].clone();
    let did = match random.below(5) {
        0 => {
            items.insert(random.below(items.len() + 1), item);
            "an item twice"
        }
        1 => {
            items.reverse();
            "reversed"
        }
        2 => {
            let with = random.below(items.len());
            items.swap(at, with);
            "two items in each other's place"
        }
        3 => {
            let mut copy = item;
            let leaves: Vec<String> =
                std::iter::once(String::new()).chain(editable(&copy, |v| v.is_string())).collect();
            if let Some(Value::String(text)) = random.pick(&leaves).and_then(|leaf| copy.pointer_mut(leaf)) {
                text.push('2');
            }
            items.insert(at, copy);
            "another item"
        }
        _ => {
            let item = items.remove(at);
            items.push(item);
            "an item at the end"
        }
    };
    Some(format!("{did} in {pointer}"))
}

fn metadata(object: &mut Value, random: &mut Random, subject: &Subject<'_>) -> Option<String> {
    let name =
        ["app", "team", "example.com/inject", "app.kubernetes.io/name", "team.example/tier", ""][random.below(6)];
    let value = json!(["", "x", "true"][random.below(3)]);
    let (pointer, value) = match random.below(8) {
        0 | 1 => (format!("/metadata/labels/{}", escaped(name)), value),
        2 | 3 => (format!("/metadata/annotations/{}", escaped(name)), value),
        4 => ("/metadata/finalizers".to_owned(), json!(["example.com/hold"])),
        5 => {
            let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "00000000-0000-0000-0000-000000000001"});
            ("/metadata/ownerReferences".to_owned(), json!([owner]))
        }
        6 => {
            let mut note = subject.manifest.clone();
            if random.percent(30) {
                note["metadata"]["name"] = json!("another");
            }
            let pointer = "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";
            (pointer.to_owned(), json!(note.to_string()))
        }
        _ => (["/metadata/labels", "/metadata/annotations"][random.below(2)].to_owned(), json!({})),
    };
    set(object, &pointer, value.clone());
    let mut said = value.to_string();
    said.truncate(said.floor_char_boundary(60));
    Some(format!("{pointer} = {said}"))
}

/// A field that the API server does not know, and most often drops.
fn unknown(object: &mut Value, random: &mut Random, _: &Subject<'_>) -> Option<String> {
    let maps = editable(object, Value::is_object);
    let pointer = format!("{}/{}", random.pick(&maps)?, ["Image", "x-unknown", "replica"][random.below(3)]);
    let value = [json!("x"), json!({}), json!(null), json!([1])][random.below(4)].clone();
    set(object, &pointer, value.clone());
    Some(format!("{pointer} = {value}"))
}

/// Git's own manifest: everything that the API server added is left out.
fn as_in_git(object: &mut Value, _: &mut Random, subject: &Subject<'_>) -> Option<String> {
    let version = object["metadata"]["resourceVersion"].take();
    *object = subject.manifest.clone();
    object["metadata"]["resourceVersion"] = version;
    Some("the manifest".to_owned())
}

fn owner_of_fields(object: &mut Value, _: &mut Random, _: &Subject<'_>) -> Option<String> {
    object["metadata"]["managedFields"] = json!([{}]);
    Some("managedFields cleared".to_owned())
}

/// The merge patch that makes one of the other.
pub fn merge_patch(before: &Value, after: &Value) -> Value {
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else { return after.clone() };
    let gone = old.keys().filter(|name| !new.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let changed = new.iter().filter(|(name, value)| old.get(*name) != Some(value)).map(|(name, value)| {
        (name.clone(), old.get(name).map_or_else(|| value.clone(), |old| merge_patch(old, value)))
    });
    Value::Object(gone.chain(changed).collect::<Map<_, _>>())
}
