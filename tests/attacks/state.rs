//! The whole of a cluster as one value, so that a row can say "and nothing else changed".

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::support::bypass::{content, get};
use super::support::governed::Governed;

/// Kinds whose objects come and go while nobody governs anything: no state that Git declares.
const LEFT_OUT: &[&str] = &["events", "leases", "componentstatuses", "csinodes", "leasecandidates"];
/// The condition of a node, which has none here.
const CONDITION_TAINTS: &str = "node.kubernetes.io/";

/// What is in the cluster, by path. Objects whose name their controller draws have that of the draw instead, with a number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub objects: BTreeMap<String, Value>,
    /// Of all that are not made anew by themselves.
    pub uids: BTreeMap<String, Value>,
}

/// The kinds that can be listed, as the API server knows them when asked.
pub async fn collections(governed: &Governed) -> Vec<String> {
    let client = &governed.client;
    let mut versions = vec!["/api/v1".to_owned()];
    for group in get(client, "/apis").await.unwrap()["groups"].as_array().unwrap() {
        versions.push(format!("/apis/{}", group["preferredVersion"]["groupVersion"].as_str().unwrap()));
    }
    let mut collections = Vec::new();
    for version in versions {
        for resource in get(client, &version).await.unwrap()["resources"].as_array().unwrap() {
            let name = resource["name"].as_str().unwrap();
            let listed = resource["verbs"].as_array().unwrap().contains(&json!("list"));
            if listed && !LEFT_OUT.contains(&name) {
                collections.push(format!("{version}/{name}"));
            }
        }
    }
    collections
}

impl State {
    pub async fn of(governed: &Governed, collections: &[String]) -> Self {
        let mut state = Self::default();
        for collection in collections {
            // A kind may be gone for a moment: so are its objects.
            let Some(list) = get(&governed.client, collection).await else { continue };
            for object in list["items"].as_array().into_iter().flatten() {
                state.take(collection, object);
            }
        }
        state
    }

    fn take(&mut self, collection: &str, object: &Value) {
        let metadata = &object["metadata"];
        let hash = metadata["labels"]["pod-template-hash"].as_str();
        let place = format!("{collection} {}/", metadata["namespace"].as_str().unwrap_or_default());
        let drawn = match (metadata["generateName"].as_str(), hash) {
            (Some(drawn), _) => Some(drawn),
            (None, Some(_)) => metadata["name"].as_str(),
            (None, None) => None,
        };
        let Some(drawn) = drawn.filter(|_| metadata["ownerReferences"].is_array()) else {
            let key = format!("{place}{}", metadata["name"].as_str().unwrap());
            self.uids.insert(key.clone(), metadata["uid"].clone());
            self.objects.insert(key, compared(object));
            return;
        };
        let drawn = hash.map_or(drawn.to_owned(), |hash| drawn.replace(hash, "HASH-"));
        let mut object = compared(object);
        object["metadata"]["name"] = Value::Null;
        let number = (0..).find(|n| !self.objects.contains_key(&format!("{place}{drawn}{n}"))).unwrap();
        self.objects.insert(format!("{place}{drawn}{number}"), object);
    }

    /// What is otherwise than before, for people.
    pub fn differences(&self, before: &Self) -> Vec<String> {
        let keys: std::collections::BTreeSet<_> = self.objects.keys().chain(before.objects.keys()).collect();
        let changed = keys.into_iter().filter(|key| self.objects.get(*key) != before.objects.get(*key));
        changed
            .map(|key| match (before.objects.get(key), self.objects.get(key)) {
                (None, _) => format!("{key} is new"),
                (_, None) => format!("{key} is gone"),
                (Some(old), Some(new)) => format!("{key}: {}", json_patch::diff(old, new)),
            })
            .collect()
    }
}

/// Labels that hold the uid of a Job.
const OF_JOBS: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];
/// A volume of every Pod, whose name the API server draws.
const TOKEN_VOLUME: &str = "kube-api-access-";

/// What counts of an object: not what the API server keeps for itself, and no uid of another object, which is new whenever
/// that one is made anew.
pub fn compared(object: &Value) -> Value {
    let said = said_of_definition(object);
    let mut object = content(object);
    object["status"] = said;
    // Another one where the ReplicaSet of a Deployment that was deleted is still there when it is made anew.
    let hash = object["metadata"]["labels"]["pod-template-hash"].as_str().map(str::to_owned);
    for owner in object["metadata"]["ownerReferences"].as_array_mut().into_iter().flatten() {
        owner["uid"] = Value::Null;
    }
    if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        annotations.remove("endpoints.kubernetes.io/last-change-trigger-time");
        annotations.remove("deployment.kubernetes.io/revision-history");
        if annotations.is_empty() {
            object["metadata"]["annotations"] = Value::Null;
        }
    }
    let is_inventory = object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("gitadel-inventory-"));
    if let Some(lines) = object["data"]["objects"].as_str().filter(|_| is_inventory) {
        // A list that is written anew names the commit of today, where the old one named that of each object's beginning.
        let without_commit = |line: &str| {
            let words: Vec<_> = line.split(' ').collect();
            format!("{} {}", words[0], words[words.len() - 1])
        };
        let lines: Vec<String> = lines.lines().map(without_commit).collect();
        object["data"]["objects"] = json!(lines);
    }
    if let Some(taints) = object["spec"]["taints"].as_array_mut() {
        taints.retain(|taint| !taint["key"].as_str().is_some_and(|key| key.starts_with(CONDITION_TAINTS)));
        if taints.is_empty() {
            object["spec"]["taints"] = Value::Null;
        }
    }
    normal(object, hash.as_deref())
}

/// By what a definition says of itself the API server serves its kind, or does not.
fn said_of_definition(object: &Value) -> Value {
    if !object["status"]["acceptedNames"].is_object() {
        return Value::Null;
    }
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let said = conditions.filter(|condition| condition["status"] == "True").map(|condition| condition["type"].clone());
    let mut said: Vec<_> = said.filter_map(|kind| kind.as_str().map(str::to_owned)).collect();
    said.sort_unstable();
    said.into()
}

/// Without nulls, and with one name for what is drawn.
fn normal(value: Value, hash: Option<&str>) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(key, value)| !value.is_null() && !OF_JOBS.contains(&key.as_str()));
            Value::Object(kept.map(|(key, value)| (key, normal(value, hash))).collect::<Map<_, _>>())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(|value| normal(value, hash)).collect()),
        Value::String(text) if text.starts_with(TOKEN_VOLUME) => json!(TOKEN_VOLUME),
        Value::String(text) => json!(hash.map_or(text.clone(), |hash| text.replace(hash, "HASH"))),
        other => other,
    }
}
