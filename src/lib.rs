//! gitadel: Git is the only way in.
//!
//! A validating admission webhook rejects every change of a cluster that does not match what Git declares, and a
//! reconciler beside it makes the cluster what Git declares. `docs/architecture.md` shows how the modules fit together.

pub mod admission;
pub mod api;
pub mod audit;
pub mod cel;
pub mod cli;
mod client;
pub mod compare;
pub mod demo;
pub mod document;
pub mod http;
mod nesting;
pub mod object;
pub mod reconcile;
pub mod render;
pub mod snapshot;
pub mod source;
pub mod static_admission;
pub mod supervisor;
pub mod telemetry;
pub mod tls;
