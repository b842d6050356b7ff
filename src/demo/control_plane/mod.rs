//! A real Kubernetes control plane, without nodes, on loopback: etcd, kube-apiserver and kube-controller-manager.
//!
//! gitadel's promise is about what a real API server stores, so the demo and the tests run on one; a fake would agree
//! with whatever we believe. It starts in seconds from binaries built once ([`assets`]), with RBAC, real service-account
//! tokens and each controller under its own identity, and nothing of it outlives the process that started it
//! ([`guard`]).

pub mod assets;
mod build;
mod components;
mod credentials;
pub mod guard;
mod ready;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config};

use assets::{AssetError, Assets};
use components::Layout;
use credentials::{CredentialError, Credentials};
use guard::{GuardError, Guarded, Scratch};

use super::ports;

/// How often another port is tried when somebody else took the one that was free a moment ago.
const PORT_ATTEMPTS: u32 = 5;
const LOG_LINES: usize = 15;

#[derive(Debug, thiserror::Error)]
pub enum ControlPlaneError {
    #[error(transparent)]
    Assets(#[from] AssetError),
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error("the path {} is too long for a Unix socket: choose a shorter directory (see TMPDIR)", path.display())]
    PathTooLong { path: PathBuf },
    #[error("cannot find a free port on 127.0.0.1: {0}")]
    Port(#[source] io::Error),
    #[error("cannot make the directory {}: {source}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("{component} ended ({status}); the end of its log is:\n{tail}")]
    Ended { component: String, status: String, tail: String },
    #[error("{what} after {} s; the end of {component}'s log is:\n{tail}", waited.as_secs())]
    Timeout { what: String, waited: Duration, component: String, tail: String },
    #[error("cannot use the kubeconfig: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    #[error("the API server: {0}")]
    Client(#[from] kube::Error),
    #[error("the API server issued no token for {namespace}/{service_account}")]
    NoToken { namespace: String, service_account: String },
}

/// How a control plane is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether kube-controller-manager runs, and is waited for until its first work is done.
    pub controller_manager: bool,
    /// Further flags for kube-apiserver; of two that contradict each other it takes the last.
    pub apiserver_flags: Vec<String>,
    /// The log level (klog's `--v`) of kube-apiserver and kube-controller-manager.
    pub verbosity: u8,
    /// Where data, credentials and logs go and stay. Without it they go into a temporary directory, which is removed.
    pub state_directory: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { controller_manager: true, apiserver_flags: Vec::new(), verbosity: 1, state_directory: None }
    }
}

/// A running control plane. Dropping it ends it: when the drop returns, all processes and files are gone.
///
/// The fields are dropped from top to bottom, so the processes end before the directory goes.
pub struct ControlPlane {
    controller_manager: Option<Guarded>,
    apiserver: Guarded,
    etcd: Guarded,
    client: Client,
    credentials: Credentials,
    port: u16,
    assets: Assets,
    layout: Layout,
    options: Options,
    scratch: Scratch,
}

impl ControlPlane {
    /// Starts a control plane and returns when it is ready for use: the bootstrap roles are there and, with a
    /// controller manager, so are the service accounts and authorities that it puts into every namespace.
    pub async fn start(options: Options) -> Result<Self, ControlPlaneError> {
        let assets = Assets::find_or_build().await?;
        Self::start_from(assets, options).await
    }

    async fn start_from(assets: Assets, options: Options) -> Result<Self, ControlPlaneError> {
        // kube leaves the choice of a crypto provider to the process; one that is chosen already stays.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let scratch = match &options.state_directory {
            Some(path) => Scratch::kept(path)?,
            None => Scratch::temporary()?,
        };
        let layout = Layout::new(scratch.path());
        if !layout.socket_path_fits() {
            return Err(ControlPlaneError::PathTooLong { path: layout.socket() });
        }
        let logs = layout.logs();
        std::fs::create_dir(&logs).map_err(|source| ControlPlaneError::Directory { path: logs, source })?;

        let mut etcd = Guarded::spawn(&components::etcd(&assets, &layout), Some(&scratch))?;
        let mut port = free_port()?;
        let mut credentials = Credentials::create(&layout.credentials(), port)?;
        ready::etcd_listens(&mut etcd, &layout.socket()).await?;

        let mut attempt = 1;
        let (apiserver, client) = loop {
            let launch = components::kube_apiserver(&assets, &layout, credentials.files(), port, &options);
            let mut apiserver = Guarded::spawn(&launch, Some(&scratch))?;
            let client = client(credentials.administrator()?).await?;
            match ready::apiserver_ready(&mut apiserver, &mut etcd, &client).await {
                Ok(()) => break (apiserver, client),
                Err(ControlPlaneError::Ended { tail, .. })
                    if attempt < PORT_ATTEMPTS && tail.contains("address already in use") =>
                {
                    attempt += 1;
                    port = free_port()?;
                    credentials = credentials.at(port)?;
                }
                Err(error) => return Err(error),
            }
        };

