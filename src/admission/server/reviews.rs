//! Answers AdmissionReviews.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes};
use hyper::{Method, Request, Response, StatusCode, Version};
use jiff::Timestamp;

use super::judge::{BadReview, Finding, Judge, Judgement, judge};
use super::room::{ROOM, ReadError, Room};
use crate::document::Document;
use crate::http::respond;
use crate::snapshot::{Snapshot, SnapshotStore};
use crate::telemetry::AdmissionMetrics;

/// Where reviews are posted.
pub const ADMIT_PATH: &str = "/admit";
/// Well above what an API server sends: it stores objects of at most 3 MiB, and a review holds two.
pub const LARGEST_BODY: usize = 16 << 20;
/// What is heard out of a body that is too large.
const HEARD_OUT: usize = 4 * LARGEST_BODY;
/// The API server gives a webhook ten seconds: what took so long to arrive is of no use any more.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a denial waits for a snapshot in preparation, which may allow what this one does not.
const PATIENCE: Duration = Duration::from_millis(200);

/// Judges reviews by the snapshot in force.
#[derive(Debug)]
pub struct Reviews {
    store: Arc<SnapshotStore>,
    metrics: AdmissionMetrics,
    judge: Judge,
    room: Room,
}

impl Reviews {
    pub fn new(store: Arc<SnapshotStore>, metrics: AdmissionMetrics, judge: Judge) -> Self {
        let room = Room::new(ROOM, metrics.body_bytes.clone());
        Self { store, metrics, judge, room }
    }

    /// Answers one request, whatever it asks.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match self.review(request).await {
            Ok(body) => respond::json(StatusCode::OK, body),
            Err(failure) => {
                self.metrics.errors.with_label_values(&[failure.reason()]).inc();
                tracing::debug!(reason = failure.reason(), "no verdict: {failure}");
                failure.response()
            }
        }
    }

    async fn review<B>(&self, request: Request<B>) -> Result<Vec<u8>, Failure>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if request.uri().path() != ADMIT_PATH {
            return Err(Failure::Path);
        }
        if request.method() != Method::POST {
            return Err(Failure::Method);
        }
        let version = request.version();
        let mut body = request.into_body();
        let read = async {
            let read = self.room.read(&mut body).await;
            if version == Version::HTTP_2 && matches!(read, Err(ReadError::TooLarge)) {
                hear_out(&mut body).await;
            }
            read
        };
        let read = tokio::time::timeout(BODY_TIMEOUT, read).await;
        let mut body = read.map_err(|_| Failure::TooSlow)?.map_err(Failure::Body)?;
        let begun = Instant::now();
        let snapshot = self.store.load().ok_or(Failure::NoSnapshot)?;
        let review = Document::from_json(body.as_bytes())
            .map_err(|error| Failure::Review(BadReview::Malformed(format!("the body is no JSON to judge: {error}"))))?;
        body.forget_bytes();
        let mut judgement = self.judge(&review, &snapshot)?;
        self.metrics.decision_seconds.observe(begun.elapsed().as_secs_f64());
        if judgement.denied
            && !judgement.proof
            && self.store.preparing()
            && let Some(next) = self.store.wait_for_other(&snapshot, PATIENCE).await
        {
            judgement = self.judge(&review, &next)?;
        }
        let labels = [judgement.outcome(), judgement.rule, judgement.operation];
        self.metrics.reviews.with_label_values(&labels).inc();
        if let Some(Finding { user, dry_run, message }) = &judgement.finding {
            let (outcome, rule) = (judgement.outcome(), judgement.rule);
            tracing::info!(outcome, rule, user, dry_run, finding = message, "a write that does not match Git");
        }
        Ok(judgement.body)
    }

    /// Inline, on the thread that serves: a decision takes microseconds, handing it over would take longer.
    fn judge(&self, review: &Document, snapshot: &Snapshot) -> Result<Judgement, Failure> {
        judge(self.judge, review, snapshot, Timestamp::now()).map_err(Failure::Review)
    }
}

/// Reads and forgets what a client is still sending. Over HTTP/2 the stream is reset where that is not read, and then the
/// client may never see the answer that says what is wrong.
async fn hear_out<B: Body<Data = Bytes> + Unpin>(body: &mut B) {
    let mut left = HEARD_OUT;
    while let Some(Ok(frame)) = body.frame().await {
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        left = rest;
    }
}

/// Why a request gets no verdict.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("not found: AdmissionReviews are posted to {ADMIT_PATH}")]
    Path,
    #[error("AdmissionReviews are posted")]
    Method,
    #[error("the body did not arrive within {} s", BODY_TIMEOUT.as_secs())]
    TooSlow,
    #[error(transparent)]
    Body(ReadError),
    #[error(
        "gitadel has no snapshot yet, so that it does not know what Git declares: no write is admitted until the reconciler has read Git"
    )]
    NoSnapshot,
    #[error(transparent)]
    Review(BadReview),
}

impl Failure {
    fn reason(&self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Method => "method",
            Self::TooSlow => "too_slow",
            Self::Body(ReadError::TooLarge) => "too_large",
            Self::Body(ReadError::Unreadable(_)) => "unreadable",
            Self::Body(ReadError::NoRoom) => "overload",
            Self::NoSnapshot => "no_snapshot",
            Self::Review(BadReview::Malformed(_)) => "malformed",
            Self::Review(BadReview::Panicked) => "panic",
        }
    }

    fn response(&self) -> Response<Full<Bytes>> {
        let status = match self {
            Self::Method => return respond::method_not_allowed("POST"),
            Self::Path => StatusCode::NOT_FOUND,
            Self::Body(ReadError::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Body(ReadError::Unreadable(_)) | Self::Review(BadReview::Malformed(_)) => StatusCode::BAD_REQUEST,
            Self::NoSnapshot | Self::Body(ReadError::NoRoom) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Review(BadReview::Panicked) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        respond::text(status, self.to_string())
    }
}
