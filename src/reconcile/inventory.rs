//! The inventory: which objects gitadel created from which commit, so that one that leaves Git can be pruned even by a
//! Pod that never saw it declared.
//!
//! It is a hint and never a proof. A line names the commit and the file that declared the object, and before anything is
//! deleted on the strength of a line, that commit must be part of the source's history and really declare the object
//! there. So a forged line deletes nothing, and the guard at admission (which admits only lines that the snapshot
//! confirms) is a second wall, not the only one.
//!
//! Lines live in ConfigMaps in `gitadel-system`, spread over more shards as they grow in number. A line stays in the
//! shard where it was put, so that growing never rewrites what is there: there is no size at which this ends.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::admission::own::{INVENTORY_KEY, INVENTORY_LABEL, INVENTORY_PREFIX, InventoryLine};
use crate::api::{MANAGER, SYSTEM_NAMESPACE};
use crate::object::ObjectId;

/// A shard takes new lines while the inventory has at most this many lines a shard: some 300 KiB.
const LINES_PER_SHARD: usize = 2000;

/// One object that was applied from Git.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    pub id: ObjectId,
    /// Full id of the commit from which it was first applied.
    pub commit: String,
    /// File in that commit that declares it.
    pub file: String,
}

impl Line {
    /// `None` for text that is no line of an inventory.
    fn parse(line: &str) -> Option<Self> {
        let line = InventoryLine::parse(line).filter(|line| !line.file.is_empty())?;
        Some(Self { id: line.id.to_owned(), commit: line.commit.into(), file: line.file.into() })
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        InventoryLine { id: self.id.as_ref(), commit: &self.commit, file: &self.file }.fmt(f)
    }
}

/// The inventory of one Enforcement: its lines by shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    shards: BTreeMap<String, BTreeSet<Line>>,
}

impl Inventory {
    /// Reads what the shards of `enforcement` hold. Lines that cannot be read are dropped: they could prove nothing.
    pub fn read<'a>(config_maps: impl Iterator<Item = &'a Value>) -> Self {
        let mut shards = BTreeMap::new();
        for shard in config_maps {
            let Some(name) = shard["metadata"]["name"].as_str() else { continue };
            let lines =
                shard["data"][INVENTORY_KEY].as_str().unwrap_or_default().lines().filter_map(Line::parse).collect();
            shards.insert(name.to_owned(), lines);
        }
        Self { shards }
    }

    /// The names of all shards, those that are empty now as well.
    pub fn shards(&self) -> impl Iterator<Item = &str> {
        self.shards.keys().map(String::as_str)
    }

    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.shards.values().flatten()
    }

    /// The inventory with `added` in it and the objects in `gone` taken out, and the names of the shards that changed.
    pub fn updated(&self, enforcement: &str, added: Vec<Line>, gone: &BTreeSet<ObjectId>) -> (Self, BTreeSet<String>) {
        let mut next = self.clone();
        let mut changed = BTreeSet::new();
        for (name, lines) in &mut next.shards {
            let before = lines.len();
            lines.retain(|line| !gone.contains(&line.id));
            if lines.len() != before {
                changed.insert(name.clone());
            }
        }
        let known: BTreeSet<ObjectId> = next.lines().map(|line| line.id.clone()).collect();
        let digits = shard_digits(known.len() + added.len());
        for line in added {
            if !known.contains(&line.id) {
                let name = shard_name(enforcement, &line.id, digits);
                next.shards.entry(name.clone()).or_default().insert(line);
                changed.insert(name);
            }
        }
        (next, changed)
    }

    /// The ConfigMap of one shard, or `None` where it holds nothing and may go.
    pub fn config_map(&self, enforcement: &str, name: &str) -> Option<Value> {
        let lines = self.shards.get(name).filter(|lines| !lines.is_empty())?;
        let text: Vec<String> = lines.iter().map(Line::to_string).collect();
        Some(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "namespace": SYSTEM_NAMESPACE,
                "labels": {"app.kubernetes.io/managed-by": MANAGER, INVENTORY_LABEL: enforcement},
            },
            "data": {INVENTORY_KEY: text.join("\n")},
        }))
    }
}

/// How many hexadecimal digits of an object's digest choose its shard.
fn shard_digits(lines: usize) -> usize {
    let mut digits = 0;
    let mut capacity = LINES_PER_SHARD;
    while lines > capacity {
        digits += 1;
        capacity = capacity.saturating_mul(16);
    }
    digits
}