        let mut control_plane = Self {
            controller_manager: None,
            apiserver,
            etcd,
            client,
            credentials,
            port,
            assets,
            layout,
            options,
            scratch,
        };
        if control_plane.options.controller_manager {
            control_plane.start_controller_manager().await?;
        }
        Ok(control_plane)
    }

    /// A kubeconfig of a cluster administrator (`system:masters`).
    pub fn kubeconfig(&self) -> &Path {
        &self.credentials.files().administrator
    }

    /// A client of a cluster administrator. It lives on the runtime that started the control plane; on another one, make
    /// a client from [`Self::client_config`].
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A client configuration of a cluster administrator.
    pub async fn client_config(&self) -> Result<Config, ControlPlaneError> {
        config(self.credentials.administrator()?).await
    }

    /// The API server's URL.
    pub fn server(&self) -> &str {
        self.credentials.server()
    }

    /// Where the components log: `<component>.log`.
    pub fn logs(&self) -> PathBuf {
        self.layout.logs()
    }

    /// The directory of this control plane, for what else should go with it.
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// What else runs beside the control plane holds this, so that the directory outlives it.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// A kubeconfig of any user, who has the rights that RBAC gives to the name and the group.
    pub fn kubeconfig_for(&self, user: &str, group: Option<&str>) -> Result<PathBuf, ControlPlaneError> {
        let kubeconfig = self.credentials.authenticated(user, group)?;
        Ok(self.credentials.save(user, &kubeconfig)?)
    }

    /// A client configuration of any user, as [`Self::kubeconfig_for`].
    pub async fn client_config_for(&self, user: &str, group: Option<&str>) -> Result<Config, ControlPlaneError> {
        config(self.credentials.authenticated(user, group)?).await
    }

    /// A kubeconfig of whoever the token says, for instance the bearer of a [`Self::token`].
    pub fn kubeconfig_with_token(&self, name: &str, token: &str) -> Result<PathBuf, ControlPlaneError> {
        Ok(self.credentials.save(name, &self.credentials.bearing(name, token))?)
    }

    /// A client configuration of whoever the token says.
    pub async fn client_config_with_token(&self, name: &str, token: &str) -> Result<Config, ControlPlaneError> {
        config(self.credentials.bearing(name, token)).await
    }

    /// A token of a service account, as a Pod would have it. It is valid for a day, since nobody renews it.
    pub async fn token(&self, namespace: &str, service_account: &str) -> Result<String, ControlPlaneError> {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec { expiration_seconds: Some(24 * 60 * 60), ..TokenRequestSpec::default() }),
            ..TokenRequest::default()
        };
        Api::<ServiceAccount>::namespaced(self.client(), namespace)
            .create_token_request(service_account, &PostParams::default(), &request)
            .await?
            .status
            .and_then(|status| status.token)
            .ok_or_else(|| ControlPlaneError::NoToken {
                namespace: namespace.into(),
                service_account: service_account.into(),
            })
    }

    /// Kills kube-apiserver and starts it again on the same port and data; returns when it is ready.
    pub async fn restart_apiserver(&mut self) -> Result<(), ControlPlaneError> {
        let files = self.credentials.files();
        let launch = components::kube_apiserver(&self.assets, &self.layout, files, self.port, &self.options);
        self.apiserver.kill();
        self.apiserver = Guarded::spawn(&launch, Some(&self.scratch))?;
        ready::apiserver_ready(&mut self.apiserver, &mut self.etcd, &self.client).await
    }

    /// The same with other flags than it was started with.
    pub async fn reconfigure_apiserver(&mut self, flags: Vec<String>) -> Result<(), ControlPlaneError> {
        self.options.apiserver_flags = flags;
        self.restart_apiserver().await
    }

    /// Starts kube-controller-manager, if it does not run, and waits until it has done its first work.
    pub async fn start_controller_manager(&mut self) -> Result<(), ControlPlaneError> {
        if self.controller_manager.is_some() {
            return Ok(());
        }
        let files = self.credentials.files();
        let launch = components::kube_controller_manager(&self.assets, &self.layout, files, &self.options);
        let running = self.controller_manager.insert(Guarded::spawn(&launch, Some(&self.scratch))?);
        ready::controllers_ready(running, &self.client).await
    }

    /// Kills kube-controller-manager.
    pub fn stop_controller_manager(&mut self) {
        self.controller_manager = None;
    }

    /// Ends everything and removes its files. Dropping does the same, but blocks the thread meanwhile.
    pub async fn stop(self) {
        // It can only fail by a panic in a drop, or with the runtime gone; either way the guards do the work.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

async fn client(kubeconfig: Kubeconfig) -> Result<Client, ControlPlaneError> {
    Ok(Client::try_from(config(kubeconfig).await?)?)
}

async fn config(kubeconfig: Kubeconfig) -> Result<Config, ControlPlaneError> {
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    // kube takes HTTPS_PROXY for loopback addresses, too, which kubectl and the components do not.
    config.proxy_url = None;
    Ok(config)
}

/// A port that is free now; whoever binds it must be ready to lose the race for it.
fn free_port() -> Result<u16, ControlPlaneError> {
    ports::free().map(|[port]| port).map_err(ControlPlaneError::Port)
}
