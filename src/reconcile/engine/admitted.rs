//! Whether an Enforcement in the cluster is one that admission let in, and the way back to that.
//!
//! One that was edited or deleted by a way round admission is drift like any other object: it must not switch off what would
//! undo it. Where Git declares it, it is put right like everything else. Where none does, it is frozen as the snapshot has it,
//! and is put back from there.

use std::time::Duration;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, CustomResourceExt};
use serde_json::Value;
use tokio::time::Instant;

use crate::api::{Enforcement, EnforcementSpec, GROUP, MANAGER};
use crate::document::Document;
use crate::object::ObjectId;
use crate::reconcile::world::World;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// Whether an Enforcement is what Git declares, what the baseline recorded, or, where it is in neither and enforces, as it
/// was let in. Where it may be what it likes, everything is.
pub fn is_admitted(world: &World, name: &str, live: Option<&Value>) -> bool {
    let id = ObjectId::new(GROUP, "Enforcement", "", name);
    let desired = world.entry(id.as_ref()).ok().flatten().filter(|entry| !world.doubts(entry));
    if let Some(canonical) = desired.and_then(|entry| entry.canonical())
        && world.enforces(id.as_ref())
    {
        let live = live.map(|live| Document::from_value(&live["spec"]));
        return matches!((live, canonical.get("spec")), (Some(live), Some(spec)) if live.root() == spec);
    }
    frozen(world, name).is_none_or(|frozen| match live {
        // What cannot be read does not count in any case, and would be no other for being written again.
        Some(live) => spec_of(live).is_none_or(|spec| spec == *frozen),
        None => false,
    })
}

/// The spec that an Enforcement keeps because nobody may change it.
pub fn frozen<'a>(world: &'a World, name: &str) -> Option<&'a EnforcementSpec> {
    world.snapshot.meta().frozen(name)?.spec.as_ref()
}

fn spec_of(live: &Value) -> Option<EnforcementSpec> {
    serde_json::from_value(live["spec"].clone()).ok()
}

/// Writes the spec that an Enforcement has to have.
///
/// # Errors
/// The API server does not take it.
pub async fn put_back(client: &Client, name: &str, spec: &EnforcementSpec) -> Result<(), kube::Error> {
    let value = serde_json::to_value(spec).map_err(kube::Error::SerdeError)?;
    let path = PointerBuf::from_tokens(["spec"]);
    let patch = json_patch::Patch(vec![PatchOperation::Add(AddOperation { path, value })]);
    let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    Api::<Enforcement>::all(client.clone()).patch(name, &parameters, &Patch::<()>::Json(patch)).await?;
    Ok(())
}

/// Makes an Enforcement that is gone; and the definition, where that is what is gone. Then the Enforcement comes next time.
///
/// # Errors
/// The API server does not take it, or not yet.
pub async fn make_again(client: &Client, enforcement: &Enforcement) -> Result<(), kube::Error> {
    let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    let made = Api::<Enforcement>::all(client.clone()).create(&parameters, enforcement).await;
    // Not with the reason NotFound: no such path is served.
    if matches!(&made, Err(kube::Error::Api(status)) if status.code == 404) {
        Api::<CustomResourceDefinition>::all(client.clone()).create(&parameters, &Enforcement::crd()).await?;
    }
    made.map(|_| ())
}

/// When it is tried again.
pub struct Patience {
    due: Instant,
    pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { due: Instant::now(), pause: FIRST_PAUSE }
    }
}

impl Patience {
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.due
    }

    pub fn tried(&mut self) {
        self.due = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LAST_PAUSE);
    }
}
