//! What the API server itself says of each request: which rule of gitadel's rejected it, and who else was rejected.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Where a policy of the API server's audit log is.
pub const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/attacks/audit-policy.yaml");

pub struct Audit {
    path: PathBuf,
    read: u64,
    /// A line that is not whole yet.
    rest: String,
    pub events: Vec<Value>,
    by_id: HashMap<String, usize>,
}

impl Audit {
    pub fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), read: 0, rest: String::new(), events: Vec::new(), by_id: HashMap::new() }
    }

    /// The flags that make the API server write it there.
    pub fn flags(path: &Path) -> Vec<String> {
        vec![
            format!("--audit-policy-file={POLICY}"),
            format!("--audit-log-path={}", path.display()),
            "--audit-log-mode=blocking".into(),
        ]
    }

    pub fn read_on(&mut self) {
        let mut file = File::open(&self.path).unwrap();
        file.seek(SeekFrom::Start(self.read)).unwrap();
        let mut bytes = Vec::new();
        self.read += file.read_to_end(&mut bytes).unwrap() as u64;
        self.rest.push_str(std::str::from_utf8(&bytes).unwrap());
        while let Some((line, rest)) = self.rest.split_once('\n') {
            let event: Value = serde_json::from_str(line).unwrap();
            self.by_id.insert(event["auditID"].as_str().unwrap().to_owned(), self.events.len());
            self.events.push(event);
            self.rest = rest.to_owned();
        }
    }

    pub fn event(&mut self, id: &str) -> Option<&Value> {
        self.read_on();
        self.by_id.get(id).map(|at| &self.events[*at])
    }
}

/// Who of Kubernetes' own components was rejected by gitadel, over what: they go on trying, and a cluster is not what it
/// should be. What somebody does in their name does not count.
pub fn components_rejected(events: &[Value]) -> Vec<String> {
    let own = |event: &&Value| {
        let user = event["user"]["username"].as_str().unwrap_or_default();
        let is_component = user.starts_with("system:kube-")
            || user.starts_with("system:serviceaccount:kube-system:")
            || user == "system:apiserver";
        is_component && event["impersonatedUser"].is_null()
    };
    let rejected = events.iter().filter(own).filter_map(|event| {
        let object = &event["objectRef"];
        let text = |key| object[key].as_str().unwrap_or_default();
        Some(format!(
            "{} {} {}/{} {}: {}",
            event["user"]["username"].as_str()?,
            event["verb"].as_str()?,
            text("resource"),
            text("subresource"),
            text("name"),
            rule(event)?
        ))
    });
    rejected.collect()
}

/// The rule by which gitadel rejected the request of an event.
pub fn rule(event: &Value) -> Option<&str> {
    let annotations = event["annotations"].as_object()?;
    let own = |key: &String| key.ends_with(".gitadel.dev/rule");
    annotations.iter().find(|(key, _)| own(key)).and_then(|(_, rule)| rule.as_str())
}
