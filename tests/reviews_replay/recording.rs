//! The recorded reviews, and what they show of the cluster that they come from.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use flate2::read::GzDecoder;
use gitadel::compare::ListSchema;
use gitadel::snapshot::KindInfo;
use serde_json::Value;

/// The requests, in their order.
pub fn recorded() -> Vec<Value> {
    let recording = std::fs::File::open("tests/data/reviews.jsonl.gz").unwrap();
    let mut text = String::new();
    GzDecoder::new(recording).read_to_string(&mut text).unwrap();
    let request = |line: &str| {
        let mut review: Value = serde_json::from_str(line).unwrap();
        review["request"]["uid"] = "u-1".into();
        review["request"].take()
    };
    text.lines().map(request).collect()
}

pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The person who exercised the cluster.
pub fn is_by_person(request: &Value) -> bool {
    text(request, "/userInfo/username") == "admin"
}

/// The kinds that the reviews show, as discovery would list them.
pub fn kinds(requests: &[Value]) -> Vec<KindInfo> {
    let mut kinds: BTreeMap<(String, String), KindInfo> = BTreeMap::new();
    for request in requests {
        let (group, resource) = (text(request, "/resource/group"), text(request, "/resource/resource"));
        let subresource = text(request, "/subResource");
        let known = kinds.entry((group.into(), resource.into())).or_insert_with(|| KindInfo {
            group: group.into(),
            kind: String::new(),
            resource: resource.into(),
            version: text(request, "/resource/version").into(),
            namespaced: !text(request, "/namespace").is_empty() && resource != "namespaces",
            subresources: BTreeSet::new(),
            scale_paths: Default::default(),
            schema: ListSchema::default(),
            registered: true,
        });
        if subresource.is_empty() || subresource == "status" {
            known.kind = text(request, "/kind/kind").into();
        }
        known.subresources.insert(subresource.into());
    }
    kinds.into_values().filter(|kind| !kind.kind.is_empty()).collect()
}
