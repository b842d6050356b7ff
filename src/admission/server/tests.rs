use std::convert::Infallible;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{Method, Request, StatusCode, Version};
use jiff::Timestamp;
use serde_json::json;

use super::judge::{BadReview, Judge, Judgement, judge_review};
use super::reviews::Reviews;
use super::self_test::{SelfTestFailure, self_test};
use crate::api::{Action, ClusterScope, Scope};
use crate::compare::ListSchema;
use crate::document::{Document, Node};
use crate::object::ObjectId;
use crate::snapshot::testing::source;
use crate::snapshot::{
    EntryClass, EntryDraft, HistoryDraft, KindInfo, Meta, Snapshot, SnapshotStore, SnapshotWriter, Source,
};
use crate::telemetry::{AdmissionMetrics, SnapshotMetrics, registry};

/// Denies everything by the first snapshot, and admits everything by later ones.
fn by_generation(_: &Document, snapshot: &Snapshot, _: Timestamp) -> Result<Judgement, BadReview> {
    Ok(judgement(snapshot.meta().generation < 2))
}

fn panics(_: &Document, _: &Snapshot, _: Timestamp) -> Result<Judgement, BadReview> {
    panic!("a fault in a rule")
}

fn malformed(_: &Document, _: &Snapshot, _: Timestamp) -> Result<Judgement, BadReview> {
    Err(BadReview::Malformed("no AdmissionReview".into()))
}

fn judgement(denied: bool) -> Judgement {
    Judgement {
        body: format!("denied: {denied}").into(),
        denied,
        observed: false,
        proof: false,
        rule: "test",
        operation: "UPDATE",
        finding: None,
    }
}

struct Setting {
    directory: tempfile::TempDir,
    store: Arc<SnapshotStore>,
    metrics: AdmissionMetrics,
    reviews: Reviews,
}

impl Setting {
    fn new(judge: Judge) -> Self {
        let registry = registry().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let metrics = AdmissionMetrics::new(&registry).unwrap();
        let path = directory.path().join("snapshot");
        let store = SnapshotStore::open(&path, None, SnapshotMetrics::new(&registry).unwrap()).unwrap();
        let store = Arc::new(store);
        let reviews = Reviews::new(Arc::clone(&store), metrics.clone(), judge);
        Self { directory, store, metrics, reviews }
    }

    fn with_snapshot(judge: Judge) -> Self {
        let setting = Self::new(judge);
        setting.prepare(1).finish().unwrap();
        setting.store.check();
        setting
    }

    fn prepare(&self, generation: u64) -> SnapshotWriter {
        let meta = Meta { generation, ..Meta::default() };
        SnapshotWriter::create(&self.directory.path().join("snapshot"), &meta).unwrap()
    }

    async fn post(&self, body: impl Into<Bytes>) -> (StatusCode, String) {
        self.send(Method::POST, "/admit?timeout=10s", body.into()).await
    }

