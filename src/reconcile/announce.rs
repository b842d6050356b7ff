//! Tells the other replicas whose certificates to trust for this one, and what its webhook serves; and listens to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::publish::Publisher;
use super::receiver::Receiver;
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
    let mut reached = publisher.progress();
    // What an earlier process left is served already.
    reached.mark_changed();
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
            changed = reached.changed() => {
                if changed.is_err() {
                    return;
                }
                let Some(progress) = reached.borrow_and_update().clone() else { continue };
                let world = publisher.world();
                let serves = tokio::select! {
                    () = stop.cancelled() => return,
                    serves = publisher.served(&world, SERVED_LIMIT) => serves,
                };
                if serves {
                    let serving = Some(Serving { generation: world.snapshot.meta().generation, progress });
                    announcement.send_modify(|known| known.serving = serving);
                }
            }
        }
    }
}

/// Has the sources looked at in which another replica found a commit: a notification of a push reaches one replica only.
pub async fn follow(
    mut replicas: watch::Receiver<Replicas>,
    own_name: String,
    publisher: Arc<Publisher>,
    bells: Receiver,
) {
    let mut heard: BTreeMap<(String, String), String> = BTreeMap::new();
    loop {
        let commits: Vec<_> = replicas
            .borrow_and_update()
            .iter()
            .filter(|(name, _)| **name != own_name)
            .filter_map(|(name, replica)| Some((name.clone(), replica.serving.clone()?.progress.commits)))
            .collect();
        for (replica, commits) in commits {
            for (enforcement, commit) in commits {
                let news =
                    heard.insert((replica.clone(), enforcement.clone()), commit.clone()).as_ref() != Some(&commit);
                let world = publisher.world();
                let known = world.snapshot.meta().sources.iter().any(|s| s.name == enforcement && s.commit == commit);
                if news && !known {
                    bells.ring(&enforcement);
                }
            }
        }
        if replicas.changed().await.is_err() {
            return;
        }
    }
}

/// The authorities of all replicas, for the webhook configuration.
pub async fn bundle(mut replicas: watch::Receiver<Replicas>, bundle: watch::Sender<String>) {
    // Until the others are listed, it would be this replica's alone, and the configuration without them.
    while replicas.changed().await.is_ok() {
        let authorities = ca_bundle(&replicas.borrow_and_update());
        bundle.send_if_modified(|known| {
            let changed = *known != authorities;
            known.clone_from(&authorities);
            changed
        });
    }
}
