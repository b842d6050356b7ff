//! A second webhook that is asked about everything: what it sees and gitadel's entries do not was kept out of them.

use std::collections::BTreeSet;

use gitadel::admission::coverage::{RULES_FOR_ALL, Row, row};
use gitadel::admission::{Operation, Outcome, Request as Reviewed, Verdict, decide};
use gitadel::compare::MaskKey;
use gitadel::document::Document;
use gitadel::object::ObjectId;
use gitadel::snapshot::{EntryClass, EntryDraft, HistoryDraft, KindInfo, Meta, Snapshot, SnapshotWriter, Source};
use hyper::http::Request;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    RuleWithOperations, ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::api::ObjectMeta;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::recorder::{Recorder, Review};
use super::support::eventually;

pub const WITNESS: &str = "witness";

/// Everything goes to the witness, without any condition.
pub fn configuration(recorder: &Recorder) -> ValidatingWebhookConfiguration {
    let all = || Some(vec!["*".to_owned()]);
    let rule = RuleWithOperations {
        api_groups: all(),
        api_versions: all(),
        operations: all(),
        resources: Some(vec!["*/*".to_owned()]),
        scope: None,
    };
    let client_config = WebhookClientConfig {
        ca_bundle: Some(ByteString(recorder.ca_bundle.clone().into_bytes())),
        service: None,
        url: Some(format!("https://127.0.0.1:{}/{WITNESS}", recorder.port)),
    };
    let webhook = ValidatingWebhook {
        name: "witness.example.org".into(),
        admission_review_versions: vec!["v1".into()],
        client_config,
        failure_policy: Some("Fail".into()),
        rules: Some(vec![rule]),
        side_effects: "None".into(),
        ..ValidatingWebhook::default()
    };
    ValidatingWebhookConfiguration {
        metadata: ObjectMeta { name: Some(WITNESS.into()), ..ObjectMeta::default() },
        webhooks: Some(vec![webhook]),
    }
}

/// What became of one write.
pub struct Made {
    pub answer: Result<String, kube::Error>,
    /// What the witness was asked.
    pub witnessed: Vec<Value>,
    /// The entries of gitadel's configuration that were asked.
    pub entries: BTreeSet<String>,
}

pub struct Writer<'a> {
    pub client: Client,
    pub user: &'static str,
    pub recorder: &'a Recorder,
}

impl Writer<'_> {
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Result<String, kube::Error> {
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path).header("content-type", content).body(body).unwrap();
        self.client.request_text(request).await
    }

    pub async fn get(&self, path: &str) -> Value {
        let text = self.call("GET", path, &Value::Null).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        serde_json::from_str(&text).unwrap()
    }

    /// Makes a write, whatever comes of it.
    pub async fn make(&self, method: &str, path: &str, body: &Value) -> Made {
        self.recorder.take(self.user);
        let answer = self.call(method, path, body).await;
        let (witnessed, others): (Vec<_>, Vec<_>) =
            self.recorder.take(self.user).into_iter().partition(|review| review.entry == WITNESS);
        let request = |review: Review| review.request;
        Made {
            answer,
            witnessed: witnessed.into_iter().map(request).collect(),
            entries: others.into_iter().map(|review| review.entry).collect(),
        }
    }

    /// Registers the witness and waits until it is asked.
    pub async fn summon_witness(&self) {
        let api: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        api.create(&Default::default(), &configuration(self.recorder)).await.unwrap();
        let path = "/api/v1/namespaces/default/configmaps?dryRun=All";
        eventually("the witness to be asked", async || {
            let made = self.make("POST", path, &json!({"metadata": {"name": "probe"}})).await;
            (!made.witnessed.is_empty()).then_some(())
        })
        .await;
    }
}

/// What the snapshot knows of the object of a review.
#[derive(Clone, Copy, Debug)]
pub enum Knowledge {
    /// Nothing: no object is declared.
    Nothing,
    /// That its old state, or for a new object another one, is what Git declares.
    OldIsDeclared,
    /// That it does not know all that is declared.
    Sealed,
}

pub const EVERYTHING_KNOWN: [Knowledge; 3] = [Knowledge::Nothing, Knowledge::OldIsDeclared, Knowledge::Sealed];

