//! Tells the webhook which namespaces are being deleted: what is in them may go then, and not before.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::publish::{Edit, Publisher};

/// A Namespace began to terminate (true) or is gone (false).
pub type Termination = (String, bool);

/// Runs until the sender is gone.
pub async fn follow(publisher: Arc<Publisher>, mut terminations: mpsc::UnboundedReceiver<Termination>) {
    let mut waiting = Vec::new();
    while terminations.recv_many(&mut waiting, 64).await > 0 {
        let published = publisher
            .publish(|_, meta| {
                let before = meta.terminating_namespaces.clone();
                for (name, terminating) in &waiting {
                    if *terminating {
                        meta.terminating_namespaces.insert(name.clone());
                    } else {
                        meta.terminating_namespaces.remove(name);
                    }
                }
                (meta.terminating_namespaces != before).then(Edit::default)
            })
            .await;
        if let Err(error) = published {
            tracing::error!(%error, "the namespaces that are being deleted are not published");
        }
        waiting.clear();
    }
}
