//! The verdict: may this write happen?
//!
//! `bytes → Request → decide(&Request, &Snapshot, now) → Verdict → bytes`. Everything between the bytes is a pure function
//! of its arguments: no I/O, no state, the same answer however often one write is reviewed.

mod aggregation;
pub mod builtin;
pub mod children;
mod classify;
mod computed;
mod context;
pub mod coverage;
mod decide;
pub mod definition;
pub mod delegation;
mod denial;
pub mod endpoints;
mod generated;
pub mod grace;
pub mod immutable;
pub mod own;
mod own_slices;
mod ownership;
mod request;
mod rules;
pub mod server;
#[cfg(test)]
pub(crate) mod testing;
mod verdict;
pub mod volumes;

pub use classify::{ObjectClass, classify_by_relation, classify_object, is_machinery};
pub use computed::computed;
pub use decide::{decide, rule_names};
pub use generated::followers;
pub use request::{Operation, Request, RequestError, ReviewedKind, User};
pub use verdict::{Class, Outcome, Verdict};
