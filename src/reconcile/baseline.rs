//! The baseline: what was in a scope before Git governed it, and is not in Git.
//!
//! Recorded once. Its recorded state is its desired state from then on: frozen, repaired, never pruned. The record lives in
//! set-once Secrets in `gitadel-system` (it may hold Secrets), the same for all replicas. A record that is missing or
//! damaged is never silently made anew: what slipped in since would become the law.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::rest::metadata;
use crate::admission::own::{
    BASELINE_COUNT, BASELINE_LABEL, BASELINE_PREFIX, MANAGER_LABEL, baseline_digest, is_installation, is_own,
};
use crate::api::{MANAGER, SYSTEM_NAMESPACE};
use crate::compare::mask_secret;
use crate::document::Document;
use crate::object::ObjectId;
use crate::snapshot::{EntryClass, EntryDraft, HistoryDraft, KindInfo};

const DATA_KEY: &str = "objects";
/// Of the objects in a shard, before base64: a Secret may hold 1 MiB.
const SHARD_BYTES: usize = 600 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    #[error(
        "the record of what was there before Enforcement \"{enforcement}\" is damaged ({what}). What is in force stays so, \
         and nothing is pruned or recorded anew. Restore the Secrets gitadel-baseline-{enforcement}-* in gitadel-system \
         from a backup; or commit the Enforcement with action: Observe, and then again with action: Enforce to record what \
         is there then"
    )]
    Damaged { enforcement: String, what: String },
}

/// The digests of the shards of one record, by the names of the Secrets.
pub type Digests = BTreeMap<String, String>;

/// The digests of some Secrets.
pub fn digests(shards: &[Value]) -> Digests {
    shards.iter().map(|shard| (metadata(shard, "name").to_owned(), digest(shard))).collect()
}

pub fn digest(shard: &Value) -> String {
    baseline_digest(Some(Document::from_value(&shard["data"]).root()))
}

/// The objects of a baseline, as they were when it was recorded, without status and bookkeeping.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Baseline {
    pub objects: BTreeMap<ObjectId, Value>,
}

impl Baseline {
    pub fn add(&mut self, id: ObjectId, live: &Value, kind: &KindInfo) {
        self.objects.insert(id, recorded(live, kind));
    }

    pub fn len(&self) -> u32 {
        u32::try_from(self.objects.len()).unwrap_or(u32::MAX)
    }

    /// The Secrets that hold the record.
    pub fn shards(&self, enforcement: &str) -> Vec<Value> {
        let mut texts = vec![String::new()];
        for object in self.objects.values() {
            let line = object.to_string();
            if texts.last().is_some_and(|text| !text.is_empty() && text.len() + line.len() > SHARD_BYTES) {
                texts.push(String::new());
            }
            if let Some(text) = texts.last_mut() {
                text.push_str(&line);
                text.push('\n');
            }
        }
        let count = texts.len().to_string();
        texts
            .iter()
            .enumerate()
            .map(|(number, text)| {
                json!({
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {
                        "name": format!("{BASELINE_PREFIX}{enforcement}-{number}"),
                        "namespace": SYSTEM_NAMESPACE,
                        "labels": {MANAGER_LABEL: MANAGER, BASELINE_LABEL: enforcement},
                        "annotations": {BASELINE_COUNT: count},
                    },
                    "type": "gitadel.dev/baseline",
                    "immutable": true,
                    "data": {DATA_KEY: STANDARD.encode(text)},
                })
            })
            .collect()
    }

    /// Reads the record back. `None` where there is none.
    ///
    /// # Errors
    /// A shard is missing or unreadable.
    pub fn read(enforcement: &str, shards: &[Value]) -> Result<Option<Self>, BaselineError> {
        let Some(first) = shards.first() else { return Ok(None) };
        let damaged = |what: String| BaselineError::Damaged { enforcement: enforcement.to_owned(), what };
        let count: usize = first["metadata"]["annotations"][BASELINE_COUNT]
            .as_str()
            .and_then(|count| count.parse().ok())
            .ok_or_else(|| damaged(format!("{} does not say how many shards there are", metadata(first, "name"))))?;
        if shards.len() != count {
            return Err(damaged(format!("{} of {count} Secrets are there", shards.len())));
        }
        let baseline = Self::of_shards(enforcement, shards)?;
        // From here on it is known by the digests of what is written for it.
        if digests(&baseline.shards(enforcement)) != digests(shards) {
            return Err(damaged("its objects are not in the form in which gitadel writes them".to_owned()));
        }
        Ok(Some(baseline))
    }

    /// What is in some of the Secrets of a record, or in all of them.
    ///
    /// # Errors
    /// One is unreadable, or names what no record of gitadel can hold.
    pub fn of_shards(enforcement: &str, shards: &[Value]) -> Result<Self, BaselineError> {
        let damaged = |what: String| BaselineError::Damaged { enforcement: enforcement.to_owned(), what };
        let mut baseline = Self::default();
        for shard in shards {
            let name = metadata(shard, "name");
            let text = shard["data"][DATA_KEY]
                .as_str()
                .and_then(|data| STANDARD.decode(data).ok())
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(|| damaged(format!("Secret {name} cannot be read")))?;
            for line in text.lines() {
                let object: Value =
                    serde_json::from_str(line).map_err(|error| damaged(format!("Secret {name}: {error}")))?;
                let id = id_of(&object);
                if is_own(id.as_ref()) && !is_installation(id.as_ref()) {
                    return Err(damaged(format!("Secret {name} holds {id}, which is gitadel's own")));
                }
                baseline.objects.insert(id, object);
            }
        }
        Ok(baseline)
    }

