//! What was really written to a cluster, judged: nothing that Kubernetes' own components wrote may be denied, and
//! whatever a person changed of what is declared must be.
//!
//! `data/reviews.jsonl.gz` holds the distinct reviews of a 1.36 cluster with all of its controllers, recorded from its
//! first boot to its shutdown while a person, `admin`, exercised it. What the API server made on its first start is the
//! baseline. What `admin` created is declared; whether Git follows what `admin` did to it later depends on the test.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod children;
mod edits;
mod recording;
mod replay;
#[path = "../support/source.rs"]
mod source;
mod system;
mod tamperings;
mod world;
