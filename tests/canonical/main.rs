//! Canonical objects on a real API server: what is asked for is what is stored, nothing foreign is taken for Git's, and
//! adopting objects of other tools changes nothing.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod asking;
mod cluster;
mod numbers;
mod prediction;
mod schemas;
#[path = "../support/mod.rs"]
mod support;
mod writing;
