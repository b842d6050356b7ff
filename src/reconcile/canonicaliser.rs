//! Canonical objects for a round: asked, predicted, or taken over from the snapshot before.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::Client;
use serde_json::Value;

use super::apply::unmask_secret;
use super::canonicalise::{Canonical, CanonicaliseError, Declared, canonicalise};
use super::environment::Environment;
use super::predict::Predictor;
use super::rest::Target;
use super::world::{World, is_secret};
use crate::admission::builtin;
use crate::api::Undeclared;
use crate::compare::mask_secret;
use crate::document::Document;
use crate::object::ObjectId;
use crate::snapshot::{KindInfo, Source};

/// Holds what was learned about defaults; lives as long as the process.
pub struct Canonicaliser {
    predictor: Mutex<Predictor>,
}

impl Default for Canonicaliser {
    fn default() -> Self {
        Self { predictor: Mutex::new(Predictor::new("")) }
    }
}

/// One object to canonicalise.
pub struct Question<'a> {
    pub kind: &'a KindInfo,
    pub id: &'a ObjectId,
    pub manifest: &'a Value,
    pub live: Option<Value>,
    pub source: &'a Source,
    /// Whether the answer may be concluded from objects of the same shape.
    pub may_predict: bool,
}

impl Canonicaliser {
    /// What was learned in another environment is forgotten.
    pub fn enter(&self, environment: &Environment) {
        let mut predictor = self.predictor();
        if predictor.environment() != environment.digest {
            *predictor = Predictor::new(&environment.digest);
        }
    }

    fn predictor(&self) -> MutexGuard<'_, Predictor> {
        self.predictor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// The object has no canonical form, or none yet.
    pub async fn canonicalise(&self, client: &Client, question: Question<'_>) -> Result<Canonical, CanonicaliseError> {
        let Question { kind, id, manifest, live, source, may_predict } = question;
        let free = builtin::free_for_repair(
            &id.kind.group,
            &id.kind.kind,
            &id.namespace,
            &id.name,
            Document::from_value(manifest).root(),
            Some(source),
        );
        let allotted = builtin::allotted(&id.kind.group, &id.kind.kind);
        let undeclared_fields = source.undeclared_fields == Undeclared::Allow;
        let target = Target { kind, allotted, free: &free, undeclared_fields };
        let declared = Declared::new(kind, manifest)?;
        if may_predict && let Some(object) = self.predictor().predict(kind, &declared) {
            return Ok(Canonical::predicted(object, &target, live.as_ref()));
        }
        let canonical = canonicalise(client, &target, manifest, live).await?;
        self.predictor().learn(kind, &declared, &canonical.object);
        Ok(canonical)
    }

    /// A canonical object as the snapshot may hold it, and, of a Secret, as only this process does.
    pub fn masked(&self, world: &World, id: &ObjectId, object: Value) -> (Value, Option<Value>) {
        if !is_secret(id.as_ref()) {
            return (object, None);
        }
        let masked = mask_secret(Document::from_value(&object).root(), &world.mask_key).root().to_value();
        (masked, Some(object))
    }

    /// The values of a Secret whose canonical form is known, from its manifest. `None`: ask the API server.
    pub fn values(&self, world: &World, kind: &KindInfo, manifest: &Value, canonical: &Value) -> Option<Value> {
        let declared = Declared::new(kind, manifest).ok()?;
        unmask_secret(canonical, declared.object(), &world.mask_key).ok()
    }
}
