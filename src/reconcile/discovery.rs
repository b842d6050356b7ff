//! Which kinds the API server serves.
//!
//! Aggregated discovery answers for all groups in two requests. An aggregated API server that is down is listed as stale
//! rather than left out, so that its kinds do not seem to have gone.

use std::collections::{BTreeMap, BTreeSet};

use kube::Client;
use serde::Deserialize;
use thiserror::Error;

use super::refusal::Refusal;
use super::rest;
use crate::compare::PathPattern;
use crate::object::GroupKind;
use crate::snapshot::KindInfo;

const ACCEPT: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                      application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

#[derive(Debug, Error)]
pub enum DiscoveryError {
    #[error("cannot ask the API server which kinds it serves: {0}")]
    Refused(#[from] Refusal),
    #[error("the API server's discovery document is not understood ({0}); gitadel needs Kubernetes 1.30 or later")]
    NotUnderstood(#[from] serde_json::Error),
}

/// A kind in one version, and what can be done with it.
#[derive(Clone, Debug)]
pub struct ServedKind {
    /// Without list schema: that is learned only for kinds in use.
    pub info: KindInfo,
    pub verbs: BTreeSet<String>,
    /// The aggregated API server behind it does not answer.
    pub stale: bool,
}

impl ServedKind {
    /// Whether objects of this kind are state that can be listed, watched and written: not a review or a proxy.
    pub fn is_stored(&self) -> bool {
        ["list", "watch", "create", "update", "delete"].iter().all(|verb| self.verbs.contains(*verb))
    }
}

/// All kinds in all served versions.
#[derive(Clone, Debug, Default)]
pub struct Discovery {
    /// Versions of each kind in the server's order of preference.
    kinds: BTreeMap<GroupKind, Vec<ServedKind>>,
}

impl Discovery {
    /// Asks the API server.
    ///
    /// # Errors
    /// The server does not answer, or not in a form that is known.
    pub async fn read(client: &Client) -> Result<Self, DiscoveryError> {
        let (core, groups) =
            futures::try_join!(rest::get_bytes(client, "/api", ACCEPT), rest::get_bytes(client, "/apis", ACCEPT))?;
        let mut discovery = Self::from_json(&[&core, &groups])?;
        discovery.read_scale_paths(client).await?;
        Ok(discovery)
    }

    fn from_json(documents: &[&[u8]]) -> Result<Self, serde_json::Error> {
        let mut kinds: BTreeMap<GroupKind, Vec<ServedKind>> = BTreeMap::new();
        for document in documents {
            let list: GroupList = serde_json::from_slice(document)?;
            for group in list.items {
                for version in group.versions {
                    let stale = version.freshness == "Stale";
                    for resource in version.resources {
                        let Some(served) = resource.served(&group.metadata.name, &version.version, stale) else {
                            continue;
                        };
                        let key = GroupKind::new(&served.info.group, &served.info.kind);
                        kinds.entry(key).or_default().push(served);
                    }
                }
            }
        }
        Ok(Self { kinds })
    }

    /// Every kind with its versions, the preferred one first.
    pub fn kinds(&self) -> impl Iterator<Item = (&GroupKind, &[ServedKind])> {
        self.kinds.iter().map(|(kind, versions)| (kind, versions.as_slice()))
    }

    pub fn get(&self, group: &str, kind: &str) -> Option<&ServedKind> {
        self.kinds.get(&GroupKind::new(group, kind))?.first()
    }

    /// The kind in the version that Git uses.
    pub fn with_version(&self, group: &str, kind: &str, version: &str) -> Option<&ServedKind> {
        self.kinds.get(&GroupKind::new(group, kind))?.iter().find(|served| served.info.version == version)
    }

    /// The paths of `replicas` that `scale` sets, which the definitions of custom kinds declare.
    async fn read_scale_paths(&mut self, client: &Client) -> Result<(), DiscoveryError> {
        let is_custom = |kind: &KindInfo| kind.subresources.contains("scale") && !kind.scales_as_built_in();
        if !self.kinds.values().flatten().any(|served| is_custom(&served.info)) {
            return Ok(());
        }
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let definitions: DefinitionList =
            serde_json::from_slice(&rest::get_bytes(client, path, "application/json").await?)?;
        for definition in definitions.items.unwrap_or_default() {
            self.set_scale_paths(&definition.spec);
        }
        Ok(())
    }

    fn set_scale_paths(&mut self, definition: &DefinitionSpec) {
        let path = |version: &DefinitionVersion| {
            let scale = version.subresources.as_ref()?.scale.as_ref()?;
            let path = scale.spec_replicas_path.trim_start_matches('.').parse::<PathPattern>().ok()?;
            Some((version.name.clone(), path))
        };
        let paths: BTreeMap<String, PathPattern> = definition.versions.iter().filter_map(path).collect();
        let converts = definition.conversion.as_ref().is_some_and(|conversion| conversion.strategy != "None");
        let key = GroupKind::new(&definition.group, &definition.names.kind);
        for served in self.kinds.get_mut(&key).into_iter().flatten() {
            // Where objects are converted, another path of another version leads to nobody knows what.
            let own = paths.get(&served.info.version);
            let known = paths.iter().filter(|(_, path)| !converts || Some(*path) == own);
            served.info.scale_paths = known.map(|(version, path)| (version.clone(), path.clone())).collect();
        }
    }
}

#[derive(Deserialize)]
struct GroupList {
    #[serde(default)]
    items: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: GroupName,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize, Default)]
struct GroupName {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    resources: Vec<Resource>,
    #[serde(default)]
    freshness: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    resource: String,
    response_kind: Option<ResponseKind>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    verbs: BTreeSet<String>,
    #[serde(default)]
    subresources: Vec<Subresource>,
}

#[derive(Deserialize)]
struct ResponseKind {
    #[serde(default)]
    group: String,
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct Subresource {
    subresource: String,
}

impl Resource {
    fn served(self, group: &str, version: &str, stale: bool) -> Option<ServedKind> {
        let kind = self.response_kind?;
        // A resource whose objects are of another group is a view of that group's kind.
        if kind.kind.is_empty() || !(kind.group.is_empty() || kind.group == group) {
            return None;
        }
        let info = KindInfo {
            group: group.to_owned(),
            kind: kind.kind,
            resource: self.resource,
            version: version.to_owned(),
            namespaced: self.scope == "Namespaced",
            subresources: self.subresources.into_iter().map(|s| s.subresource).collect(),
            scale_paths: Default::default(),
            schema: Default::default(),
            registered: false,
        };
        Some(ServedKind { info, verbs: self.verbs, stale })
    }
}

#[derive(Deserialize)]
struct DefinitionList {
    /// `null` where there is none.
    items: Option<Vec<Definition>>,
}

#[derive(Deserialize)]
struct Definition {
    spec: DefinitionSpec,
}

#[derive(Deserialize)]
struct DefinitionSpec {
    group: String,
    names: DefinitionNames,
    versions: Vec<DefinitionVersion>,
    conversion: Option<DefinitionConversion>,
}

#[derive(Deserialize)]
struct DefinitionConversion {
    strategy: String,
}

#[derive(Deserialize)]
struct DefinitionNames {
    kind: String,
}

#[derive(Deserialize)]
struct DefinitionVersion {
    name: String,
    subresources: Option<DefinitionSubresources>,
}

#[derive(Deserialize)]
struct DefinitionSubresources {
    scale: Option<DefinitionScale>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DefinitionScale {
    #[serde(default)]
    spec_replicas_path: String,
}

#[cfg(test)]
pub mod testing {
    use serde_json::json;

