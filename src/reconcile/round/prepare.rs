//! One declared object: what the snapshot must hold of it, and whether the cluster must be written.

use std::sync::Arc;

use serde_json::Value;

use super::Round;
use crate::object::{GroupKind, ObjectId};
use crate::reconcile::canonicalise::{CanonicaliseError, LiveState, Pending, Provenance, align};
use crate::reconcile::canonicaliser::Question;
use crate::reconcile::desired::Declaration;
use crate::reconcile::inputs::Inputs;
use crate::reconcile::mutated;
use crate::reconcile::queue::Live;
use crate::reconcile::rest;
use crate::reconcile::tracker::Fingerprint;
use crate::reconcile::world::{World, is_secret};
use crate::render::{LineTree, Manifest};
use crate::snapshot::{EntryClass, EntryDraft, HistoryDraft, KindInfo};

/// What became of one declared object.
pub(super) enum Outcome {
    /// As in the snapshot before, down to the line in the file.
    Kept,
    New(Box<Prepared>),
}

pub(super) struct Prepared {
    pub draft: EntryDraft,
    /// The canonical Secret with its values.
    pub secret: Option<Value>,
    pub live: Live,
    /// The cluster must be written.
    pub changed: bool,
    pub problem: Option<Failure>,
    pub predicted: bool,
    pub asked: bool,
    /// The uid of the live object, where Git lets it be deleted because it cannot become the declared one.
    pub obsolete: Option<String>,
}

/// Why an object has no new state.
pub(super) struct Failure {
    pub error: CanonicaliseError,
    /// It may have one soon.
    pub retry: bool,
}

impl Outcome {
    fn new(prepared: Prepared) -> Self {
        Self::New(Box::new(prepared))
    }
}

impl Prepared {
    /// Nothing of it is written to the cluster.
    fn unwritten(draft: EntryDraft) -> Self {
        Self {
            draft,
            secret: None,
            live: Live::Unknown,
            changed: false,
            problem: None,
            predicted: false,
            asked: false,
            obsolete: None,
        }
    }

    /// An object that cannot be canonicalised keeps its last good state, if it has one.
    fn failed(mut draft: EntryDraft, error: CanonicaliseError, retry: bool) -> Self {
        draft.problem = Some(error.to_string());
        // Without a state to compare with, the permission to recreate would let anybody delete it.
        draft.recreate &= draft.canonical.is_some();
        Self { problem: Some(Failure { error, retry }), ..Self::unwritten(draft) }
    }
}

