//! Tells the other replicas whose certificates to trust for this one, and which commits its webhook serves.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::publish::Publisher;
use super::replicas::{Announcement, Replicas, Serving, ca_bundle};

/// A webhook that does not serve a snapshot by then is announced when the next one is published.
const SERVED_LIMIT: Duration = Duration::from_secs(30);

/// Keeps this replica's announcement up to date until `stop`.
pub async fn own(
    publisher: Arc<Publisher>,
    mut authorities: watch::Receiver<String>,
    announcement: watch::Sender<Announcement>,
    stop: CancellationToken,
) {
    let mut published = publisher.published();
    loop {
        let trusted = authorities.borrow_and_update().clone();
        announcement.send_if_modified(|known| {
            let changed = known.authorities != trusted;
            known.authorities.clone_from(&trusted);
            changed
        });
        tokio::select! {
            () = stop.cancelled() => return,
            changed = authorities.changed() => if changed.is_err() { return },
            changed = published.changed() => {
                if changed.is_err() {
                    return;
                }
                published.borrow_and_update();
                let world = publisher.world();
                let meta = world.snapshot.meta();
                if publisher.served(&world, SERVED_LIMIT).await {
                    let commits = meta.sources.iter().map(|s| (s.name.clone(), s.commit.clone())).collect();
                    let serving = Some(Serving { generation: meta.generation, commits });
                    announcement.send_modify(|known| known.serving = serving);
                }
            }
        }
    }
}

/// The authorities of all replicas, for the webhook configuration.
pub async fn bundle(mut replicas: watch::Receiver<Replicas>, bundle: watch::Sender<String>) {
    loop {
        let authorities = ca_bundle(&replicas.borrow_and_update());
        bundle.send_if_modified(|known| {
            let changed = *known != authorities;
            known.clone_from(&authorities);
            changed
        });
        if replicas.changed().await.is_err() {
            return;
        }
    }
}
