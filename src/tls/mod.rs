//! Serving certificates.

pub mod issue;
