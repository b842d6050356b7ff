//! A Namespace that is to come again has to go first, and waits for all that is in it. What is governed there is let go by
//! itself; Leases, Events and the like anybody may have, with a finalizer that nobody takes away, and nobody watches them.

use super::{ConvergeError, Workshop};
use crate::admission::is_machinery;
use crate::reconcile::apply::ApplyError;
use crate::reconcile::finalizers;
use crate::reconcile::refusal::Refusal;
use crate::reconcile::rest::{self, metadata};
use crate::reconcile::world::World;

impl Workshop {
    /// Lets go what is being deleted in a Namespace and belongs to nobody.
    pub(super) async fn empty(&self, world: &World, namespace: &str) -> Result<(), ConvergeError> {
        let kinds = world.kinds.iter().map(|kind| &kind.info);
        for kind in kinds.filter(|kind| kind.namespaced && is_machinery(&kind.group, &kind.kind)) {
            let objects = match rest::list(&self.client, kind, namespace).await {
                Ok(objects) => objects,
                // Served no longer, or not for lists.
                Err(Refusal::NotFound | Refusal::KindAbsent | Refusal::NamespaceAbsent) => continue,
                Err(refusal) => return Err(ApplyError::from(refusal).into()),
            };
            let is_held = |object: &&serde_json::Value| {
                !metadata(object, "deletionTimestamp").is_empty() && finalizers::of(object).next().is_some()
            };
            for object in objects.iter().filter(is_held) {
                let (kind_name, name) = (&kind.kind, metadata(object, "name"));
                tracing::warn!(kind = kind_name, namespace, name, "it kept its Namespace from being deleted: let go");
                finalizers::take_all(&self.client, kind, object).await?;
            }
        }
        Ok(())
    }
}
