//! `gitadel reconcile`: wires the reconciler's tasks together and stops them in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use clap::Args;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::{Api, Client, Config};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::api::SYSTEM_NAMESPACE;
use crate::http::PlainServer;
use crate::reconcile::announce;
use crate::reconcile::converge::Workshop;
use crate::reconcile::engine::{Directories, Engine, Parts};
use crate::reconcile::events::EventLog;
use crate::reconcile::governor::Governor;
use crate::reconcile::lease::{Candidate, LEASE_NAME, Timing};
use crate::reconcile::peers::Peers;
use crate::reconcile::probes::Probes;
use crate::reconcile::publish::{PublishError, Publisher};
use crate::reconcile::queue::queue;
use crate::reconcile::receiver::Receiver;
use crate::reconcile::replicas::{Announcement, Exchange};
use crate::reconcile::serving::Serving;
use crate::reconcile::terminating;
use crate::reconcile::tracker::Tracker;
use crate::reconcile::watch::{Observer, Watches};
use crate::reconcile::webhook_configuration::ClientTarget;
use crate::telemetry::{ReconcileMetrics, registry};
use crate::tls::directory::{DirectoryError, ServingDirectory};

/// Objects that are written at once.
const WORKERS: usize = 16;
/// How long running writes may take when the process is asked to stop.
const DRAIN: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
pub struct ReconcileArgs {
    /// Directory of the snapshot, shared with the webhook.
    #[arg(long, default_value = "/run/gitadel/snapshot")]
    pub snapshot_dir: PathBuf,
    /// Directory of the serving key pair, shared with the webhook. Made here unless a pair is given.
    #[arg(long, default_value = "/run/gitadel/tls")]
    pub tls_dir: PathBuf,
    /// Directory for clones of the sources.
    #[arg(long, default_value = "/var/lib/gitadel/repositories")]
    pub repository_dir: PathBuf,
    /// Directory with a subdirectory of credentials for each source that names one.
    #[arg(long)]
    pub credentials_dir: Option<PathBuf>,
    /// Service through which the API server reaches the webhook.
    #[arg(long, default_value = "gitadel-system/gitadel", conflicts_with = "webhook_url")]
    pub webhook_service: String,
    /// URL by which the API server reaches the webhook, instead of a Service.
    #[arg(long)]
    pub webhook_url: Option<String>,
    /// Names and addresses in the serving certificate that is made here, beside the Service's.
    #[arg(long)]
    pub tls_name: Vec<String>,
    /// Probe listener of the webhook beside this process.
    #[arg(long, default_value = "http://127.0.0.1:9440")]
    pub serving_url: String,
    /// Address of health, readiness, metrics and the receiver of push notifications.
    #[arg(long, default_value = "0.0.0.0:9441")]
    pub probe_listen: SocketAddr,
    /// File with the secret that signs push notifications. Without it, unsigned ones are taken.
    #[arg(long)]
    pub notification_secret_file: Option<PathBuf>,
    /// Name of this replica, unique among all.
    #[arg(long, env = "POD_NAME", default_value = "gitadel")]
    pub identity: String,
    /// Lease that elects the replica that writes.
    #[arg(long, default_value = LEASE_NAME)]
    pub lease_name: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error("no access to a cluster: {0}. In a Pod it comes from the service account, elsewhere from KUBECONFIG")]
    Config(#[from] kube::config::InferConfigError),
    #[error("the API server does not answer: {0}")]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Tls(#[from] DirectoryError),
    #[error("--webhook-service {0} is no NAMESPACE/NAME")]
    Service(String),
    #[error("{path} cannot be used: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("a metric is registered twice: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Runs until the process is asked to stop.
///
/// # Errors
/// What keeps it from starting.
pub async fn run(args: ReconcileArgs) -> Result<(), ReconcileError> {
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));
    let registry = registry()?;
    let metrics = Arc::new(ReconcileMetrics::new(&registry)?);
    for directory in [&args.snapshot_dir, &args.repository_dir, &args.tls_dir] {
        std::fs::create_dir_all(directory)
            .map_err(|source| ReconcileError::File { path: directory.clone(), source })?;
    }
    let mut config = Config::infer().await?;
    // The API server is reached directly: a proxy for the world outside would get the cluster's credentials.
    config.proxy_url = None;
    let client = Client::try_from(config)?;
    let Some(known) = stop.run_until_cancelled(who_am_i(&client)).await else { return Ok(()) };
    let (cluster, user) = known?;
    tracing::info!(cluster, user, "reconciling");

    let target = target(&args)?;
    let names = certificate_names(&args, &target);
    let directory = ServingDirectory::open(&args.tls_dir, &names, SystemTime::now())?;
    let (authorities_in, authorities) = watch::channel(directory.authorities().to_owned());
    tokio::spawn(directory.keep(authorities_in, stop.clone()));
    let publisher = Arc::new(Publisher::open(&args.snapshot_dir, Serving::new(&args.serving_url), &cluster, &user)?);
    let first = Announcement { authorities: authorities.borrow().clone(), serving: None };
    let (announcement_in, announcement) = watch::channel(first);
    tokio::spawn(announce::own(Arc::clone(&publisher), authorities, announcement_in, stop.clone()));
    let (exchange, replicas) = Exchange::new(client.clone(), SYSTEM_NAMESPACE, &args.identity, announcement);
    tokio::spawn(exchange.run(stop.clone()));
    let (bundle_in, ca_bundle) = watch::channel(String::new());
    tokio::spawn(announce::bundle(replicas.clone(), bundle_in));
    let secret = args
        .notification_secret_file
        .as_ref()
        .map(|path| std::fs::read(path).map_err(|source| ReconcileError::File { path: path.clone(), source }))
        .transpose()?;
    let receiver = Receiver::new(secret.as_deref().map(<[u8]>::trim_ascii));
    tokio::spawn(announce::follow(replicas.clone(), args.identity.clone(), Arc::clone(&publisher), receiver.clone()));
    let resign = CancellationToken::new();
    let (leader, lease) =
        Candidate::new(client.clone(), SYSTEM_NAMESPACE, &args.lease_name, &args.identity, Timing::default())
            .spawn(resign.clone());
    let events = EventLog::start(client.clone(), Some(args.identity.clone()));
    let tracker = Arc::new(Tracker::default());
    let (work, dispatcher) = queue(WORKERS);
    let workshop = Arc::new(Workshop {
        client: client.clone(),
        publisher: Arc::clone(&publisher),
        tracker: Arc::clone(&tracker),
        leader: leader.clone(),
        peers: Peers::new(&args.identity, replicas),
        deletions: Default::default(),
        events: events.clone(),
        metrics: Arc::clone(&metrics),
        reverted: Default::default(),
        recording: Default::default(),
        unsettled: Default::default(),
        last_reverted: Default::default(),
    });
    let workers = {
        let workshop = Arc::clone(&workshop);
        tokio::spawn(dispatcher.run(stop.clone(), move |work| Arc::clone(&workshop).converge(work)))
    };
    let governor =
        Governor::start(client.clone(), target, ca_bundle, leader.clone(), Arc::clone(&metrics), events, stop.clone());
    let (notices_in, notices) = mpsc::unbounded_channel();
    let (terminating_in, terminating_notices) = mpsc::unbounded_channel();
    tokio::spawn(terminating::follow(Arc::clone(&publisher), terminating_notices));
    let observer = Arc::new(Observer {
        publisher: Arc::clone(&publisher),
        tracker,
        queue: work.clone(),
        notices: notices_in,
        terminating: terminating_in,
        metrics: Arc::clone(&metrics),
        held: AtomicBool::new(false),
    });
    let watches = Watches::new(client, observer, stop.clone());
    let (ready_in, ready) = watch::channel(false);
    let listener = tokio::net::TcpListener::bind(args.probe_listen)
        .await
        .map_err(|source| ReconcileError::Listen { address: args.probe_listen, source })?;
    let probes = Arc::new(Probes::new(registry, ready, receiver.clone()));
    let answer = move |request| {
        let probes = Arc::clone(&probes);
        async move { probes.answer(request).await }
    };
    tokio::spawn(PlainServer::new(listener).serve(answer, stop.clone()));
    let engine = Engine::new(Parts {
        workshop,
        queue: work,
        watches,
        governor,
        receiver,
        directories: Directories { repositories: args.repository_dir, credentials: args.credentials_dir },
        leader,
        ready: ready_in,
        stop: stop.clone(),
    });
    engine.run(notices).await;
    stop.cancel();
    if tokio::time::timeout(DRAIN, workers).await.is_err() {
        tracing::warn!("some writes were still running when the time to stop was over");
    }
    // In this order: whoever leads next meets no write of this process.
    resign.cancel();
    if let Err(error) = lease.await {
        tracing::warn!(%error, "the Lease is not given back: another replica takes it when it has expired");
    }
    tracing::info!("stopped");
    Ok(())
}

