//! The canonical object: what the API server makes of a manifest.
//!
//! Git declares a part of an object; the server adds defaults and normalises. Nothing here imitates that: the server is
//! asked, by a dry-run. An absent object is asked for by a dry-run create; a present one by a dry-run replacement with
//! the manifest and the values that the server once allotted, so that nothing foreign survives in the answer.
//! `managedFields` play no part: who wrote a field says nothing about whether it is a default.
//!
//! The result depends on the manifest and the [`Environment`](super::environment::Environment) alone, never on the live
//! object: allotted values are left out, delegated fields have the value that Git or the server gives them at creation.

mod declared;
mod dropped;
mod error;
mod lines;
mod opinion;
mod place;
mod settle;

use kube::Client;
use serde_json::Value;

use super::refusal::Refusal;
use super::rest::{self, Mode, Target};
use crate::compare::{self, Latitude, Segment};
use crate::document::Document;
pub use declared::{Declared, fold_secret_data};
pub(super) use dropped::duplicate;
pub use error::{CanonicaliseError, Pending};
pub use lines::align;

/// How often an object is read again that was changed between reading and asking. Controllers write status right after
/// a change, so a conflict is common; many in a row are not.
const ATTEMPTS: usize = 6;

/// The desired state of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Canonical {
    /// Complete but for allotted values; without status (where that is a subresource) and bookkeeping.
    pub object: Value,
    pub provenance: Provenance,
    pub live: LiveState,
}

/// How a canonical object was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// The server was asked about this very manifest.
    Asked,
    /// Concluded from a manifest of the same shape.
    Predicted,
}

/// How the cluster compares with a canonical object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveState {
    Absent,
    Matches,
    Differs,
}

impl Canonical {
    /// A canonical object that was predicted, compared with the live one.
    pub fn predicted(object: Value, target: &Target<'_>, live: Option<&Value>) -> Self {
        Self::new(object, Provenance::Predicted, target, live)
    }

    fn new(object: Value, provenance: Provenance, target: &Target<'_>, live: Option<&Value>) -> Self {
        let state = match live {
            None => LiveState::Absent,
            Some(live) if differs(live, &object, &target.latitude()) => LiveState::Differs,
            Some(_) => LiveState::Matches,
        };
        Self { object, provenance, live: state }
    }
}

fn differs(live: &Value, canonical: &Value, latitude: &Latitude<'_>) -> bool {
    !difference(live, canonical, latitude).is_empty()
}

fn difference(live: &Value, canonical: &Value, latitude: &Latitude<'_>) -> Vec<compare::Finding> {
    compare::difference(Document::from_value(live).root(), Document::from_value(canonical).root(), latitude)
}

/// Asks the API server what it makes of a manifest. `live` is what is known of the object; where it proves to be out of
/// date, the object is read again.
///
/// # Errors
/// There is no canonical form, or none yet.
pub async fn canonicalise(
    client: &Client,
    target: &Target<'_>,
    manifest: &Value,
    mut live: Option<Value>,
) -> Result<Canonical, CanonicaliseError> {
    let declared = Declared::new(target.kind, manifest)?;
    let inquiry = Inquiry { client, target, declared: &declared };
    for _ in 0..ATTEMPTS {
        let asked = match &live {
            None => inquiry.absent().await,
            Some(live) => inquiry.present(live).await,
        };
        match asked {
            Ok(object) => return Ok(Canonical::new(object, Provenance::Asked, target, live.as_ref())),
            Err(Outcome::Stale) => {
                live = rest::get(client, target.kind, declared.namespace(), declared.name()).await?;
            }
            Err(Outcome::Failed(error)) => return Err(error),
        }
    }
    Err(CanonicaliseError::Conflict)
}

/// One object about which the server is asked.
struct Inquiry<'a> {
    client: &'a Client,
    target: &'a Target<'a>,
    declared: &'a Declared,
}

/// Why an inquiry has no answer.
enum Outcome {
    /// What was known of the live object is out of date.
    Stale,
    Failed(CanonicaliseError),
}

impl From<CanonicaliseError> for Outcome {
    fn from(error: CanonicaliseError) -> Self {
        Self::Failed(error)
    }
}

