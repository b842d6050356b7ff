//! When a component is ready for use. Each wait ends early, with the end of its log, when the component dies.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{Api, Client};

use super::guard::{self, Guarded};
use super::{ControlPlaneError, LOG_LINES, build};

const POLL: Duration = Duration::from_millis(20);
/// Generous: a laptop on battery that runs eight test binaries at once.
const PATIENCE: Duration = Duration::from_secs(120);
/// From here on it is said what is waited for.
const SILENCE: Duration = Duration::from_secs(5);

/// The namespaces that a fresh API server makes.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// The roles whose rules kube-controller-manager gathers from others.
const AGGREGATED: [&str; 3] = ["admin", "edit", "view"];

pub(super) async fn etcd_listens(etcd: &mut Guarded, socket: &Path) -> Result<(), ControlPlaneError> {
    let mut waiting = Waiting::begin("etcd does not listen");
    while tokio::net::UnixStream::connect(socket).await.is_err() {
        waiting.step(etcd).await?;
    }
    Ok(())
}

pub(super) async fn apiserver_ready(
    apiserver: &mut Guarded,
    etcd: &mut Guarded,
    client: &Client,
) -> Result<(), ControlPlaneError> {
    let mut waiting = Waiting::begin("the API server is not ready");
    loop {
        let request = hyper::Request::get("/readyz")
            .body(Vec::new())
            .map_err(|error| ControlPlaneError::Client(kube::Error::HttpError(error)))?;
        // Refused connections and "not ready" alike: that is what is waited for.
        if client.request_text(request).await.is_ok_and(|answer| answer == "ok") {
            return Ok(());
        }
        waiting.check(etcd)?;
        waiting.step(apiserver).await?;
    }
}

/// Not before this is a cluster at rest: a baseline recorded earlier would find half of it.
pub(super) async fn controllers_ready(manager: &mut Guarded, client: &Client) -> Result<(), ControlPlaneError> {
    let mut waiting = Waiting::begin("the controllers have not done their first work");
    // Errors are retried: the component's end or the deadline ends this.
    while !first_work_done(client).await.unwrap_or(false) {
        waiting.step(manager).await?;
    }
    Ok(())
}

async fn first_work_done(client: &Client) -> Result<bool, kube::Error> {
    for namespace in NAMESPACES {
        let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
        let authorities = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        if accounts.get_metadata_opt("default").await?.is_none()
            || authorities.get_metadata_opt("kube-root-ca.crt").await?.is_none()
        {
            return Ok(false);
        }
    }
    let roles = Api::<ClusterRole>::all(client.clone());
    for name in AGGREGATED {
        if roles.get(name).await?.rules.unwrap_or_default().is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A wait for a component, with its deadline.
struct Waiting {
    what: &'static str,
    start: Instant,
    said: bool,
}

impl Waiting {
    fn begin(what: &'static str) -> Self {
        Self { what, start: Instant::now(), said: false }
    }

    async fn step(&mut self, component: &mut Guarded) -> Result<(), ControlPlaneError> {
        self.check(component)?;
        if self.start.elapsed() > SILENCE && !self.said {
            self.said = true;
            build::say(&format!("{} yet: waiting for {}", self.what, component.name()));
        }
        tokio::time::sleep(POLL).await;
        Ok(())
    }

    fn check(&self, component: &mut Guarded) -> Result<(), ControlPlaneError> {
        let tail = |component: &Guarded| guard::tail(component.log(), LOG_LINES);
        let ended = component.exited().unwrap_or_else(|error: io::Error| {
            build::say(&format!("cannot watch {}: {error}", component.name()));
            None
        });
        if let Some(status) = ended {
            return Err(ControlPlaneError::Ended {
                component: component.name().into(),
                status: status.to_string(),
                tail: tail(component),
            });
        }
        let waited = self.start.elapsed();
        if waited > PATIENCE {
            return Err(ControlPlaneError::Timeout {
                what: self.what.into(),
                waited,
                component: component.name().into(),
                tail: tail(component),
            });
        }
        Ok(())
    }
}
