//! Changes that are forced past admission, and how each is seen to be undone.
//!
//! They are written by loops over the API: the window in which they get through is shorter than kubectl takes to start.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::commits::MORE_REPLICAS;

const EXCESSIVE_REPLICAS: i32 = 9;
const INTRUDER: &str = "intruder";
const PAUSE: Duration = Duration::from_millis(2);
/// How long one change is tried, and then how long its end is waited for.
const LIMIT: Duration = Duration::from_secs(90);

/// One change that Git does not want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    Scaled,
    Sidecar,
    Deleted,
    Foreign,
    Binding,
}

impl Drift {
    pub const ALL: [Self; 5] = [Self::Scaled, Self::Sidecar, Self::Deleted, Self::Foreign, Self::Binding];

    pub fn what(self) -> &'static str {
        match self {
            Self::Scaled => "Deployment web scaled to 9",
            Self::Sidecar => "a sidecar in Deployment worker",
            Self::Deleted => "ConfigMap settings deleted",
            Self::Foreign => "a foreign ConfigMap created",
            Self::Binding => "a ClusterRoleBinding to cluster-admin created",
        }
    }

    async fn force(self, client: &Client) -> Result<(), kube::Error> {
        let deployments = Api::<Deployment>::namespaced(client.clone(), "shop");
        let params = PatchParams::default();
        match self {
            Self::Scaled => {
                let patch = json!({"spec": {"replicas": EXCESSIVE_REPLICAS}});
                deployments.patch("web", &params, &Patch::Merge(patch)).await?;
            }
            Self::Sidecar => {
                let container = json!({"name": "miner", "image": "registry.example/miner:1"});
                let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
                deployments.patch("worker", &params, &Patch::Strategic(patch)).await?;
            }
            Self::Deleted => {
                let maps = Api::<ConfigMap>::namespaced(client.clone(), "shop");
                maps.delete("settings", &DeleteParams::default()).await?;
            }
            Self::Foreign => {
                let maps = Api::<ConfigMap>::namespaced(client.clone(), "default");
                let mut map = ConfigMap::default();
                map.metadata.name = Some(INTRUDER.into());
                maps.create(&PostParams::default(), &map).await?;
            }
            Self::Binding => {
                let binding = serde_json::from_value(json!({
                    "metadata": {"name": INTRUDER},
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
                    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory"}],
                }))
                .map_err(kube::Error::SerdeError)?;
                Api::<ClusterRoleBinding>::all(client.clone()).create(&PostParams::default(), &binding).await?;
            }
        }
        Ok(())
    }

    async fn is_undone(self, client: &Client) -> Result<bool, kube::Error> {
        let deployments = Api::<Deployment>::namespaced(client.clone(), "shop");
        Ok(match self {
            Self::Scaled => {
                let web = deployments.get_opt("web").await?.map(|web| web.spec);
                web.is_some_and(|spec| spec.replicas == Some(MORE_REPLICAS))
            }
            Self::Sidecar => {
                let worker = deployments.get_opt("worker").await?.and_then(|worker| worker.spec.template.spec);
                worker.is_some_and(|pod| pod.containers.len() == 1)
            }
            Self::Deleted => {
                let maps = Api::<ConfigMap>::namespaced(client.clone(), "shop");
                maps.get_opt("settings").await?.is_some_and(|map| map.metadata.deletion_timestamp.is_none())
            }
            Self::Foreign => {
                let maps = Api::<ConfigMap>::namespaced(client.clone(), "default");
                maps.get_opt(INTRUDER).await?.is_none()
            }
            Self::Binding => Api::<ClusterRoleBinding>::all(client.clone()).get_opt(INTRUDER).await?.is_none(),
        })
    }
}

/// A change that got in, and how long it lasted.
#[derive(Debug)]
pub struct Forced {
    pub drift: Drift,
    /// Rejected attempts before.
    pub rejected: u32,
    /// When the API server had stored it.
    pub at: Instant,
    /// From then until it was seen to be undone: asked every few milliseconds, so never less than it really was.
    pub lasted: Duration,
}

#[derive(Debug, thiserror::Error)]
#[error("{}: not {stage} within {} s; the last answer was: {last}", .drift.what(), LIMIT.as_secs())]
pub struct DriftError {
    drift: Drift,
    stage: &'static str,
    last: String,
}

/// Tries until the change gets in, tells so by calling `landed`, and waits until it is undone.
pub async fn force(client: Client, drift: Drift, landed: impl FnOnce()) -> Result<Forced, DriftError> {
    let failed = |stage, last: String| DriftError { drift, stage, last };
    let mut rejected = 0;
    let start = Instant::now();
    while let Err(error) = drift.force(&client).await {
        rejected += 1;
        if start.elapsed() > LIMIT {
            return Err(failed("forced in", error.to_string()));
        }
        tokio::time::sleep(PAUSE).await;
    }
    let at = Instant::now();
    landed();
    loop {
        let seen = drift.is_undone(&client).await;
        let lasted = at.elapsed();
        match seen {
            Ok(true) => return Ok(Forced { drift, rejected, at, lasted }),
            Ok(false) if lasted > LIMIT => return Err(failed("undone", "it is still there".into())),
            Err(error) if lasted > LIMIT => return Err(failed("undone", error.to_string())),
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}
