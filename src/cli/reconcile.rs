//! `gitadel reconcile`: wires the reconciler's tasks together and stops them in order.

mod connect;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use clap::Args;
use prometheus::Registry;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::connect::{ConnectError, Connected, connect};
use super::signals::Signals;
use super::target::TargetArgs;
use crate::api::SYSTEM_NAMESPACE;
use crate::http::PlainServer;
use crate::reconcile::announce;
use crate::reconcile::converge::Workshop;
use crate::reconcile::engine::{Engine, Parts, Provision};
use crate::reconcile::events::EventLog;
use crate::reconcile::governor::Governor;
use crate::reconcile::lease::{Candidate, LEASE_NAME, Timing};
use crate::reconcile::observer::{Notice, Observer};
use crate::reconcile::peers::Peers;
use crate::reconcile::probes::Probes;
use crate::reconcile::publish::{PublishError, Publisher};
use crate::reconcile::queue::queue;
use crate::reconcile::receiver::{Receiver, Secret, SecretError};
use crate::reconcile::replicas::{Announcement, Exchange};
use crate::reconcile::root_authorities;
use crate::reconcile::serving::Serving;
use crate::reconcile::snapshot_file::SnapshotFile;
use crate::reconcile::tracker::Tracker;
use crate::reconcile::watch::Watches;
use crate::reconcile::webhook_configuration::ClientTarget;
use crate::reconcile::{addresses, settled, terminating};
use crate::snapshot::FILE_NAME;
use crate::source::{Transport, Transports};
use crate::supervisor::{Supervisor, TaskEnded};
use crate::telemetry::{ReconcileMetrics, registry};
use crate::tls::directory::{DirectoryError, ServingDirectory};

/// Objects that are written at once.
const WORKERS: usize = 16;
/// How long running writes may take when the process is asked to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How long giving the Lease back and withdrawing the announcement may take after that.
const LAST_WORDS: Duration = Duration::from_secs(5);

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
    /// Directory with the credentials of sources: NAME.username, NAME.password and NAME.url, or NAME.identity and
    /// NAME.known_hosts.
    #[arg(long)]
    pub credentials_dir: Option<PathBuf>,
    /// Ways to repositories that sources may name beside https and ssh. Whoever may create an Enforcement chooses among them.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub allow_transport: Vec<Transport>,
    #[command(flatten)]
    pub target: TargetArgs,
    /// Names and addresses in the serving certificate that is made here, beside the Service's.
    #[arg(long)]
    pub tls_name: Vec<String>,
    /// Probe listener of the webhook beside this process.
    #[arg(long, default_value = "http://127.0.0.1:9440")]
    pub serving_url: String,
    /// Address of health, readiness, metrics and the receiver of push notifications.
    #[arg(long, default_value = "0.0.0.0:9441")]
    pub probe_listen: SocketAddr,
    /// File with the secret that push notifications prove to know: X-Hub-Signature-256 (GitHub, Gitea, Forgejo) or
    /// X-Gitlab-Token. Read again for each. Without it, everybody's notifications are taken.
    #[arg(long)]
    pub notification_secret_file: Option<PathBuf>,
    /// Name of this replica, unique among all: two of one name would both lead.
    #[arg(long, env = "POD_NAME", default_value_t = host_name())]
    pub identity: String,
    /// Lease that elects the replica that writes.
    #[arg(long, default_value = LEASE_NAME)]
    pub lease_name: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Tls(#[from] DirectoryError),
    #[error("{path} cannot be used: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("a metric is registered twice: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("signals cannot be awaited: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Task(#[from] TaskEnded),
}

/// Runs until the process is asked to stop.
///
/// # Errors
/// What keeps it from starting or from going on.
pub async fn run(args: ReconcileArgs) -> Result<(), ReconcileError> {
    let mut signals = Signals::new().map_err(ReconcileError::Signals)?;
    let registry = registry()?;
    let metrics = Arc::new(ReconcileMetrics::new(&registry)?);
    for directory in [&args.snapshot_dir, &args.repository_dir, &args.tls_dir] {
        std::fs::create_dir_all(directory)
            .map_err(|source| ReconcileError::File { path: directory.clone(), source })?;
    }
    let connected = tokio::select! {
        connected = connect() => connected?,
        () = signals.next() => return Ok(()),
    };
    let (resign, supervisor) = (CancellationToken::new(), Supervisor::new());
    let Started { engine, notices, workers } = start(args, connected, registry, metrics, &supervisor, &resign).await?;

    let told = async {
        let asked = tokio::select! {
            () = signals.next() => Ok(()),
            ended = supervisor.ended() => Err(ended),
        };
        supervisor.stop().cancel();
        asked
    };
    let work = async {
        engine.run(notices).await;
        if tokio::time::timeout(DRAIN, workers).await.is_err() {
            tracing::warn!("some writes were still running when the time to stop was over");
        }
    };
    let (asked, ()) = tokio::join!(told, work);
    // In this order: whoever leads next meets no write of this process.
    resign.cancel();
    supervisor.shut_down(LAST_WORDS).await;
    asked?;
    tracing::info!("stopped");
    Ok(())
}

/// What writes to the cluster: the engine, and the workers that it and the watches give work to.
struct Started {
    engine: Engine,
    notices: mpsc::UnboundedReceiver<Notice>,
    workers: JoinHandle<()>,
}

