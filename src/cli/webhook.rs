//! `gitadel webhook`: listeners, watches and shutdown around the decision.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::signals::Signals;
use crate::admission::server::{HttpsServer, Probes, Reviews, judge_review, self_test};
use crate::http::PlainServer;
use crate::snapshot::{FILE_NAME, SnapshotError, SnapshotStore};
use crate::supervisor::{Supervisor, TaskEnded};
use crate::telemetry::{AdmissionMetrics, ConnectionMetrics, SnapshotMetrics, TlsMetrics, registry};
use crate::tls::{ServingCertificate, TlsError};

/// A notification may be lost when many come at once; a file system may have none. Looking costs two calls.
const RECHECK: Duration = Duration::from_secs(1);
/// Nothing that is left when reviews are over takes longer than a look at two files.
const LAST_PROBES: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub struct WebhookArgs {
    /// Directory where the reconciler puts the snapshot
    #[arg(long, env = "GITADEL_SNAPSHOT_DIR")]
    snapshot_dir: PathBuf,
    /// Directory with tls.crt and tls.key, read again whenever they change
    #[arg(long, env = "GITADEL_TLS_DIR")]
    tls_dir: PathBuf,
    /// Where the API server posts reviews (HTTPS)
    #[arg(long, env = "GITADEL_LISTEN", default_value = "0.0.0.0:9443")]
    listen: SocketAddr,
    /// Where health, readiness and metrics are asked for (HTTP)
    #[arg(long, env = "GITADEL_PROBE_LISTEN", default_value = "127.0.0.1:9440")]
    probe_listen: SocketAddr,
    /// UID of the Namespace kube-system: snapshots of other clusters are refused. Without it, the first snapshot says
    /// which cluster this is
    #[arg(long, env = "GITADEL_CLUSTER")]
    cluster: Option<String>,
    /// Seconds to go on serving, not ready any more, after the signal to stop
    #[arg(long, env = "GITADEL_DRAIN", default_value_t = 5)]
    drain: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("{address} cannot be listened on: {source}. Choose another with {option}")]
    Listen { address: SocketAddr, option: &'static str, source: io::Error },
    #[error("signals cannot be awaited: {0}")]
    Signals(io::Error),
    #[error(transparent)]
    Task(#[from] TaskEnded),
}

/// Serves until SIGTERM or Ctrl-C, then drains.
pub async fn run(args: WebhookArgs) -> Result<(), WebhookError> {
    let mut signals = Signals::new().map_err(WebhookError::Signals)?;
    let registry = registry()?;
    let path = args.snapshot_dir.join(FILE_NAME);
    let store = Arc::new(SnapshotStore::open(&path, args.cluster, SnapshotMetrics::new(&registry)?)?);
    let certificate = Arc::new(ServingCertificate::open(&args.tls_dir, TlsMetrics::new(&registry)?)?);
    let connections = ConnectionMetrics::new(&registry)?;
    let reviews = Arc::new(Reviews::new(Arc::clone(&store), AdmissionMetrics::new(&registry)?, judge_review));
    let probes = Arc::new(Probes::new(
        Arc::clone(&store),
        Arc::clone(&certificate),
        registry,
        Box::new(|snapshot| self_test(judge_review, snapshot)),
    ));
    let (https, address) = bind(args.listen, "--listen").await?;
    let (plain, probe_address) = bind(args.probe_listen, "--probe-listen").await?;

    let (supervisor, stop_reviews) = (Supervisor::new(), CancellationToken::new());
    let stop = supervisor.stop();
    let https = HttpsServer::new(https, certificate.server_config()?, reviews, connections);
    let reviews =
        supervisor.spawn_until("the server of reviews", stop_reviews.clone(), https.serve(stop_reviews.clone()));
    let answer = {
        let probes = Arc::clone(&probes);
        move |request| {
            let probes = Arc::clone(&probes);
            async move { probes.answer(&request).await }
        }
    };
    supervisor.spawn("the server of probes", PlainServer::new(plain).serve(answer, stop.clone()));
    let recheck = recheck(store, certificate, stop.clone());
    supervisor.spawn("the look for new snapshots and certificates", recheck);
    tracing::info!(reviews = %address, probes = %probe_address, "webhook started");

    // Where a task ended by itself there is nothing to drain: what is left cannot answer, or not for long.
    tokio::select! {
        () = signals.next() => {}
        ended = supervisor.ended() => return Err(ended.into()),
    }
    probes.drain();
    tracing::info!(seconds = args.drain, "draining: not ready any more, still serving");
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(args.drain)) => {}
        () = signals.next() => tracing::info!("second signal: the drain is cut short"),
        ended = supervisor.ended() => return Err(ended.into()),
    }
    stop_reviews.cancel();
    // It bounds its last requests itself, and a panic is told by the supervisor.
    let _ = reviews.await;
    supervisor.shut_down(LAST_PROBES).await;
    tracing::info!("webhook stopped");
    Ok(())
}

/// A listener, and the address that it got where port 0 was asked for.
async fn bind(address: SocketAddr, option: &'static str) -> Result<(TcpListener, SocketAddr), WebhookError> {
    let failed = |source| WebhookError::Listen { address, option, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

async fn recheck(store: Arc<SnapshotStore>, certificate: Arc<ServingCertificate>, stop: CancellationToken) {
    let mut interval = tokio::time::interval(RECHECK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(interval.tick()).await.is_some() {
        let (store, certificate) = (Arc::clone(&store), Arc::clone(&certificate));
        let checked = tokio::task::spawn_blocking(move || {
            store.check();
            certificate.check();
        });
        if let Err(error) = checked.await {
            tracing::error!(%error, "looking for a new snapshot or certificate failed");
        }
    }
}