fn shard_name(enforcement: &str, id: &ObjectId, digits: usize) -> String {
    let digest = blake3::hash(id.to_string().as_bytes()).to_hex();
    format!("{INVENTORY_PREFIX}{enforcement}-x{}", digest.get(..digits).unwrap_or_default())
}

/// Whether nobody can mend a shard any more, by whatever way it came to that.
pub fn is_beyond_repair(live: &Value) -> bool {
    live["immutable"] == json!(true)
}

/// Whether a live shard says what it should, and nothing more.
pub fn is_as_written(live: &Value, wanted: &Value) -> bool {
    const SAID: [&str; 7] = [
        "/data",
        "/binaryData",
        "/immutable",
        "/metadata/labels",
        "/metadata/annotations",
        "/metadata/finalizers",
        "/metadata/ownerReferences",
    ];
    SAID.iter().all(|field| live.pointer(field) == wanted.pointer(field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::own::inventory_of;

    #[test]
    fn a_shard_is_found_by_its_name() {
        for digits in 0..3 {
            assert_eq!(inventory_of(&shard_name("all", &line("web").id, digits)), Some("all"));
        }
    }

    #[test]
    fn what_else_a_shard_says_is_not_gitadels() {
        let (inventory, changed) = Inventory::default().updated("all", vec![line("web")], &BTreeSet::new());
        let wanted = inventory.config_map("all", changed.first().unwrap()).unwrap();
        let mut live = wanted.clone();
        live["metadata"]["uid"] = json!("1");
        assert!(is_as_written(&live, &wanted));
        for (field, value) in [("labels", json!({})), ("annotations", json!({"a": ""})), ("finalizers", json!(["a/b"]))]
        {
            let mut live = live.clone();
            live["metadata"][field] = value;
            assert!(!is_as_written(&live, &wanted), "{field}");
        }
        live["data"][INVENTORY_KEY] = json!("");
        assert!(!is_as_written(&live, &wanted));
    }

    fn line(name: &str) -> Line {
        Line {
            id: ObjectId::new("apps", "Deployment", "shop", name),
            commit: "1a2b3c".into(),
            file: "apps/web of mine.yaml".into(),
        }
    }

    #[test]
    fn lines_are_read_as_they_were_written() {
        for line in [line("web"), Line { id: ObjectId::new("", "Namespace", "", "shop"), ..line("x") }] {
            assert_eq!(Line::parse(&line.to_string()), Some(line));
        }
        for broken in ["", "apps/Deployment/shop/web", "apps/Deployment/shop/web 1a", "apps/Deployment/shop/web 1a "] {
            assert_eq!(Line::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn an_inventory_grows_beyond_any_one_object_without_moving_a_line() {
        let mut inventory = Inventory::default();
        let mut count = 0;
        while count < 40_000 {
            let added = (count..count + 5000).map(|n| line(&format!("web-{n}"))).collect();
            let before = inventory.clone();
            (inventory, _) = inventory.updated("all", added, &BTreeSet::new());
            for (name, lines) in &before.shards {
                assert!(inventory.shards[name].is_superset(lines), "{name}");
            }
            count += 5000;
        }
        assert_eq!(inventory.lines().count(), 40_000);
        let maps: Vec<Value> = inventory.shards.keys().filter_map(|name| inventory.config_map("all", name)).collect();
        for map in &maps {
            assert!(map.to_string().len() < 1_000_000, "a shard must fit into an object");
        }
        assert_eq!(Inventory::read(maps.iter()), inventory);
    }

    #[test]
    fn what_is_gone_leaves_and_only_its_shard_changes() {
        let (inventory, changed) = Inventory::default().updated("all", vec![line("a"), line("b")], &BTreeSet::new());
        assert_eq!(changed.len(), 1);
        let (inventory, changed) = inventory.updated("all", vec![line("a")], &BTreeSet::from([line("b").id]));
        assert_eq!(changed.len(), 1);
        assert_eq!(inventory.lines().collect::<Vec<_>>(), [&line("a")]);
        let (_, changed) = inventory.updated("all", vec![line("a")], &BTreeSet::new());
        assert!(changed.is_empty());
        let (inventory, changed) = inventory.updated("all", vec![], &BTreeSet::from([line("a").id]));
        let name = changed.first().unwrap();
        assert_eq!(inventory.config_map("all", name), None);
    }
}