    async fn send(&self, method: Method, uri: &str, body: Bytes) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(uri).body(Full::new(body)).unwrap();
        let (parts, body) = self.reviews.answer(request).await.into_parts();
        (parts.status, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    fn errors(&self, reason: &str) -> u64 {
        self.metrics.errors.with_label_values(&[reason]).get()
    }
}

#[tokio::test]
async fn without_a_snapshot_nothing_is_admitted() {
    let setting = Setting::new(by_generation);
    let (status, message) = setting.post("{}").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(message.contains("no snapshot"), "{message}");
    assert_eq!(setting.errors("no_snapshot"), 1);
}

#[tokio::test]
async fn what_is_no_review_is_an_error_and_never_a_verdict() {
    let setting = Setting::with_snapshot(malformed);
    let cases = [
        (Method::POST, "/admit", &b"{}"[..], StatusCode::BAD_REQUEST, "malformed"),
        (Method::POST, "/admit", b"{\"a\":", StatusCode::BAD_REQUEST, "malformed"),
        (Method::POST, "/admit", b"\xff", StatusCode::BAD_REQUEST, "malformed"),
        (Method::POST, "/admit", b"", StatusCode::BAD_REQUEST, "malformed"),
        (Method::GET, "/admit", b"", StatusCode::METHOD_NOT_ALLOWED, "method"),
        (Method::POST, "/", b"{}", StatusCode::NOT_FOUND, "path"),
        (Method::POST, "/admit/", b"{}", StatusCode::NOT_FOUND, "path"),
    ];
    for (method, uri, body, expected, reason) in cases {
        let before = setting.errors(reason);
        let (status, message) = setting.send(method, uri, Bytes::from_static(body)).await;
        assert_eq!(status, expected, "{uri} {body:?}: {message}");
        assert_eq!(setting.errors(reason), before + 1, "{uri} {body:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read() {
    let setting = Setting::with_snapshot(by_generation);
    let (status, message) = setting.post(vec![b' '; super::LARGEST_BODY + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(message.contains("16 MiB"), "{message}");
    let mut largest = vec![b' '; super::LARGEST_BODY - 2];
    largest.extend_from_slice(b"{}");
    assert_eq!(setting.post(largest).await.0, StatusCode::OK);
}

/// How much of an endless body is read before it is refused.
async fn heard_of_an_endless_body(version: Version) -> usize {
    let setting = Setting::with_snapshot(by_generation);
    let heard = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&heard);
    let chunks = futures::stream::repeat_with(move || {
        counted.fetch_add(1 << 20, Ordering::Relaxed);
        Ok::<_, Infallible>(Frame::data(vec![b' '; 1 << 20].into()))
    });
    let request = Request::post("/admit").version(version).body(StreamBody::new(chunks)).unwrap();
    assert_eq!(setting.reviews.answer(request).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    heard.load(Ordering::Relaxed)
}

#[tokio::test]
async fn over_http_2_who_sends_too_much_is_heard_out_within_bounds() {
    let cut_short = heard_of_an_endless_body(Version::HTTP_11).await;
    assert!(cut_short <= super::LARGEST_BODY + (1 << 20), "{cut_short}");
    let heard_out = heard_of_an_endless_body(Version::HTTP_2).await;
    assert!((4 * super::LARGEST_BODY..6 * super::LARGEST_BODY).contains(&heard_out), "{heard_out}");
}

#[tokio::test]
async fn a_panic_is_the_failure_of_one_review() {
    let setting = Setting::with_snapshot(panics);
    for _ in 0..2 {
        assert_eq!(setting.post("{}").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert_eq!(setting.errors("panic"), 2);
}

#[tokio::test]
async fn a_denial_waits_for_a_snapshot_in_preparation() {
    let setting = Setting::with_snapshot(by_generation);
    assert_eq!(setting.post("{}").await, (StatusCode::OK, "denied: true".into()));

    let writer = setting.prepare(2);
    let mut waiting = pin!(setting.post("{}"));
    let early = tokio::time::timeout(Duration::from_millis(20), &mut waiting).await;
    assert!(early.is_err(), "it did not wait: {early:?}");
    writer.finish().unwrap();
    assert_eq!(waiting.await, (StatusCode::OK, "denied: false".into()));
    let counted = |outcome| setting.metrics.reviews.with_label_values(&[outcome, "test", "UPDATE"]).get();
    assert_eq!((counted("deny"), counted("allow")), (1, 1));
}

#[tokio::test]
async fn a_denial_does_not_wait_for_ever() {
    let setting = Setting::with_snapshot(by_generation);
    let _never_finished = setting.prepare(2);
    let begun = std::time::Instant::now();
    assert_eq!(setting.post("{}").await.1, "denied: true");
    assert!(begun.elapsed() >= Duration::from_millis(190), "{:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// Admits what has no label of the self-test.
fn fair(review: &Document, _: &Snapshot, _: Timestamp) -> Result<Judgement, BadReview> {
    let labels = review.root().at(&["request", "object", "metadata", "labels"]);
    Ok(judgement(labels.is_some_and(|labels| labels.get("gitadel.dev/self-test").is_some())))
}

fn admits_all(_: &Document, _: &Snapshot, _: Timestamp) -> Result<Judgement, BadReview> {
    Ok(judgement(false))
}

fn denies_all(_: &Document, _: &Snapshot, _: Timestamp) -> Result<Judgement, BadReview> {
    Ok(judgement(true))
}

/// Keeps whoever came into tampering from going back.
fn denies_the_way_back(review: &Document, snapshot: &Snapshot, now: Timestamp) -> Result<Judgement, BadReview> {
    let old = review.root().at(&["request", "oldObject", "metadata", "labels"]).map(Node::to_value);
    let new = review.root().at(&["request", "object", "metadata", "labels"]).map(Node::to_value);
    if old == new { fair(review, snapshot, now) } else { denies_all(review, snapshot, now) }
}

fn snapshot(path: &Path, action: Action) -> Snapshot {
    let scope = Scope { cluster: ClusterScope::All, ..Scope::default() };
    let source = Source { action, ..source("all", scope) };
    let kind = KindInfo {
        group: "apps".into(),
        kind: "Deployment".into(),
        resource: "deployments".into(),
        version: "v1".into(),
        namespaced: true,
        subresources: Default::default(),
        scale_paths: Default::default(),
        schema: ListSchema::default(),
        registered: true,
    };
    let meta = Meta { generation: 1, sources: vec![source], kinds: vec![kind], ..Meta::default() };
    let mut writer = SnapshotWriter::create(path, &meta).unwrap();
    writer
        .put(&EntryDraft {
            id: ObjectId::new("apps", "Deployment", "shop", "web"),
            class: EntryClass::Declared,
            source: Some(0),
            version: "apps/v1".into(),
            canonical: Some(json!({"apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}}, "spec": {}})),
            inputs: "digest".into(),
            file: None,
            lines: None,
            recreate: false,
            uid: None,
            problem: None,
            history: HistoryDraft::default(),
        })
        .unwrap();
    writer.finish().unwrap();
    Snapshot::open(path, None).unwrap()
}

#[test]
fn the_self_test_tells_right_decisions_from_wrong_ones() {
    let directory = tempfile::tempdir().unwrap();
    let enforced = snapshot(&directory.path().join("enforced"), Action::Enforce);
    assert_eq!(self_test(judge_review, &enforced), Ok(()), "the real decision");
    assert_eq!(self_test(fair, &enforced), Ok(()));
    let wrong = |judge: Judge| match self_test(judge, &enforced) {
        Err(SelfTestFailure::WrongVerdict { id, trial, admitted }) => {
            assert_eq!(id, "Deployment.apps shop/web");
            (trial, admitted)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(wrong(admits_all), ("an added label", true));
    assert_eq!(wrong(denies_all), ("a write that changes nothing", false));
    assert_eq!(wrong(denies_the_way_back), ("the removal of an added label", false));
    assert!(matches!(self_test(panics, &enforced), Err(SelfTestFailure::NoVerdict { .. })));

    let observed = snapshot(&directory.path().join("observed"), Action::Observe);
    assert_eq!(self_test(admits_all, &observed), Ok(()), "nothing is enforced that could be tried");
}
