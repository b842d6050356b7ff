use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // Integral floats come back as integers: a table below.
        proptest::num::f64::NORMAL.prop_filter("integral", |number| number.fract() != 0.0).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Visits all that a reader can reach.
fn walk(node: Node<'_>) -> usize {
    1 + match node.view() {
        View::List(list) => list.iter().map(walk).sum(),
        View::Map(map) => {
            assert!(map.iter().all(|(key, _)| key.len() <= node.as_bytes().len()));
            map.get("a");
            map.iter().map(|(_, value)| walk(value)).sum()
        }
        _ => 0,
    }
}

proptest! {
    #[test]
    fn values_round_trip(value in json_value()) {
        let document = Document::from_value(&value);
        prop_assert_eq!(document.root().to_value(), value.clone());
        prop_assert_eq!(&Document::from_json(value.to_string().as_bytes()).unwrap(), &document);
        prop_assert_eq!(&Document::from(document.root()), &document);
    }

    #[test]
    fn equality_is_that_of_the_values(a in json_value(), b in json_value()) {
        prop_assert_eq!(Document::from_value(&a).root() == Document::from_value(&b).root(), a == b);
    }

    #[test]
    fn random_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), tag in 0u8..12) {
        let bytes = [bytes, vec![0, 0, 0, tag]].concat();
        prop_assert!(walk(Node::root(&bytes)) <= bytes.len());
    }

    #[test]
    fn flipped_bits_are_read_without_harm(value in json_value(), flips in prop::collection::vec(any::<(usize, u8)>(), 1..6)) {
        let mut bytes = Document::from_value(&value).bytes;
        let length = bytes.len();
        for (at, mask) in flips {
            bytes[at % length] ^= mask;
        }
        let node = Node::root(&bytes);
        prop_assert!(walk(node) <= bytes.len());
        let _unharmed = (node.to_value(), format!("{node:?}"), node.at(&["a", "b"]));
    }
}

#[test]
fn members_are_found_in_any_order_of_writing() {
    let document = Document::from_json(
        r#"{"kind":"K","apiVersion":"v1","spec":{"z":[1,{"b":true,"a":null}],"é":"u"}}"#.as_bytes(),
    )
    .unwrap();
    let root = document.root();
    assert_eq!(root.get("kind").and_then(Node::as_str), Some("K"));
    assert_eq!(root.at(&["spec", "é"]).and_then(Node::as_str), Some("u"));
    assert!(root.get("status").is_none());
    assert!(root.at(&["kind", "x"]).is_none());
    let list = root.at(&["spec", "z"]).and_then(Node::list).unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!(list.get(0).and_then(Node::as_i64), Some(1));
    assert!(list.get(2).is_none());
    let item = list.get(1).unwrap();
    assert_eq!(item.get("b").and_then(Node::as_bool), Some(true));
    assert!(item.get("a").unwrap().is_null());
    assert_eq!(root.map().unwrap().iter().map(|(key, _)| key).collect::<Vec<_>>(), ["apiVersion", "kind", "spec"]);
    assert_eq!(root.to_string(), r#"{"apiVersion":"v1","kind":"K","spec":{"z":[1,{"a":null,"b":true}],"é":"u"}}"#);
}

#[test]
fn numbers_are_their_values() {
    for (a, b, equal) in [
        ("1", "1.0", true),
        ("1", "1e0", true),
        ("-0.0", "0", true),
        ("18446744073709551615", "18446744073709551615", true),
        ("9223372036854775808", "9223372036854775807", false),
        ("9007199254740993", "9007199254740992.0", false),
        ("0.1", "0.2", false),
        ("1", "\"1\"", false),
        ("1", "true", false),
    ] {
        let [left, right] = [a, b].map(|text| Document::from_json(text.as_bytes()).unwrap());
        assert_eq!(left.root() == right.root(), equal, "{a} {b}");
    }
    assert_eq!(Document::from_json(b"2.0").unwrap().root().to_value(), json!(2));
}

/// The last bit counts: a number that changed on its way through a review or a snapshot would be drift for ever.
#[test]
fn floats_are_the_nearest_to_their_text() {
    for text in [
        "0.30000000000000004",
        "1e-7",
        "5e-324",
        "2.2250738585072014e-308",
        "1.7976931348623157e308",
        "123456789012345680000",
        "51.248178375505404",
        "-93.31137037688033",
        "97.45365320034685",
    ] {
        let read = Document::from_json(text.as_bytes()).unwrap();
        let value = read.root().to_value();
        assert_eq!(value.as_f64().map(f64::to_bits), text.parse().ok().map(f64::to_bits), "{text}");
        assert_eq!(Document::from_json(value.to_string().as_bytes()).unwrap(), read, "{text}");
    }
}

#[test]
fn what_is_no_document_is_refused() {
    for (text, part) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("{} {}", "trailing"),
        (r#"{"a":1,"b":2,"a":1}"#, "\"a\" is there twice"),
        (r#"{"x":{"b":1,"b":1}}"#, "\"b\" is there twice"),
        (r#"{"a":1,"a":2}"#, "\"a\" is there twice"),
        (r#"{1:2}"#, "key must be a string"),
        ("\"\u{1}\"", "control character"),
        ("1e999", "number out of range"),
    ] {
        let error = Document::from_json(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    assert!(Document::from_json(b"\"\xff\"").is_err());
}

#[test]
fn what_is_nested_too_deep_is_a_text_that_tells_it_from_another() {
    let deep = |innermost: u8| {
        let text = format!("{}{innermost}{}", "[".repeat(10_000), "]".repeat(10_000));
        Document::from_json(text.as_bytes()).unwrap()
    };
    assert_eq!(deep(1), deep(1));
    assert_ne!(deep(1), deep(2));
}

#[test]
fn nesting_beyond_the_limit_reads_as_damage() {
    let mut value = json!("bottom");
    for _ in 0..1000 {
        value = Value::Array(vec![value]);
    }
    let document = Document::from_value(&value);
    assert_eq!(walk(document.root()), usize::from(MAX_DEPTH) + 2);
}

#[test]
fn damage_never_equals_what_is_sound() {
    let sound = Document::from_value(&json!({"a": [1, 2], "b": "c"}));
    for at in 0..sound.bytes.len() {
        let mut bytes = sound.bytes.clone();
        bytes[at] ^= 1;
        assert!(Node::root(&bytes) != sound.root());
    }
    assert!(Node::root(&[]).is_damaged());
    assert!(Node::root(&[99]).is_damaged());
}

/// A table whose entries overlap could make a small document take for ever to walk.
#[test]
fn overlapping_items_are_not_walked() {
    let inner = Document::from_value(&json!([[1, 2], [3, 4]]));
    let length = u32::try_from(inner.bytes.len()).unwrap();
    let mut bytes = inner.bytes.clone();
    for end in [length, 0, length, 0, length] {
        bytes.extend(end.to_le_bytes());
    }
    bytes.extend(5u32.to_le_bytes());
    bytes.push(tag::LIST);
    assert_eq!(Node::root(&bytes).list().unwrap().iter().count(), 1);
}
