//! Serving certificates.

pub mod authorities;
pub mod directory;
pub mod issue;