impl Round<'_> {
    pub(super) async fn prepare(
        &self,
        world: &World,
        id: &ObjectId,
        declaration: &Declaration,
        may_predict: bool,
    ) -> Outcome {
        let participant = &self.participants[declaration.source];
        let Some(state) = &participant.state else { return Outcome::Kept };
        let blob = state.rendered.files.get(&*declaration.file).map_or("", |file| file.blob.as_str());
        let inputs = Inputs {
            digest: declaration.summary.digest.clone(),
            environment: self.environment.digest.clone(),
            blob: blob.to_owned(),
        };
        let entry = world.entry(id.as_ref()).ok().flatten();
        let known = entry.as_ref().filter(|entry| {
            entry.class() == EntryClass::Declared
                && entry.source() == Some(declaration.source)
                && entry.version() == declaration.summary.api_version
                && entry.canonical().is_some()
                && entry.problem().is_none()
        });
        let earlier = known.and_then(|entry| Inputs::parse(entry.inputs()));
        // A prediction that the webhook refused is asked about, though nothing else changed.
        let same = may_predict
            && earlier.as_ref().is_some_and(|e| e.digest == inputs.digest && e.environment == inputs.environment);
        let values_known = !is_secret(id.as_ref()) || world.secrets.contains_key(id);
        if same
            && values_known
            && earlier.as_ref() == Some(&inputs)
            && known.and_then(|e| e.file()) == Some(&*declaration.file)
        {
            self.workshop.metrics.canonicalisations.with_label_values(&["cached"]).inc();
            return Outcome::Kept;
        }
        let earlier_state = entry.as_ref().and_then(|entry| Some((entry.version(), entry.canonical()?.to_value())));
        let mut draft = EntryDraft {
            id: id.clone(),
            class: EntryClass::Declared,
            source: Some(declaration.source),
            version: earlier_state
                .as_ref()
                .map_or(&*declaration.summary.api_version, |(version, _)| version)
                .to_owned(),
            canonical: earlier_state.map(|(_, canonical)| canonical),
            inputs: inputs.to_string(),
            file: Some(declaration.file.as_ref().to_owned()),
            lines: None,
            recreate: declaration.summary.recreate,
            // An object that is deleted by a way round admission is made anew with another one at once, and its children
            // must not wait for the next snapshot. A child of another uid is collected by Kubernetes itself.
            uid: None,
            problem: None,
            history: HistoryDraft {
                mutated: entry.as_ref().and_then(|entry| entry.history().mutated()).map(|pod| pod.to_value()),
                ..HistoryDraft::default()
            },
        };
        let manifest = match state.manifest(&declaration.file, declaration.index).await {
            Ok(manifest) => manifest,
            Err(error) => {
                let unread = CanonicaliseError::InvalidManifest { field: None, message: error.to_string() };
                return Outcome::new(Prepared::failed(draft, unread, true));
            }
        };
        draft.lines = Some(self.lines(id, &manifest, draft.canonical.as_ref()));
        if same && let Some(secret) = self.known_values(world, id, &manifest.value, draft.canonical.as_ref()) {
            // Only the position in the file changed, or this process does not hold the values yet.
            self.workshop.metrics.canonicalisations.with_label_values(&["cached"]).inc();
            return Outcome::new(Prepared { secret, ..Prepared::unwritten(draft) });
        }
        Outcome::new(self.ask(world, draft, declaration, manifest, may_predict).await)
    }

    async fn ask(
        &self,
        world: &World,
        mut draft: EntryDraft,
        declaration: &Declaration,
        manifest: Manifest,
        may_predict: bool,
    ) -> Prepared {
        let id = draft.id.clone();
        let Some(kind) = self.kinds.in_version(&id.kind, &declaration.summary.version) else {
            return Prepared::failed(draft, CanonicaliseError::Pending(Pending::KindAbsent), true);
        };
        let recalled = if declaration.summary.recreate { None } else { self.recall_live(world, &id) };
        let live = match self.workshop.tracker.exists(&id) {
            Some(false) => Ok(None),
            _ if recalled.is_some() => Ok(recalled),
            _ => rest::get(&self.workshop.client, &kind.info, &id.namespace, &id.name).await,
        };
        let live = match live {
            Ok(live) => live,
            Err(refusal) => return Prepared::failed(draft, CanonicaliseError::Api(refusal), true),
        };
        let source = &self.participants[declaration.source].source;
        // A prediction is proven by its write: whoever does not write learns of no wrong one.
        let writes = self.leader && world.enforces(id.as_ref());
        let may_predict = may_predict && writes && self.environment.is_predictable();
        let question =
            Question { kind: &kind.info, id: &id, manifest: &manifest.value, live: live.clone(), source, may_predict };
        match self.canonicaliser.canonicalise(&self.workshop.client, question).await {
            Ok(canonical) => {
                let predicted = canonical.provenance == Provenance::Predicted;
                let how = if predicted { "predicted" } else { "asked" };
                self.workshop.metrics.canonicalisations.with_label_values(&[how]).inc();
                let (masked, secret) = self.canonicaliser.masked(world, &id, canonical.object);
                draft.lines = Some(self.lines(&id, &manifest, Some(&masked)));
                draft.history.mutated = self.mutated(&kind.info, &id, &masked).await;
                draft.canonical = Some(masked);
                draft.version = declaration.summary.api_version.clone();
                Prepared {
                    secret,
                    live: live.map_or(Live::Absent, |live| Live::Present(Arc::new(live))),
                    changed: canonical.live != LiveState::Matches,
                    predicted,
                    asked: !predicted,
                    ..Prepared::unwritten(draft)
                }
            }
            Err(CanonicaliseError::NeedsRecreate { .. }) if declaration.summary.recreate => {
                // What it becomes is known when it is gone. Until then it may only go.
                draft.canonical = None;
                draft.version = declaration.summary.api_version.clone();
                draft.problem = Some("it is deleted to be created again, as Git asks".to_owned());
                let obsolete = live.as_ref().map(|live| rest::metadata(live, "uid").to_owned());
                Prepared { asked: true, obsolete, ..Prepared::unwritten(draft) }
            }
            Err(error) => {
                self.workshop.metrics.canonicalisations.with_label_values(&["failed"]).inc();
                let retry = error.is_temporary();
                Prepared::failed(draft, error, retry)
            }
        }
    }

    /// What the mutators that there are make of the Pods of an object.
    async fn mutated(&self, kind: &KindInfo, id: &ObjectId, canonical: &Value) -> Option<Value> {
        if self.environment.is_predictable() {
            return None;
        }
        let pods = self.kinds.info(&GroupKind::new("", "Pod"))?;
        match mutated::pod_of(&self.workshop.client, pods, kind, id, canonical).await {
            Ok(pod) => pod,
            Err(error) => {
                tracing::warn!(object = %id, %error, "what mutators make of its Pods is not known: they are judged by its template");
                None
            }
        }
    }

    /// The kind in the version of a manifest.
    fn kind_in(&self, id: &ObjectId, manifest: &Value) -> Option<&KindInfo> {
        let version = manifest["apiVersion"].as_str()?.rsplit('/').next()?;
        self.kinds.in_version(&id.kind, version).map(|kind| &kind.info)
    }

    fn lines(&self, id: &ObjectId, manifest: &Manifest, canonical: Option<&Value>) -> LineTree {
        match (self.kind_in(id, &manifest.value), canonical) {
            (Some(kind), Some(canonical)) => align(&manifest.lines, &manifest.value, canonical, &kind.schema),
            _ => manifest.lines.clone(),
        }
    }

    /// The live object without a read and without its uid, which only a deletion needs: where the watch saw it last, it
    /// was what Git declared until now, and nothing else.
    fn recall_live(&self, world: &World, id: &ObjectId) -> Option<Value> {
        let entry = world.entry(id.as_ref()).ok()??;
        let version = self.workshop.tracker.seen_with(id, Fingerprint::of(entry.canonical()?))?;
        let mut live = world.writable(&entry)?;
        live.get_mut("metadata")?.as_object_mut()?.insert("resourceVersion".into(), version.to_string().into());
        Some(live)
    }

    /// `Some` where nothing has to be asked: with the values of a Secret where it is one.
    fn known_values(
        &self,
        world: &World,
        id: &ObjectId,
        manifest: &Value,
        canonical: Option<&Value>,
    ) -> Option<Option<Value>> {
        let canonical = canonical?;
        if !is_secret(id.as_ref()) {
            return Some(None);
        }
        let kind = self.kind_in(id, manifest)?;
        self.canonicaliser.values(world, kind, manifest, canonical).map(Some)
    }
}
