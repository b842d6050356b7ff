//! The webhook's two listeners: reviews over TLS for the API server, probes and metrics in plain HTTP for the kubelet.
//!
//! Whatever is wrong with a request, or in here, ends in an HTTP error. To the API server that is a failed call, which
//! `failurePolicy: Fail` turns into a denial: nothing is ever admitted by accident.

mod https;
mod judge;
mod places;
mod probes;
mod reviews;
mod room;
mod self_test;

#[cfg(test)]
mod tests;

pub use https::HttpsServer;
pub use judge::{BadReview, Judge, Judgement, judge_review};
pub use probes::Probes;
pub use reviews::{ADMIT_PATH, LARGEST_BODY, Reviews};
pub use self_test::{SelfTestFailure, self_test};
