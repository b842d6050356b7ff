//! What Kubernetes' own components really write, judged: none of it may be denied.
//!
//! `data/reviews.jsonl.gz` holds the distinct reviews of a 1.36 cluster with all of its controllers, recorded from its
//! first boot to its shutdown while a person, `admin`, exercised it. What the API server made on its first start is the
//! baseline; what `admin` had created and not yet deleted is declared when a write is judged.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod children;
mod recording;
mod replay;
#[path = "../support/source.rs"]
mod source;
mod system;
mod tamperings;
mod world;