    use super::Discovery;

    pub fn discovery() -> Discovery {
        let verbs = ["list", "watch", "create", "update", "delete"];
        let groups = json!({"items": [
            {"metadata": {"name": "autoscaling"}, "versions": [
                {"version": "v2", "freshness": "Current", "resources": [
                    {"resource": "horizontalpodautoscalers", "responseKind": {"group": "", "kind": "HorizontalPodAutoscaler"},
                     "scope": "Namespaced", "verbs": verbs, "subresources": [{"subresource": "status"}]}]},
                {"version": "v1", "freshness": "Current", "resources": [
                    {"resource": "horizontalpodautoscalers", "responseKind": {"group": "", "kind": "HorizontalPodAutoscaler"},
                     "scope": "Namespaced", "verbs": verbs}]}]},
            {"metadata": {"name": "example.com"}, "versions": [
                {"version": "v1", "freshness": "Stale", "resources": [
                    {"resource": "widgets", "responseKind": {"group": "example.com", "kind": "Widget"},
                     "scope": "Cluster", "verbs": verbs, "subresources": [{"subresource": "scale"}]},
                    {"resource": "reviews", "responseKind": {"kind": "Review"}, "scope": "Cluster", "verbs": ["create"]}]}]},
        ]});
        let core = json!({"items": [{"versions": [{"version": "v1", "resources": [
            {"resource": "namespaces", "responseKind": {"kind": "Namespace"}, "scope": "Cluster", "verbs": verbs}]}]}]});
        Discovery::from_json(&[core.to_string().as_bytes(), groups.to_string().as_bytes()]).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::discovery;

    #[test]
    fn a_kind_has_its_preferred_version_and_the_others_on_demand() {
        let discovery = discovery();
        let hpa = discovery.get("autoscaling", "HorizontalPodAutoscaler").unwrap();
        assert_eq!((hpa.info.version.as_str(), hpa.info.status_subresource()), ("v2", true));
        let old = discovery.with_version("autoscaling", "HorizontalPodAutoscaler", "v1").unwrap();
        assert!(!old.info.status_subresource());
        assert!(discovery.with_version("autoscaling", "HorizontalPodAutoscaler", "v3").is_none());
        assert!(!discovery.get("", "Namespace").unwrap().info.namespaced);
        assert_eq!(discovery.kinds().count(), 4);
    }

    #[test]
    fn reviews_are_not_stored_and_stale_groups_are_known() {
        let discovery = discovery();
        assert!(!discovery.get("example.com", "Review").unwrap().is_stored());
        let widget = discovery.get("example.com", "Widget").unwrap();
        assert!(widget.is_stored() && widget.stale);
    }

    #[test]
    fn a_custom_kind_scales_where_each_version_of_its_definition_says() {
        let scaled = |conversion: &str| {
            let version =
                |name: &str, path: &str| json!({"name": name, "subresources": {"scale": {"specReplicasPath": path}}});
            let definition = json!({"group": "example.com", "names": {"kind": "Widget"},
                "conversion": {"strategy": conversion}, "versions": [
                    version("v1", ".spec.size.count"), version("v1beta1", ".spec.size.count"),
                    version("v2", ".spec.count"), {"name": "v3"}]});
            let mut discovery = discovery();
            discovery.set_scale_paths(&serde_json::from_value(definition).unwrap());
            let paths = &discovery.get("example.com", "Widget").unwrap().info.scale_paths;
            paths.iter().map(|(version, path)| format!("{version}: {path}")).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(scaled("None"), "v1: spec.size.count, v1beta1: spec.size.count, v2: spec.count");
        assert_eq!(scaled("Webhook"), "v1: spec.size.count, v1beta1: spec.size.count");
    }
}
