//! Serving certificates.

pub mod authorities;
pub mod directory;
pub mod issue;
mod reload;

pub use reload::{ServingCertificate, TlsError};