    /// The entries of the snapshot, and the Secrets among them with their values.
    pub fn entries(&self, source: usize, mask_key: &crate::compare::MaskKey) -> Vec<(EntryDraft, Option<Value>)> {
        self.objects
            .iter()
            .map(|(id, object)| {
                let secret = super::world::is_secret(id.as_ref());
                let canonical = if secret {
                    mask_secret(Document::from_value(object).root(), mask_key).root().to_value()
                } else {
                    object.clone()
                };
                let draft = EntryDraft {
                    id: id.clone(),
                    class: EntryClass::Baseline,
                    source: Some(source),
                    version: object["apiVersion"].as_str().unwrap_or_default().to_owned(),
                    canonical: Some(canonical),
                    inputs: String::new(),
                    file: None,
                    lines: None,
                    recreate: false,
                    uid: None,
                    problem: None,
                    history: HistoryDraft::default(),
                };
                (draft, secret.then(|| object.clone()))
            })
            .collect()
    }
}

/// The baseline of which these are the digests, put together from a part of it and what else is `remembered`.
pub fn rebuilt(
    enforcement: &str,
    digests_of: &Digests,
    mut part: Baseline,
    remembered: impl Iterator<Item = (ObjectId, Value)>,
) -> Option<Baseline> {
    for (id, object) in remembered {
        part.objects.entry(id).or_insert(object);
    }
    (digests(&part.shards(enforcement)) == *digests_of).then_some(part)
}

fn id_of(object: &Value) -> ObjectId {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    ObjectId::new(
        group,
        object["kind"].as_str().unwrap_or_default(),
        metadata(object, "namespace"),
        metadata(object, "name"),
    )
}

/// A live object without status and bookkeeping.
pub fn recorded(live: &Value, kind: &KindInfo) -> Value {
    let mut object = live.clone();
    if let Some(map) = object.as_object_mut() {
        if kind.status_subresource() {
            map.remove("status");
        }
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["resourceVersion", "uid", "creationTimestamp", "managedFields", "generation", "selfLink"] {
                metadata.remove(field);
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config_map(name: &str, size: usize) -> (ObjectId, Value) {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "shop"},
            "data": {"text": "x".repeat(size)},
        });
        (ObjectId::new("", "ConfigMap", "shop", name), object)
    }

    #[test]
    fn a_record_is_read_as_it_was_written_whatever_its_size() {
        let baseline = Baseline { objects: (0..5).map(|n| config_map(&format!("c{n}"), 300 * 1024)).collect() };
        let shards = baseline.shards("all");
        assert!(shards.len() > 1);
        assert!(shards.iter().all(|shard| shard.to_string().len() < 1024 * 1024));
        assert_eq!(Baseline::read("all", &shards).unwrap(), Some(baseline));
        assert_eq!(Baseline::read("all", &[]).unwrap(), None);
    }

    #[test]
    fn a_lost_or_damaged_shard_is_noticed() {
        let baseline = Baseline { objects: (0..5).map(|n| config_map(&format!("c{n}"), 300 * 1024)).collect() };
        let mut shards = baseline.shards("all");
        shards[1]["data"][DATA_KEY] = "%%%".into();
        assert!(Baseline::read("all", &shards).is_err());
        shards.remove(1);
        assert!(Baseline::read("all", &shards).is_err());
    }

    #[test]
    fn a_record_in_another_order_is_none_that_gitadel_wrote() {
        let shard = |objects: [Value; 2]| {
            let mut shards = Baseline::default().shards("all");
            shards[0]["data"][DATA_KEY] = STANDARD.encode(format!("{}\n{}\n", objects[0], objects[1])).into();
            shards
        };
        let [(_, a), (_, b)] = [config_map("a", 1), config_map("b", 1)];
        assert!(Baseline::read("all", &shard([a.clone(), b.clone()])).is_ok());
        assert!(Baseline::read("all", &shard([b, a])).is_err());
    }

    #[test]
    fn what_is_gitadels_own_is_in_no_record() {
        let id = ObjectId::new("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "", "gitadel");
        let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "gitadel"}});
        let forged = Baseline { objects: [(id, object)].into() };
        assert!(Baseline::read("all", &forged.shards("all")).is_err());
        let id = ObjectId::new("", "Namespace", "", "gitadel-system");
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gitadel-system"}});
        let sound = Baseline { objects: [(id, object)].into() };
        assert_eq!(Baseline::read("all", &sound.shards("all")).unwrap(), Some(sound));
    }

    #[test]
    fn a_record_is_put_together_again_only_as_it_was() {
        let whole = Baseline { objects: (0..5).map(|n| config_map(&format!("c{n}"), 300 * 1024)).collect() };
        let shards = whole.shards("all");
        let known = digests(&shards);
        let part = Baseline::of_shards("all", &shards[1..2]).unwrap();
        // Through the encoding of a snapshot.
        let kept = |(id, object): (&ObjectId, &Value)| (id.clone(), Document::from_value(object).root().to_value());
        let rebuilt = |remembered: Vec<(ObjectId, Value)>| rebuilt("all", &known, part.clone(), remembered.into_iter());
        assert_eq!(rebuilt(whole.objects.iter().map(kept).collect()), Some(whole.clone()));
        assert_eq!(rebuilt(whole.objects.iter().take(1).map(kept).collect()), None, "too little");
        let more = whole.objects.iter().map(kept).chain([config_map("evil", 1)]).collect();
        assert_eq!(rebuilt(more), None, "too much");
        let (id, changed) = config_map("c0", 1);
        let altered = [(id, changed)].into_iter().chain(whole.objects.iter().skip(1).map(kept)).collect();
        assert_eq!(rebuilt(altered), None, "another");
    }
}
