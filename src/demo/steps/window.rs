//! Measures the window that opens when the webhook configuration is deleted: when the object is back, and when the API
//! server rejects again, which is later and is what counts.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use tokio::sync::watch;

use crate::reconcile::webhook_configuration;

const PAUSE: Duration = Duration::from_millis(2);
/// An API server takes up to about a second to act on a changed configuration: only if it rejects throughout for longer
/// is the window closed.
const QUIET: Duration = Duration::from_millis(1500);
const LIMIT: Duration = Duration::from_secs(30);

/// What one deletion led to, as seen by a client.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub deleted: Instant,
    /// From the deletion until the object was there again.
    pub restored: Duration,
    /// From the deletion until writes were rejected again. None: not one of the test writes got in.
    pub enforcing: Option<Duration>,
}

#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    #[error("the webhook configuration cannot be watched: {0}")]
    Watch(#[from] kube::Error),
    #[error("the watch of the webhook configuration ended")]
    WatchEnded,
    #[error("the webhook configuration was not {what} within {} s", LIMIT.as_secs())]
    TooLong { what: &'static str },
    #[error("a task of the demo died: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Begins to look. What is returned ends when the window is closed again.
pub async fn observe(
    client: &Client,
) -> Result<impl Future<Output = Result<Window, WindowError>> + use<>, WindowError> {
    let api = Api::<ValidatingWebhookConfiguration>::all(client.clone());
    let version = api.get(webhook_configuration::NAME).await?.metadata.resource_version.unwrap_or_default();
    let fields = format!("metadata.name={}", webhook_configuration::NAME);
    let (restored_in, restored) = watch::channel(None);
    let watching = tokio::spawn(async move {
        let events = api.watch(&WatchParams::default().fields(&fields), &version).await?;
        let mut events = pin!(events.boxed());
        let mut deleted = None;
        while let Some(event) = events.try_next().await? {
            match (event, deleted) {
                (WatchEvent::Deleted(_), None) => deleted = Some(Instant::now()),
                (WatchEvent::Added(_), Some(deleted)) => {
                    let now = Instant::now();
                    restored_in.send_replace(Some(now));
                    return Ok((deleted, now));
                }
                _ => {}
            }
        }
        Err(WindowError::WatchEnded)
    });
    let probing = tokio::spawn(probe(client.clone(), restored));
    Ok(async move {
        let watched = tokio::time::timeout(LIMIT, watching).await;
        let (deleted, restored) = watched.map_err(|_| WindowError::TooLong { what: "restored" })???;
        let probed = tokio::time::timeout(LIMIT, probing).await;
        let closed = probed.map_err(|_| WindowError::TooLong { what: "in force again" })??;
        Ok(Window {
            deleted,
            restored: restored - deleted,
            enforcing: closed.map(|closed| closed.saturating_duration_since(deleted)),
        })
    })
}

/// Asks for an undeclared object again and again, by a dry run, which is judged like a write and stores nothing. Returns
/// the first rejection after the last admission.
async fn probe(client: Client, restored: watch::Receiver<Option<Instant>>) -> Option<Instant> {
    let maps = Api::<ConfigMap>::namespaced(client, "default");
    let mut map = ConfigMap::default();
    map.metadata.name = Some("probe".into());
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let (mut opened, mut closed) = (false, None);
    loop {
        if maps.create(&params, &map).await.is_ok() {
            (opened, closed) = (true, None);
        } else if opened && closed.is_none() {
            closed = Some(Instant::now());
        }
        let now = Instant::now();
        let quiet_since = closed.filter(|_| opened).max(*restored.borrow());
        let is_restored = restored.borrow().is_some();
        let open = opened && closed.is_none();
        if is_restored && !open && quiet_since.is_some_and(|since| now - since > QUIET) {
            return closed;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
