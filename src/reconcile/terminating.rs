//! Tells the webhook which namespaces are being deleted: what is in them may go then, and not before.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::publish::{Edit, Publisher};

/// What the watch saw of Namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Termination {
    /// One began to terminate.
    Began(String),
    /// One is gone, or there again.
    Ended(String),
    /// All were listed, and these are terminating. One that the watch did not see go may be another now, and alive.
    Listed(BTreeSet<String>),
}

impl Termination {
    fn apply(&self, terminating: &mut BTreeSet<String>) {
        match self {
            Self::Began(name) => _ = terminating.insert(name.clone()),
            Self::Ended(name) => _ = terminating.remove(name),
            Self::Listed(names) => terminating.clone_from(names),
        }
    }
}

/// Runs until the sender is gone.
pub async fn follow(publisher: Arc<Publisher>, mut terminations: mpsc::UnboundedReceiver<Termination>) {
    let mut waiting = Vec::new();
    while terminations.recv_many(&mut waiting, 64).await > 0 {
        let published = publisher
            .publish(|_, meta| {
                let before = meta.terminating_namespaces.clone();
                for termination in &waiting {
                    termination.apply(&mut meta.terminating_namespaces);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_counts_for_more_than_what_was_remembered() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let mut terminating = set(&["made-again", "going"]);
        for (termination, expected) in [
            (Termination::Began("bank".into()), set(&["made-again", "going", "bank"])),
            (Termination::Listed(set(&["going", "shop"])), set(&["going", "shop"])),
            (Termination::Ended("going".into()), set(&["shop"])),
        ] {
            termination.apply(&mut terminating);
            assert_eq!(terminating, expected, "{termination:?}");
        }
    }
}