async fn stop_on_signal(stop: CancellationToken) {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(error) => {
                tracing::warn!(%error, "SIGTERM cannot be caught");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
        () = stop.cancelled() => {}
    }
    stop.cancel();
}

/// The cluster's identity and this process's name in it. Waits for an API server that is not there yet.
async fn who_am_i(client: &Client) -> Result<(String, String), kube::Error> {
    let mut pause = Duration::from_millis(100);
    loop {
        match ask_who_am_i(client).await {
            Ok(known) => return Ok(known),
            Err(error @ kube::Error::Api(_)) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "the API server does not answer yet");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
        }
    }
}

async fn ask_who_am_i(client: &Client) -> Result<(String, String), kube::Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let cluster = namespaces.get("kube-system").await?.metadata.uid.unwrap_or_default();
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username).unwrap_or_default();
    Ok((cluster, user))
}

fn target(args: &ReconcileArgs) -> Result<ClientTarget, ReconcileError> {
    if let Some(url) = &args.webhook_url {
        return Ok(ClientTarget::Url(url.clone()));
    }
    match args.webhook_service.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok(ClientTarget::Service { namespace: namespace.into(), name: name.into(), port: 443 })
        }
        _ => Err(ReconcileError::Service(args.webhook_service.clone())),
    }
}

fn certificate_names(args: &ReconcileArgs, target: &ClientTarget) -> Vec<String> {
    let mut names = args.tls_name.clone();
    match target {
        ClientTarget::Service { namespace, name, .. } => names.push(format!("{name}.{namespace}.svc")),
        ClientTarget::Url(_) => names.extend(["127.0.0.1".into(), "localhost".into()]),
    }
    names
}
