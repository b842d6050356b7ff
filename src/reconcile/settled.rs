//! Tells the webhook when nothing is left any more of a template that was replaced: from then on nobody makes Pods of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::publish::{Edit, Publisher};
use super::tracker::Fingerprint;
use crate::object::ObjectId;

/// An object in this desired state, of whose earlier templates nothing is left.
pub type Settled = (ObjectId, Fingerprint);

/// Many objects settle at the same time after a commit, and each snapshot is written as a whole.
const GATHER: Duration = Duration::from_millis(500);

/// Runs until the sender is gone.
pub async fn follow(publisher: Arc<Publisher>, mut settled: mpsc::UnboundedReceiver<Settled>) {
    while let Some(first) = settled.recv().await {
        tokio::time::sleep(GATHER).await;
        let mut all = HashMap::from([first]);
        while let Ok((id, state)) = settled.try_recv() {
            all.insert(id, state);
        }
        let forget = |_: &_, _: &mut _| Some(Edit { settled: all, ..Edit::default() });
        if let Err(error) = publisher.publish(forget).await {
            tracing::error!(%error, "templates of which nothing is left are not taken out of the snapshot");
        }
    }
}
