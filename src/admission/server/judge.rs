//! The boundary between the server, which knows HTTP, and the decision, which does not.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;

use crate::admission::{Outcome, Request, decide};
use crate::document::Document;
use crate::snapshot::Snapshot;

/// Judges the AdmissionReview in a parsed body.
pub type Judge = fn(&Document, &Snapshot, Timestamp) -> Result<Judgement, BadReview>;

/// A verdict, ready to be sent and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The AdmissionReview that answers.
    pub body: Vec<u8>,
    pub denied: bool,
    /// An Enforcement that only observes or warns let a finding pass.
    pub observed: bool,
    /// Rejected as it was meant to be: the write of a canary.
    pub proof: bool,
    pub rule: &'static str,
    pub operation: &'static str,
    /// What the log says of a write that does not match Git.
    pub finding: Option<Finding>,
}

/// Who wrote what Git does not declare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub user: String,
    pub dry_run: bool,
    /// As the user is told: values of Secrets are masked.
    pub message: String,
}

impl Judgement {
    pub(super) fn outcome(&self) -> &'static str {
        match (self.denied, self.observed) {
            _ if self.proof => "proof",
            (true, _) => "deny",
            (false, true) => "observe",
            (false, false) => "allow",
        }
    }
}

/// Why there is no verdict on a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReview {
    #[error("{0}")]
    Malformed(String),
    /// A fault of gitadel's: the panic is in the log.
    #[error("the decision failed; the log of the webhook says why")]
    Panicked,
}

/// The [`Judge`] that gitadel is.
///
/// # Errors
/// The body is no AdmissionReview that can be judged.
pub fn judge_review(review: &Document, snapshot: &Snapshot, now: Timestamp) -> Result<Judgement, BadReview> {
    let request = Request::parse(review).map_err(|error| BadReview::Malformed(error.to_string()))?;
    let verdict = decide(&request, snapshot, now);
    let finding = verdict.message.as_ref().filter(|_| !verdict.proof).map(|message| Finding {
        user: request.user.name.to_owned(),
        dry_run: request.dry_run,
        message: message.clone(),
    });
    Ok(Judgement {
        body: verdict.response(request.uid),
        denied: verdict.outcome == Outcome::Deny,
        observed: verdict.observed,
        proof: verdict.proof,
        rule: verdict.rule,
        operation: request.operation.as_str(),
        finding,
    })
}

/// Judges; a panic is the failure of this one review and of nothing else.
pub(super) fn judge(
    judge: Judge,
    review: &Document,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Judgement, BadReview> {
    // Document and snapshot are only read, so that a panic can leave neither half changed.
    catch_unwind(AssertUnwindSafe(|| judge(review, snapshot, now))).unwrap_or(Err(BadReview::Panicked))
}