/// Starts all tasks but the engine.
async fn start(
    args: ReconcileArgs,
    connected: Connected,
    registry: Registry,
    metrics: Arc<ReconcileMetrics>,
    supervisor: &Supervisor,
    resign: &CancellationToken,
) -> Result<Started, ReconcileError> {
    let Connected { client, cluster, user, authorities: trusted } = connected;
    let stop = supervisor.stop();
    let target = args.target.target();
    let names = certificate_names(&args, &target);
    let directory = ServingDirectory::open(&args.tls_dir, &names, SystemTime::now())?;
    let (authorities_in, authorities) = watch::channel(directory.authorities().to_owned());
    supervisor.spawn("the keeper of the serving certificate", directory.keep(authorities_in, stop.clone()));
    let publisher = Arc::new(Publisher::open(&args.snapshot_dir, Serving::new(&args.serving_url), &cluster, &user)?);
    let file =
        SnapshotFile::watch(&args.snapshot_dir.join(FILE_NAME), Arc::clone(&publisher)).map_err(PublishError::from)?;
    supervisor.spawn_cut_short("the keeper of the snapshot's file", file.keep());
    let learn = root_authorities::learn(client.clone(), Arc::clone(&publisher), trusted);
    supervisor.spawn_cut_short("the reader of the cluster's authorities", learn);
    let first = Announcement { authorities: authorities.borrow().clone(), serving: None };
    let (announcement_in, announcement) = watch::channel(first);
    let announce = announce::own(Arc::clone(&publisher), authorities, announcement_in, stop.clone());
    supervisor.spawn("the announcer of this replica", announce);
    let (exchange, replicas) = Exchange::new(client.clone(), SYSTEM_NAMESPACE, &args.identity, announcement);
    supervisor.spawn("the exchange with the other replicas", exchange.run(stop.clone()));
    let (bundle_in, ca_bundle) = watch::channel(String::new());
    supervisor.spawn_cut_short("the collector of authorities", announce::bundle(replicas.clone(), bundle_in));
    let secret = args.notification_secret_file.as_deref().map(Secret::at).transpose()?;
    let receiver = Receiver::new(secret);
    let follow = announce::follow(replicas.clone(), args.identity.clone(), Arc::clone(&publisher), receiver.clone());
    supervisor.spawn_cut_short("the listener to the other replicas", follow);
    let candidate =
        Candidate::new(client.clone(), SYSTEM_NAMESPACE, &args.lease_name, &args.identity, Timing::default());
    let (leader, campaign) = candidate.campaign(resign.clone());
    supervisor.spawn_until("the leader election", resign.clone(), campaign);
    let events = EventLog::start(client.clone(), Some(args.identity.clone()), supervisor);
    let tracker = Arc::new(Tracker::default());
    tracker.inherit(&publisher.world().snapshot);
    let (work, dispatcher) = queue(WORKERS);
    let workshop = Arc::new(Workshop::new(
        client.clone(),
        Arc::clone(&publisher),
        Arc::clone(&tracker),
        leader.clone(),
        Peers::new(&args.identity, replicas),
        events.clone(),
        Arc::clone(&metrics),
    ));
    let workers = {
        let workshop = Arc::clone(&workshop);
        let converge = move |work| Arc::clone(&workshop).converge(work);
        supervisor.spawn("the dispatcher of writes", dispatcher.run(stop.clone(), converge))
    };
    let governor =
        Governor::start(client.clone(), target, ca_bundle, leader.clone(), Arc::clone(&metrics), events, supervisor);
    let (notices_in, notices) = mpsc::unbounded_channel();
    let (terminating_in, terminating_notices) = mpsc::unbounded_channel();
    let terminating = terminating::follow(Arc::clone(&publisher), terminating_notices);
    supervisor.spawn_cut_short("the follower of terminating namespaces", terminating);
    let (settled_in, settled_notices) = mpsc::unbounded_channel();
    let settled = settled::follow(client.clone(), Arc::clone(&publisher), settled_notices);
    supervisor.spawn_cut_short("the follower of replaced templates", settled);
    let (addressed_in, addressed) = mpsc::unbounded_channel();
    let observer = Arc::new(Observer {
        publisher: Arc::clone(&publisher),
        tracker,
        queue: work.clone(),
        notices: notices_in,
        terminating: terminating_in,
        settled: settled_in,
        addressed: addressed_in,
        metrics: Arc::clone(&metrics),
        held: AtomicBool::new(false),
    });
    let addresses = addresses::follow(client.clone(), Arc::clone(&observer), leader.clone(), addressed);
    supervisor.spawn_cut_short("the follower of addresses", addresses);
    let watches = Watches::new(client, observer, supervisor.clone());
    let (ready_in, ready) = watch::channel(false);
    let listener = tokio::net::TcpListener::bind(args.probe_listen)
        .await
        .map_err(|source| ReconcileError::Listen { address: args.probe_listen, source })?;
    let probes = Arc::new(Probes::new(registry, ready, receiver.clone()));
    let answer = move |request| {
        let probes = Arc::clone(&probes);
        async move { probes.answer(request).await }
    };
    supervisor.spawn("the server of probes", PlainServer::new(listener).serve(answer, stop.clone()));
    let engine = Engine::new(Parts {
        workshop,
        queue: work,
        watches,
        governor,
        receiver,
        provision: Provision {
            repositories: args.repository_dir,
            credentials: args.credentials_dir,
            transports: Transports::new(args.allow_transport),
        },
        leader,
        ready: ready_in,
        supervisor: supervisor.clone(),
    });
    Ok(Started { engine, notices, workers })
}

/// Of a static Pod, the node's.
fn host_name() -> String {
    // A system without it is none that Kubernetes runs on; one replica does without a name.
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or("gitadel".into(), |name| name.trim().to_lowercase())
}

fn certificate_names(args: &ReconcileArgs, target: &ClientTarget) -> Vec<String> {
    let mut names = args.tls_name.clone();
    match target {
        ClientTarget::Service { namespace, name, .. } => names.push(format!("{name}.{namespace}.svc")),
        ClientTarget::Url(_) => names.extend(["127.0.0.1".into(), "localhost".into()]),
    }
    names
}
