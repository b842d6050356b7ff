//! Values of Secrets as keyed hashes, so that they can be compared and neither read nor guessed.

use std::fmt;

use serde_json::Value;

use super::LAST_APPLIED;
use super::wanted::describes;
use crate::document::{Document, Node};

/// The key of the hashes. It lives in the Pod's memory: without it, a short password could be found by trying.
#[derive(Clone, PartialEq, Eq)]
pub struct MaskKey([u8; 32]);

#[derive(Debug, thiserror::Error)]
#[error("a mask key is 64 hexadecimal digits; remove the damaged key, so that a new one is made")]
pub struct MaskKeyError;

impl MaskKey {
    /// A new key.
    ///
    /// # Errors
    /// The operating system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self(key))
    }

    /// # Errors
    /// Text that is not what [`MaskKey::to_hex`] gives.
    pub fn from_hex(text: &str) -> Result<Self, MaskKeyError> {
        // 32 bytes in hexadecimal, as a blake3 hash is.
        blake3::Hash::from_hex(text).map(|bytes| Self(*bytes.as_bytes())).map_err(|_| MaskKeyError)
    }

    pub fn to_hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

impl fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskKey(…)")
    }
}

/// The Secret without its values: each value of `data` and `stringData` becomes `masked:` and a hash. The annotation in
/// which `kubectl apply` keeps them in clear is dropped where it describes this Secret (it is nobody's state then), and
/// becomes a hash where it says anything else: what it says cannot be judged any more once it is masked.
pub fn mask_secret(secret: Node<'_>, key: &MaskKey) -> Document {
    let mut value = secret.to_value();
    let object = Identity::of(secret);
    let applied = secret.at(&["metadata", "annotations", LAST_APPLIED]);
    if let Some(applied) = applied
        && let Some(annotations) = value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
    {
        if describes(applied, secret) {
            annotations.remove(LAST_APPLIED);
        } else {
            annotations
                .insert(LAST_APPLIED.to_owned(), object.mask(key, &["metadata", "annotations", LAST_APPLIED], applied));
        }
        if annotations.is_empty()
            && let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.remove("annotations");
        }
    }
    for field in ["data", "stringData"] {
        let (Some(node), Some(masked)) = (secret.get(field), value.get_mut(field)) else { continue };
        match (node.map(), masked) {
            (Some(members), Value::Object(masked)) => {
                for (name, member) in members.iter() {
                    masked.insert(name.to_owned(), object.mask(key, &[field, name], member));
                }
            }
            // No Secret that an API server would store, but no reason either to show what is in it.
            (_, masked) if !node.is_null() => *masked = object.mask(key, &[field], node),
            _ => {}
        }
    }
    Document::from_value(&value)
}

/// What a hash is bound to: equal values in different places shall not look equal.
struct Identity<'a> {
    namespace: &'a str,
    name: &'a str,
}

impl<'a> Identity<'a> {
    fn of(object: Node<'a>) -> Self {
        let text = |field| object.at(&["metadata", field]).and_then(Node::as_str).unwrap_or_default();
        Self { namespace: text("namespace"), name: text("name") }
    }

    fn mask(&self, key: &MaskKey, place: &[&str], value: Node<'_>) -> Value {
        let mut hasher = blake3::Hasher::new_keyed(&key.0);
        for part in [self.namespace, self.name].iter().chain(place) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(value.as_bytes());
        Value::String(format!("masked:{}", hasher.finalize().to_hex()))
    }
}

/// Whether a value is, or holds, a hash that stands for a value of a Secret.
pub fn is_masked(value: &Value) -> bool {
    match value {
        Value::String(text) => text
            .strip_prefix("masked:")
            .is_some_and(|hash| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())),
        Value::Array(items) => items.iter().any(is_masked),
        Value::Object(members) => members.values().any(is_masked),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn masked(value: &Value, key: &MaskKey) -> Value {
        mask_secret(Document::from_value(value).root(), key).root().to_value()
    }

    #[test]
    fn no_value_remains_and_all_else_does() {
        let key = MaskKey::random().unwrap();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": "s", "namespace": "n", "annotations": {LAST_APPLIED: "c2VjcmV0", "a": "b"}},
            "data": {"password": "c2VjcmV0", "empty": ""},
            "stringData": {"password": "c2VjcmV0"},
        });
        let result = masked(&secret, &key);
        assert!(!result.to_string().contains("c2VjcmV0"), "{result}");
        assert_eq!(result["metadata"]["annotations"]["a"], "b");
        assert_eq!(result["type"], "Opaque");
        assert!(result["data"]["empty"].as_str().unwrap().starts_with("masked:"));
    }

    #[test]
    fn what_was_applied_is_dropped_where_it_describes_the_secret() {
        let key = MaskKey::random().unwrap();
        let secret = |annotations: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n", "annotations": annotations}});
        let note = |name: &str| {
            let applied = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"password": "c2VjcmV0"}});
            masked(&secret(json!({LAST_APPLIED: applied.to_string()})), &key)["metadata"].clone()
        };
        assert_eq!(note("s"), json!({"name": "s", "namespace": "n"}));
        assert!(is_masked(&note("another")["annotations"][LAST_APPLIED]), "{}", note("another"));
        assert_ne!(note("another"), note("a third"));
        let beside = masked(&secret(json!({LAST_APPLIED: secret(json!({})).to_string(), "a": "b"})), &key);
        assert_eq!(beside["metadata"]["annotations"], json!({"a": "b"}));
    }

    #[test]
    fn malformed_data_is_masked_whole() {
        let key = MaskKey::random().unwrap();
        for data in [json!("c2VjcmV0"), json!(["c2VjcmV0"])] {
            let result = masked(&json!({"kind": "Secret", "data": data}), &key);
            assert!(result["data"].as_str().unwrap().starts_with("masked:"));
        }
        assert_eq!(masked(&json!({"kind": "Secret", "data": null}), &key)["data"], Value::Null);
        assert_eq!(masked(&json!("c2VjcmV0"), &key), json!("c2VjcmV0"));
    }

    #[test]
    fn hashes_depend_on_key_place_and_value() {
        let key = MaskKey::random().unwrap();
        let secret = |namespace: &str, name: &str, field: &str, value: &str| json!({"metadata": {"namespace": namespace, "name": name}, "data": {field: value}});
        let hash = |key: &MaskKey, value: Value| {
            masked(&value, key)["data"].as_object().unwrap().values().next().unwrap().clone()
        };
        let first = hash(&key, secret("n", "s", "a", "dg=="));
        assert_eq!(first, hash(&key, secret("n", "s", "a", "dg==")));
        assert_ne!(first, hash(&MaskKey::random().unwrap(), secret("n", "s", "a", "dg==")));
        for other in [
            secret("m", "s", "a", "dg=="),
            secret("n", "t", "a", "dg=="),
            secret("n", "s", "b", "dg=="),
            secret("n", "s", "a", "dw=="),
            secret("ns", "", "a", "dg=="),
        ] {
            assert_ne!(first, hash(&key, other));
        }
    }

    #[test]
    fn keys_survive_as_text_and_are_not_shown() {
        let key = MaskKey::random().unwrap();
        assert_eq!(MaskKey::from_hex(&key.to_hex()).unwrap(), key);
        assert!(!format!("{key:?}").contains(&key.to_hex()[..8]));
        for text in ["", "00", &"g".repeat(64), &"0".repeat(66)] {
            assert!(MaskKey::from_hex(text).is_err(), "{text}");
        }
    }
}
