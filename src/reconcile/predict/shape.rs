//! What of a manifest its defaults depend on: everything but texts that are known to have no say. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::snapshot::KindInfo;

/// A role that a value plays, other than being part of the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Any text: a name, a command.
    Text,
    /// Whether its tag is `latest` decides the pull policy.
    Image,
    /// A number of which only zero is special, since the server may leave it out.
    Count,
    /// A map with arbitrary keys and texts.
    Texts,
    /// The same, of base64.
    Bytes,
}

/// Places by role. `*` stands for any item of a list.
type Roles = &'static [(&'static [&'static str], Role)];

const METADATA: Roles = &[
    (&["metadata", "name"], Role::Text),
    (&["metadata", "namespace"], Role::Text),
    (&["metadata", "labels"], Role::Texts),
    (&["metadata", "annotations"], Role::Texts),
];

const WORKLOAD: Roles = &[
    (&["spec", "replicas"], Role::Count),
    (&["spec", "serviceName"], Role::Text),
    (&["spec", "selector", "matchLabels"], Role::Texts),
    (&["spec", "template", "metadata", "labels"], Role::Texts),
    (&["spec", "template", "metadata", "annotations"], Role::Texts),
    (&["spec", "template", "spec", "containers", "*", "name"], Role::Text),
    (&["spec", "template", "spec", "containers", "*", "image"], Role::Image),
    (&["spec", "template", "spec", "containers", "*", "command", "*"], Role::Text),
    (&["spec", "template", "spec", "containers", "*", "args", "*"], Role::Text),
    (&["spec", "template", "spec", "containers", "*", "env", "*", "name"], Role::Text),
    (&["spec", "template", "spec", "containers", "*", "env", "*", "value"], Role::Text),
];

const CONFIG_MAP: Roles = &[(&["data"], Role::Texts), (&["binaryData"], Role::Bytes)];
const SECRET: Roles = &[(&["data"], Role::Bytes)];
const SERVICE: Roles = &[(&["spec", "selector"], Role::Texts)];
const BINDING: Roles = &[
    (&["roleRef", "name"], Role::Text),
    (&["subjects", "*", "name"], Role::Text),
    (&["subjects", "*", "namespace"], Role::Text),
];

/// The kinds whose defaults are known to follow from the shape. Others copy values (a Namespace's label is its name) or
/// draw them at random (a Job's uid), or nobody looked.
fn roles(group: &str, kind: &str) -> Option<Roles> {
    Some(match (group, kind) {
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet") => WORKLOAD,
        ("", "ConfigMap") => CONFIG_MAP,
        ("", "Secret") => SECRET,
        ("", "Service") => SERVICE,
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => BINDING,
        ("", "ServiceAccount") | ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => &[],
        _ => return None,
    })
}

#[derive(Debug)]
pub struct Shape {
    pub digest: blake3::Hash,
    /// The texts that are no part of the digest.
    texts: Vec<String>,
}

impl Shape {
    /// `None` where the server is always to be asked.
    pub fn of(kind: &KindInfo, declared: &Value) -> Option<Self> {
        let mut walk =
            Walk { roles: roles(&kind.group, &kind.kind)?, hasher: blake3::Hasher::new(), texts: Vec::new() };
        for part in [&kind.group, &kind.version, &kind.kind] {
            walk.text(part);
        }
        walk.value(declared, &mut Vec::new())?;
        Some(Self { digest: walk.hasher.finalize(), texts: walk.texts })
    }

    /// Whether a value that the server added may have been taken from a text: then it says nothing about other texts.
    pub fn may_copy(&self, added: &Value) -> bool {
        match added {
            Value::String(text) => self.texts.contains(text),
            Value::Array(items) => items.iter().any(|item| self.may_copy(item)),
            Value::Object(members) => members.iter().any(|(_, member)| self.may_copy(member)),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
}

struct Walk {
    roles: Roles,
    hasher: blake3::Hasher,
    texts: Vec<String>,
}

impl Walk {
    fn role(&self, path: &[&str]) -> Option<Role> {
        METADATA.iter().chain(self.roles).find(|(place, _)| *place == path).map(|(_, role)| *role)
    }

    fn tag(&mut self, tag: u8) {
        self.hasher.update(&[tag]);
    }

    /// With its length, so that two texts in a row are not the same as two others.
    fn text(&mut self, text: &str) {
        self.hasher.update(&text.len().to_le_bytes());
        self.hasher.update(text.as_bytes());
    }

    fn value<'v>(&mut self, value: &'v Value, path: &mut Vec<&'v str>) -> Option<()> {
        match (self.role(path), value) {
            (Some(Role::Text), Value::String(text)) => self.free_text(text),
            (Some(Role::Image), Value::String(image)) => {
                self.tag(if is_latest(image) { b'l' } else { b'v' });
                self.free_text(image);
            }
            (Some(Role::Count), Value::Number(number)) => {
                self.tag(if number.as_u64()? == 0 { b'0' } else { b'#' });
            }
            (Some(role @ (Role::Texts | Role::Bytes)), Value::Object(members)) => self.free_texts(members, role)?,
            (_, Value::Object(members)) => {
                self.tag(b'{');
                for (name, member) in members {
                    self.text(name);
                    path.push(name);
                    self.value(member, path)?;
                    path.pop();
                }
                self.tag(b'}');
            }
            (_, Value::Array(items)) => {
                self.tag(b'[');
                path.push("*");
                for item in items {
                    self.value(item, path)?;
                }
                path.pop();
                self.tag(b']');
            }
            // The server takes null for absence.
            (_, Value::Null) => return None,
            (_, scalar) => {
                self.tag(b'=');
                self.text(&scalar.to_string());
            }
        }
        Some(())
    }

    fn free_text(&mut self, text: &str) {
        // The server leaves out what is empty.
        self.tag(if text.is_empty() { b'e' } else { b't' });
        if !text.is_empty() {
            self.texts.push(text.to_owned());
        }
    }

    fn free_texts(&mut self, members: &Map<String, Value>, role: Role) -> Option<()> {
        self.tag(if members.is_empty() { b'n' } else { b'm' });
        for (name, member) in members {
            let text = member.as_str()?;
            if role == Role::Bytes {
                let bytes = STANDARD.decode(text).ok()?;
                if STANDARD.encode(bytes) != text {
                    return None;
                }
            } else if is_kubernetes_own(name) {
                self.text(name);
                self.text(text);
            } else {
                self.texts.push(text.to_owned());
            }
        }
        Some(())
    }
}

/// Labels and annotations that Kubernetes itself gives a meaning to.
fn is_kubernetes_own(name: &str) -> bool {
    let Some((domain, _)) = name.split_once('/') else { return false };
    domain != "app.kubernetes.io"
        && ["kubernetes.io", "k8s.io"]
            .iter()
            .any(|own| domain.strip_suffix(own).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// As the server reads an image's name: without tag and digest it is `latest`.
fn is_latest(image: &str) -> bool {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => digest.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_an_image() {
        for (image, latest) in [
            ("nginx", true),
            ("nginx:latest", true),
            ("nginx:1.27", false),
            ("r.example:5000/nginx", true),
            ("r.example:5000/nginx:1", false),
            ("nginx@sha256:abc", false),
            ("nginx:latest@sha256:abc", true),
        ] {
            assert_eq!(is_latest(image), latest, "{image}");
        }
    }

    #[test]
    fn labels_with_a_meaning_are_part_of_the_shape() {
        for (name, own) in [
            ("app", false),
            ("app.kubernetes.io/name", false),
            ("example.com/x", false),
            ("mykubernetes.io/x", false),
            ("kubernetes.io/service-account.name", true),
            ("pod-security.kubernetes.io/enforce", true),
            ("cluster-autoscaler.x-k8s.io/x", false),
            ("node.k8s.io/x", true),
        ] {
            assert_eq!(is_kubernetes_own(name), own, "{name}");
        }
    }
}
