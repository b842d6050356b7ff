//! What the administrator of this test may change: declared for the Enforcement, and once more, as pointers, for who checks
//! what it makes of that.

use serde_json::{Value, json};

use crate::oracle::is_within;
use crate::places::set;
use crate::random::Random;

/// Whose certificate the tests use.
pub const ADMINISTRATOR: &str = "kubernetes-admin";

struct Delegated {
    group: &'static str,
    kind: &'static str,
    namespace: &'static str,
    /// Every object of the kind where empty.
    name: &'static str,
    field: &'static str,
    /// The place of the field, as long as lists keep their length. A star ends the name of a member.
    pointer: &'static str,
    bounds: Option<(i64, i64)>,
}

const fn delegated(
    (group, kind): (&'static str, &'static str),
    (namespace, name): (&'static str, &'static str),
    (field, pointer): (&'static str, &'static str),
    bounds: Option<(i64, i64)>,
) -> Delegated {
    Delegated { group, kind, namespace, name, field, pointer, bounds }
}

const DELEGATED: &[Delegated] = &[
    delegated(("apps", "Deployment"), ("webapp", "backend"), ("spec.replicas", "/spec/replicas"), Some((1, 4))),
    delegated(("apps", "StatefulSet"), ("e2e", "etcd"), ("spec.replicas", "/spec/replicas"), Some((0, 5))),
    delegated(
        ("apps", "Deployment"),
        ("argocd", ""),
        ("metadata.annotations[team.example/*]", "/metadata/annotations/team.example~1*"),
        None,
    ),
    delegated(
        ("apps", "Deployment"),
        ("argocd", "argocd-redis"),
        ("spec.template.spec.containers[name=redis].image", "/spec/template/spec/containers/0/image"),
        None,
    ),
    delegated(
        ("", "ConfigMap"),
        ("argocd", "argocd-ssh-known-hosts-cm"),
        ("data[ssh_known_hosts]", "/data/ssh_known_hosts"),
        None,
    ),
    delegated(("", "ConfigMap"), ("argocd", "argocd-cm"), ("data[motd]", "/data/motd"), None),
    delegated(
        ("", "Service"),
        ("podinfo", "podinfo"),
        ("metadata.labels[team.example/tier]", "/metadata/labels/team.example~1tier"),
        None,
    ),
    delegated(
        ("argoproj.io", "Application"),
        ("argocd", "guestbook"),
        ("spec.source.targetRevision", "/spec/source/targetRevision"),
        None,
    ),
    delegated(("argoproj.io", "AppProject"), ("argocd", "my-project"), ("spec.sourceRepos", "/spec/sourceRepos"), None),
];

impl Delegated {
    fn is_of(&self, object: &Value) -> bool {
        let group = object["apiVersion"].as_str().unwrap().rsplit_once('/').map_or("", |(group, _)| group);
        group == self.group
            && object["kind"] == self.kind
            && object["metadata"]["namespace"] == self.namespace
            && (self.name.is_empty() || object["metadata"]["name"] == self.name)
    }

    fn covers(&self, place: &str, value: Option<&Value>) -> bool {
        let is_there = match self.pointer.strip_suffix('*') {
            Some(prefix) => place.starts_with(prefix),
            None => is_within(place, self.pointer),
        };
        is_there
            && self
                .bounds
                .is_none_or(|(least, most)| value.and_then(Value::as_i64).is_some_and(|n| n >= least && n <= most))
    }
}

/// For the Enforcement.
pub fn delegations() -> Vec<Value> {
    let delegation = |delegated: &Delegated| {
        let mut delegation = json!({"user": ADMINISTRATOR, "group": delegated.group, "kind": delegated.kind,
            "namespace": delegated.namespace, "fields": [delegated.field]});
        if !delegated.name.is_empty() {
            delegation["name"] = delegated.name.into();
        }
        if let Some((minimum, maximum)) = delegated.bounds {
            delegation["minimum"] = minimum.into();
            delegation["maximum"] = maximum.into();
        }
        delegation
    };
    DELEGATED.iter().map(delegation).collect()
}

/// Whether the administrator may give this place of an object this value.
pub fn is_delegated(object: &Value, place: &str, value: Option<&Value>) -> bool {
    DELEGATED.iter().any(|delegated| delegated.is_of(object) && delegated.covers(place, value))
}

pub fn has_delegated(object: &Value) -> bool {
    DELEGATED.iter().any(|delegated| delegated.is_of(object))
}

/// Gives a delegated place another value, within its bounds or not.
pub fn edit(object: &mut Value, random: &mut Random) -> Option<String> {
    let here: Vec<&Delegated> = DELEGATED.iter().filter(|delegated| delegated.is_of(object)).collect();
    let delegated = random.pick(&here)?;
    let pointer = delegated.pointer.replace('*', ["owner", "note"][random.below(2)]);
    let value = match (object.pointer(&pointer), delegated.bounds) {
        (_, Some((least, most))) => json!(least - 1 + random.below(usize::try_from(most - least + 3).unwrap()) as i64),
        (Some(Value::Array(_)), _) => json!([format!("https://git.example.com/{}", random.below(100))]),
        _ => json!(format!("registry.example/v{}", random.below(100))),
    };
    let did = format!("{pointer} = {value}");
    set(object, &pointer, value);
    Some(did)
}
