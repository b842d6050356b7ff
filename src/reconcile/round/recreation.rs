//! Objects that cannot become what Git declares, and that Git lets be deleted and created again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};

use super::{PARALLEL, Round, RoundReport};
use crate::object::ObjectId;
use crate::reconcile::apply;
use crate::reconcile::converge::SERVED_LIMIT;
use crate::reconcile::desired::Declaration;
use crate::reconcile::peers::Step;
use crate::reconcile::rest;

/// How long one may take to go. Finalizers may hold it longer; then a later round goes on.
const GONE_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

impl Round<'_> {
    /// Deletes objects, each only with the uid that was seen, and returns those that are gone.
    pub(super) async fn remove_obsolete(
        &self,
        objects: Vec<(ObjectId, String)>,
        declarations: &HashMap<&ObjectId, &Declaration>,
        step: Step,
        report: &mut RoundReport,
    ) -> Vec<ObjectId> {
        let world = self.workshop.publisher.world();
        let (ours, others): (Vec<_>, Vec<_>) =
            objects.into_iter().partition(|(id, _)| self.leader && world.enforces(id.as_ref()));
        report.retry |= !others.is_empty() && !self.leader;
        if ours.is_empty() {
            return Vec::new();
        }
        self.workshop.publisher.served(&world, SERVED_LIMIT).await;
        self.workshop.peers.wait(&self.workshop.publisher.reached(step)).await;
        let removed: Vec<(ObjectId, Result<(), String>)> = stream::iter(ours)
            .map(async |(id, uid)| {
                let removed = self.remove(&id, &uid).await;
                (id, removed)
            })
            .buffer_unordered(PARALLEL)
            .collect()
            .await;
        let mut gone = Vec::new();
        for (id, removed) in removed {
            match removed {
                Ok(()) => gone.push(id),
                Err(message) => {
                    report.retry = true;
                    if let Some(declaration) = declarations.get(&id) {
                        report.problems.push(self.problem(&id, declaration, "NeedsRecreate", message));
                    }
                }
            }
        }
        gone
    }

    async fn remove(&self, id: &ObjectId, uid: &str) -> Result<(), String> {
        let Some(kind) = self.kinds.info(&id.kind) else { return Ok(()) };
        let client = &self.workshop.client;
        let at = (id.namespace.as_str(), id.name.as_str());
        apply::delete(client, kind, at, uid, None).await.map_err(|error| error.to_string())?;
        tracing::warn!(object = %id, "deleted to be created again: it cannot become what Git declares");
        let since = Instant::now();
        loop {
            let live = rest::get(client, kind, at.0, at.1).await.map_err(|refusal| refusal.to_string())?;
            if live.is_none_or(|live| rest::metadata(&live, "uid") != uid) {
                self.workshop.events.recreated(id, kind);
                return Ok(());
            }
            if since.elapsed() > GONE_WITHIN {
                return Err("it is still being deleted; it is created again when it is gone".into());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
