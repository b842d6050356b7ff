//! A manifest, made ready to be asked about. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::CanonicaliseError;
use super::settle;
use crate::reconcile::rest::metadata;
use crate::snapshot::KindInfo;

/// Namespaced objects without a namespace go where `kubectl` puts them.
const DEFAULT_NAMESPACE: &str = "default";

/// Appended to the name of an object that is only ever tried.
const SCRATCH_SUFFIX: &str = "-gitadel-x7";

/// With the suffix, a name stays within the 52 characters that a CronJob may have.
const SCRATCH_STEM: usize = 40;

/// Kinds whose name follows from their content, or whose creation has effects on others even when only tried.
const BOUND_NAMES: &[(&str, &str)] = &[
    ("", "Namespace"),
    ("", "Node"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "APIService"),
    ("networking.k8s.io", "IPAddress"),
];

/// What Git says about one object, without what Git cannot say: status and bookkeeping.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    object: Value,
}

impl Declared {
    /// # Errors
    /// The manifest cannot be one of this kind.
    pub fn new(kind: &KindInfo, manifest: &Value) -> Result<Self, CanonicaliseError> {
        let invalid = |field: &str, message: String| {
            Err(CanonicaliseError::InvalidManifest { field: Some(field.to_owned()), message })
        };
        let mut object = manifest.clone();
        let Some(members) = object.as_object_mut() else {
            return Err(CanonicaliseError::InvalidManifest { field: None, message: "is no object".into() });
        };
        let Some(metadata) = members.get_mut("metadata").and_then(Value::as_object_mut) else {
            return invalid("metadata", "is missing".into());
        };
        if metadata.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
            return invalid("metadata.name", "is missing; a declared object needs a name of its own".into());
        }
        if kind.namespaced {
            if metadata.get("namespace").is_none_or(|namespace| namespace.is_null() || namespace == "") {
                metadata.insert("namespace".into(), DEFAULT_NAMESPACE.into());
            }
        } else if metadata.get("namespace").is_some_and(|namespace| !namespace.is_null() && namespace != "") {
            return invalid("metadata.namespace", format!("a {} has no namespace; remove the field", kind.kind));
        } else {
            metadata.remove("namespace");
        }
        if kind.group.is_empty() && kind.kind == "Secret" {
            fold_secret_data(members);
        }
        settle::strip(&mut object, manifest, kind.status_subresource());
        Ok(Self { object })
    }

    pub fn object(&self) -> &Value {
        &self.object
    }

    pub fn namespace(&self) -> &str {
        metadata(&self.object, "namespace")
    }

    pub fn name(&self) -> &str {
        metadata(&self.object, "name")
    }

    /// The same object under a name that is not taken.
    pub(super) fn under_scratch_name(&self, kind: &KindInfo) -> Option<Value> {
        if BOUND_NAMES.contains(&(kind.group.as_str(), kind.kind.as_str())) {
            return None;
        }
        let stem: String = self.name().chars().take(SCRATCH_STEM).collect();
        let name = format!("{}{SCRATCH_SUFFIX}", stem.trim_end_matches(['.', '-']));
        let mut object = self.object.clone();
        object.get_mut("metadata")?.as_object_mut()?.insert("name".into(), name.into());
        Some(object)
    }
}

/// The server folds `stringData` into `data`, where it wins, and drops it; it also takes line breaks out of base64. Done
/// beforehand, what is declared can be found again in the answer.
pub fn fold_secret_data(secret: &mut Map<String, Value>) {
    for value in secret.get_mut("data").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        if let Some(text) = value.as_str().filter(|text| text.contains(['\n', '\r'])) {
            *value = text.replace(['\n', '\r'], "").into();
        }
    }
    let Some(Value::Object(plain)) = secret.get("stringData") else { return };
    // Anything but strings is the server's to refuse.
    let encoded: Option<Vec<(String, Value)>> =
        plain.iter().map(|(key, value)| Some((key.clone(), STANDARD.encode(value.as_str()?).into()))).collect();
    let Some(encoded) = encoded else { return };
    let data = secret.entry("data").or_insert(Value::Null);
    if data.is_null() {
        *data = Value::Object(Map::new());
    }
    if let Some(data) = data.as_object_mut() {
        data.extend(encoded);
        secret.remove("stringData");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(kind: &str, namespaced: bool) -> KindInfo {
        KindInfo {
            group: String::new(),
            kind: kind.into(),
            resource: String::new(),
            version: "v1".into(),
            namespaced,
            subresources: ["status".to_owned()].into(),
            scale_paths: Default::default(),
            schema: Default::default(),
            registered: false,
        }
    }

    #[test]
    fn namespaces_are_filled_in_or_refused() {
        let without = json!({"metadata": {"name": "a"}});
        assert_eq!(Declared::new(&kind("ConfigMap", true), &without).unwrap().namespace(), "default");
        assert_eq!(Declared::new(&kind("Namespace", false), &without).unwrap().namespace(), "");
        let with = json!({"metadata": {"name": "a", "namespace": "shop"}});
        assert_eq!(Declared::new(&kind("ConfigMap", true), &with).unwrap().namespace(), "shop");
        let refused = Declared::new(&kind("ClusterRole", false), &with).unwrap_err();
        assert_eq!(refused.to_string(), "metadata.namespace: a ClusterRole has no namespace; remove the field");
    }

    #[test]
    fn an_object_needs_a_name() {
        for manifest in
            [json!({}), json!([]), json!({"metadata": {"generateName": "a-"}}), json!({"metadata": {"name": ""}})]
        {
            let refused = Declared::new(&kind("ConfigMap", true), &manifest);
            assert!(matches!(refused, Err(CanonicaliseError::InvalidManifest { .. })), "{manifest}");
        }
    }

    #[test]
    fn status_and_bookkeeping_are_not_gits_to_say() {
        let manifest = json!({
            "metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1", "creationTimestamp": null,
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "status": {"phase": "Active"}, "data": {},
        });
        let declared = Declared::new(&kind("ConfigMap", true), &manifest).unwrap();
        let expected = json!({"metadata": {"name": "a", "namespace": "n", "annotations": {}}, "data": {}});
        assert_eq!(declared.object(), &expected);
    }

    #[test]
    fn string_data_wins_over_data() {
        let manifest =
            json!({"metadata": {"name": "a"}, "data": {"a": "b2xk", "b": "Y\ng==\n"}, "stringData": {"a": "new"}});
        let declared = Declared::new(&kind("Secret", true), &manifest).unwrap();
        assert_eq!(declared.object()["data"], json!({"a": "bmV3", "b": "Yg=="}));
        assert!(declared.object().get("stringData").is_none());
        let broken = json!({"metadata": {"name": "a"}, "stringData": {"a": 1}});
        assert!(Declared::new(&kind("Secret", true), &broken).unwrap().object().get("stringData").is_some());
    }

    #[test]
    fn scratch_names_are_short_and_valid() {
        let named = |name: &str| Declared::new(&kind("ConfigMap", true), &json!({"metadata": {"name": name}})).unwrap();
        let scratch =
            |name| named(name).under_scratch_name(&kind("ConfigMap", true)).unwrap()["metadata"]["name"].clone();
        assert_eq!(scratch("web"), "web-gitadel-x7");
        let long = format!("{}.{}", "a".repeat(39), "b".repeat(60));
        assert_eq!(scratch(&long), format!("{}-gitadel-x7", "a".repeat(39)));
        assert!(named("shop").under_scratch_name(&kind("Namespace", false)).is_none());
    }
}
