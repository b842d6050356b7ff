//! Between two stages: what one has created must be there before the next can be asked about.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};

use super::{PARALLEL, Round};
use crate::object::ObjectId;
use crate::reconcile::definitions;
use crate::reconcile::desired::Declaration;

/// How long a stage waits for what the one before has created.
const CREATED_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at what the watches saw.
const LOOK: Duration = Duration::from_millis(20);

impl Round<'_> {
    /// Waits until the leader has created the namespaces: what is in them cannot be canonicalised before.
    pub(super) async fn created(&self, namespaces: &[(ObjectId, Declaration)]) {
        let world = self.workshop.publisher.world();
        let absent = || {
            let mut enforced = namespaces.iter().filter(|(id, _)| world.enforces(id.as_ref()));
            enforced.any(|(id, _)| self.workshop.tracker.exists(id) == Some(false))
        };
        let since = Instant::now();
        while absent() && since.elapsed() < CREATED_LIMIT {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the new definitions are established, so that their kinds are served.
    pub(super) async fn established(&self, definitions: &[(ObjectId, Declaration)]) {
        let world = self.workshop.publisher.world();
        let enforced = definitions.iter().filter(|(id, _)| world.enforces(id.as_ref()));
        let waiting = stream::iter(enforced).for_each_concurrent(PARALLEL, |(id, _)| async move {
            definitions::established(&self.workshop.client, &id.name).await;
        });
        if tokio::time::timeout(CREATED_LIMIT, waiting).await.is_err() {
            tracing::warn!("not every CustomResourceDefinition is established yet");
        }
    }
}