impl Inquiry<'_> {
    async fn absent(&self) -> Result<Value, Outcome> {
        let answer = rest::create(
            self.client,
            self.target.kind,
            self.declared.namespace(),
            self.declared.object(),
            Mode::DryRun,
        )
        .await;
        match answer {
            Ok(object) => self.settled(object, false).map_err(Outcome::Failed),
            Err(Refusal::AlreadyExists | Refusal::Conflict(_)) => Err(Outcome::Stale),
            Err(refusal) => Err(Outcome::Failed(refusal.into())),
        }
    }

    async fn present(&self, live: &Value) -> Result<Value, Outcome> {
        if !rest::metadata(live, "deletionTimestamp").is_empty() {
            return Err(Outcome::Failed(CanonicaliseError::Pending(Pending::Terminating)));
        }
        // Delegated fields are left out at first: the answer then holds what Git, or the server's default, says.
        let mut with_delegated = self.is_pod();
        let mut body = self.replacement(live, with_delegated);
        let mut answer = self.replace(&body).await;
        if !with_delegated && matches!(answer, Err(Refusal::Invalid { .. })) && !self.target.free.is_empty() {
            // Some of them are immutable once set, such as a Node's podCIDR.
            with_delegated = true;
            body = self.replacement(live, with_delegated);
            answer = self.replace(&body).await;
        }
        let object = match answer {
            Ok(object) => object,
            Err(Refusal::Conflict(_) | Refusal::NotFound) => return Err(Outcome::Stale),
            Err(Refusal::Invalid { causes, message }) => {
                return Err(Outcome::Failed(self.unchangeable(causes, message).await));
            }
            Err(refusal) => return Err(Outcome::Failed(refusal.into())),
        };
        let canonical = self.settled(object, with_delegated)?;
        let Some(findings) = self.doubts(live, &canonical) else { return Ok(canonical) };
        // The server has defaults that it sets at creation only (the default IngressClass, mutators of CREATE). They
        // look like foreign additions, and are told from them by what a new object would get.
        let Some(fresh) = self.scratch().await.and_then(Result::ok) else {
            return Ok(canonical);
        };
        let declared = self.declared.object();
        let paths = findings.iter().map(|finding| &finding.path);
        if !opinion::adopt_created_defaults(&mut body, paths, declared, live, &fresh) {
            return Ok(canonical);
        }
        match self.replace(&body).await {
            Ok(object) => Ok(self.settled(object, with_delegated)?),
            Err(Refusal::Conflict(_) | Refusal::NotFound) => Err(Outcome::Stale),
            // The server does not take them on this object: then they are no part of its state.
            Err(Refusal::Invalid { .. }) => Ok(canonical),
            Err(refusal) => Err(Outcome::Failed(refusal.into())),
        }
    }

    /// Where a second opinion is needed: the live object differs, or has a finalizer that admission may have given it.
    /// Delegated places are then looked at too, since they may have defaults of that kind.
    fn doubts(&self, live: &Value, canonical: &Value) -> Option<Vec<compare::Finding>> {
        let latitude = self.exact();
        let findings = difference(live, canonical, &Latitude { free: &[], ..latitude });
        let finalizers = ["metadata", "finalizers"].map(|name| Segment::Field(name.into()));
        let protected = findings.iter().any(|finding| finding.path.0.starts_with(&finalizers));
        (protected || differs(live, canonical, &latitude)).then_some(findings)
    }

    async fn replace(&self, body: &Value) -> Result<Value, Refusal> {
        let at = (self.declared.namespace(), self.declared.name());
        rest::replace(self.client, self.target.kind, at, body, Mode::DryRun).await
    }

    /// What others may add where the Enforcement allows it must not become the law.
    fn exact(&self) -> Latitude<'_> {
        Latitude { undeclared_fields: false, ..self.target.latitude() }
    }

    /// The manifest with the live values that are not Git's to give.
    fn replacement(&self, live: &Value, with_delegated: bool) -> Value {
        let mut latitude = self.exact();
        if !with_delegated {
            latitude.free = &[];
        }
        let declared = if self.is_pod() {
            place::overlay_spec(self.declared.object(), live, latitude.schema)
        } else {
            self.declared.object().clone()
        };
        compare::carry(Document::from_value(&declared).root(), Document::from_value(live).root(), &latitude)
    }

    /// Nearly the whole spec of an existing Pod is immutable, defaults included, and has to be repeated.
    fn is_pod(&self) -> bool {
        self.target.kind.group.is_empty() && self.target.kind.kind == "Pod"
    }

    /// The server's answer as desired state, proven to hold everything declared.
    fn settled(&self, mut object: Value, with_delegated: bool) -> Result<Value, CanonicaliseError> {
        let (declared, kind) = (self.declared.object(), self.target.kind);
        settle::strip(&mut object, declared, kind.status_subresource());
        settle::blank_allotted(&mut object, declared, self.target.allotted, &kind.schema);
        if with_delegated {
            settle::restore_delegated(&mut object, declared, self.target.free, &kind.schema);
        }
        if let Some(path) = dropped::duplicate(&object, &kind.schema) {
            let message = "declared more than once; the keys of this list must be unique".to_owned();
            return Err(CanonicaliseError::InvalidManifest { field: Some(path.to_string()), message });
        }
        match dropped::first_dropped(declared, &object, &kind.schema) {
            Some(path) => Err(CanonicaliseError::DeclaredButDropped { path }),
            None => Ok(object),
        }
    }

    /// What the server would make of the manifest as a new object; `None` where the kind binds the name to the content.
    async fn scratch(&self) -> Option<Result<Value, Refusal>> {
        let object = self.declared.under_scratch_name(self.target.kind)?;
        let namespace = self.declared.namespace();
        Some(rest::create(self.client, self.target.kind, namespace, &object, Mode::DryRun).await)
    }

    /// A replacement was refused as invalid: is it the manifest, or the change to it?
    async fn unchangeable(&self, causes: Vec<super::refusal::Cause>, message: String) -> CanonicaliseError {
        let fields: Vec<String> = causes.iter().map(|cause| cause.field.clone()).filter(|f| !f.is_empty()).collect();
        let immutable = message.contains("immutable") || message.contains("may not be changed");
        // Where the server's words do not tell: valid as a new object, so only the change can be wrong.
        if immutable || matches!(self.scratch().await, Some(Ok(_))) {
            return CanonicaliseError::NeedsRecreate { fields, message };
        }
        CanonicaliseError::InvalidManifest { field: fields.into_iter().next(), message }
    }
}
