//! An object that was altered in what cannot change, or put in the place of the declared one, goes and is made anew.

use serde_json::Value;

use super::{ConvergeError, Workshop};
use crate::admission::immutable::is_beyond_repair;
use crate::compare::Finding;
use crate::document::Document;
use crate::reconcile::apply::{self, Applied, ApplyError};
use crate::reconcile::assess::{Assessment, assess};
use crate::reconcile::queue::{Cause, Work};
use crate::reconcile::rest::{self, Target, metadata};
use crate::reconcile::tracker::Fingerprint;
use crate::reconcile::world::World;
use crate::snapshot::{EntryClass, KindInfo, SnapshotError};

impl Workshop {
    /// Whether an object that cannot be mended may be deleted. It must have come past admission: where a commit asks for what
    /// an object cannot become, it is Git that has to say that it may go. So the desired state must be one that an object of
    /// this name has already had.
    pub(super) fn may_replace(
        &self,
        world: &World,
        work: &Work,
        live: &Value,
        findings: &[Finding],
    ) -> Result<bool, SnapshotError> {
        let id = work.id.as_ref();
        let Some(entry) = world.entry(id)? else { return Ok(false) };
        let is_drift = match entry.class() {
            EntryClass::Declared => {
                let desired = entry.canonical().map(Fingerprint::of);
                desired.is_some() && self.tracker.held(&work.id) == desired
            }
            EntryClass::Baseline => true,
            EntryClass::Retained => false,
        };
        let live = Document::from_value(live);
        Ok(is_drift && work.cause == Cause::Drift && is_beyond_repair(id, live.root(), findings))
    }

    pub(super) async fn replace(
        &self,
        world: &World,
        kind: &KindInfo,
        work: &Work,
        target: &Target<'_>,
        desired: &Value,
        live: &Value,
    ) -> Result<Applied, ConvergeError> {
        let at = (work.id.namespace.as_str(), work.id.name.as_str());
        apply::delete(&self.client, kind, at, metadata(live, "uid"), None).await?;
        // Whoever put it there may have seen to it that it stays.
        if let Some(going) = rest::get(&self.client, kind, at.0, at.1).await.map_err(ApplyError::from)?
            && let Assessment::Held(hold) = assess(world, kind, &work.id, Document::from_value(&going).root())?
        {
            self.let_go(kind, work, &going, &hold).await?;
        }
        Ok(apply::recreate(&self.client, target, desired, live).await?)
    }
}
