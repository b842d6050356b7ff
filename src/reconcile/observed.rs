//! An object as the API server sent it, byte for byte in meaning.
//!
//! kube's `DynamicObject` reads `metadata` into a struct and forgets what that struct does not know. Drift may sit in
//! exactly such a field, so the whole object is kept as JSON and only its identity is read out.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::ApiResource;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::object::ObjectId;
use crate::snapshot::KindInfo;

/// A live object. `meta` holds only name, namespace, uid and resourceVersion.
#[derive(Clone, Debug)]
pub struct Observed {
    meta: ObjectMeta,
    value: Value,
}

impl Observed {
    pub fn into_value(self, kind: &KindInfo) -> Value {
        let mut value = self.value;
        // Items of a list carry neither.
        if let Some(object) = value.as_object_mut() {
            object.insert("apiVersion".into(), api_version(&kind.group, &kind.version).into());
            object.insert("kind".into(), kind.kind.clone().into());
        }
        value
    }

    /// Its resourceVersion. API servers before 1.35 did not promise that it is a number.
    pub fn version(&self) -> Option<u64> {
        self.meta.resource_version.as_deref()?.parse().ok()
    }

    pub fn is_terminating(&self) -> bool {
        !self.value["metadata"]["deletionTimestamp"].is_null()
    }

    /// The object as it came.
    pub fn into_json(self) -> Value {
        self.value
    }

    pub fn id(&self, kind: &KindInfo) -> ObjectId {
        ObjectId::new(
            &kind.group,
            &kind.kind,
            self.meta.namespace.as_deref().unwrap_or_default(),
            self.meta.name.as_deref().unwrap_or_default(),
        )
    }
}

/// `apps/v1`, or `v1` in the core group.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// kube's description of a kind, for generic requests.
pub fn api_resource(kind: &KindInfo) -> ApiResource {
    ApiResource {
        group: kind.group.clone(),
        version: kind.version.clone(),
        api_version: api_version(&kind.group, &kind.version),
        kind: kind.kind.clone(),
        plural: kind.resource.clone(),
    }
}

impl<'de> Deserialize<'de> for Observed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = |field: &str| value["metadata"][field].as_str().map(str::to_owned);
        let meta = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self { meta, value })
    }
}

impl Resource for Observed {
    type DynamicType = ApiResource;
    type Scope = kube::core::DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        (&*resource.kind).into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        (&*resource.group).into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        (&*resource.version).into()
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        (&*resource.api_version).into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        (&*resource.plural).into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_of_the_object_is_lost() {
        let sent = json!({
            "metadata": {"name": "web", "namespace": "shop", "labels": {}, "somethingNew": [1]},
            "spec": {"replicas": 2}
        });
        let observed: Observed = serde_json::from_value(sent.clone()).unwrap();
        let kind = KindInfo { group: "apps".into(), version: "v1".into(), kind: "Deployment".into(), ..kind() };
        assert_eq!(observed.id(&kind), ObjectId::new("apps", "Deployment", "shop", "web"));
        let value = observed.into_value(&kind);
        assert_eq!(value["metadata"], sent["metadata"]);
        assert_eq!(value["apiVersion"], "apps/v1");
        assert_eq!(value["kind"], "Deployment");
    }

    fn kind() -> KindInfo {
        KindInfo {
            group: String::new(),
            kind: String::new(),
            resource: String::new(),
            version: String::new(),
            namespaced: true,
            subresources: Default::default(),
            scale_paths: Default::default(),
            schema: Default::default(),
            registered: false,
        }
    }
}