/// Snapshots by which the same review is judged.
pub struct Judge {
    pub kinds: Vec<KindInfo>,
    pub source: Source,
}

impl Judge {
    fn snapshot(&self, request: &Value, knowledge: Knowledge) -> Snapshot {
        let mut meta = Meta {
            sources: vec![self.source.clone()],
            kinds: self.kinds.clone(),
            mask_key: MaskKey::random().unwrap().to_hex(),
            ..Meta::default()
        };
        if matches!(knowledge, Knowledge::Sealed) {
            meta.sealed = [self.source.name.clone()].into();
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot");
        let mut writer = SnapshotWriter::create(&path, &meta).unwrap();
        if matches!(knowledge, Knowledge::OldIsDeclared)
            && let Some(draft) = self.draft(request)
        {
            writer.put(&draft).unwrap();
        }
        writer.finish().unwrap();
        Snapshot::open(&path, None).unwrap()
    }

    fn draft(&self, request: &Value) -> Option<EntryDraft> {
        let text = |pointer: &str| request.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (group, resource) = (text("/resource/group"), text("/resource/resource"));
        let kind = self.kinds.iter().find(|kind| kind.group == group && kind.resource == resource)?;
        if kind.kind != text("/kind/kind") {
            return None;
        }
        let mut canonical = [&request["oldObject"], &request["object"]].into_iter().find(|o| !o.is_null())?.clone();
        if request["oldObject"].is_null() {
            canonical["metadata"]["labels"]["declared.example.org"] = "in Git".into();
        }
        let name = canonical["metadata"]["name"].as_str()?.to_owned();
        let namespace = if kind.namespaced { text("/namespace") } else { "" };
        Some(EntryDraft {
            id: ObjectId::new(group, kind.kind.as_str(), namespace, name),
            class: EntryClass::Declared,
            source: Some(0),
            version: canonical["apiVersion"].as_str()?.to_owned(),
            canonical: Some(canonical),
            inputs: "digest".into(),
            file: Some("a.yaml".into()),
            lines: None,
            recreate: false,
            uid: None,
            problem: None,
            history: HistoryDraft::default(),
        })
    }

    /// The verdict on a write as if somebody had made it who is nobody in particular.
    pub fn verdict(&self, request: &Value, knowledge: Knowledge) -> Verdict {
        let mut request = request.clone();
        request["userInfo"] = json!({"username": "somebody", "groups": ["system:authenticated"]});
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        let document = Document::from_value(&review);
        decide(&Reviewed::parse(&document).unwrap(), &self.snapshot(&request, knowledge), Timestamp::now())
    }

    /// Fails unless the classification has a row for the write that allows for the verdicts on it, and, where it was kept
    /// out of gitadel's entries, unless the rules admit it whatever the snapshot knows of its object.
    pub fn check(&self, what: &str, request: &Value, is_kept_out: bool) {
        let row = row_of(request);
        for knowledge in EVERYTHING_KNOWN {
            let verdict = self.verdict(request, knowledge);
            let known = row.rules.contains(&verdict.rule) && row.classes.contains(&verdict.class);
            assert!(
                known || RULES_FOR_ALL.contains(&verdict.rule),
                "{what}: {knowledge:?}: \"{}\" decides, {:?}, and its row says {row:?}",
                verdict.rule,
                verdict.class
            );
            assert!(
                !is_kept_out || verdict.outcome == Outcome::Allow,
                "kept out of the webhook, and rejected by \"{}\" where the snapshot knows {knowledge:?}: {what}: {:?}\n\
                 {request:#}",
                verdict.rule,
                verdict.message
            );
        }
    }
}

pub fn row_of(request: &Value) -> &'static Row {
    let text = |pointer: &str| request.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let operation = match text("/operation") {
        "CREATE" => Operation::Create,
        "UPDATE" => Operation::Update,
        "DELETE" => Operation::Delete,
        _ => Operation::Connect,
    };
    row(text("/resource/group"), text("/resource/resource"), text("/subResource"), operation)
        .unwrap_or_else(|| panic!("no row is about {request}"))
}
