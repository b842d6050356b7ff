//! gitadel's own `ValidatingWebhookConfiguration`: what it says, and that it stays so.
//!
//! The API server asks no webhook about webhook configurations. So nothing can reject a change of this object: it is
//! computed ([`mod@generate`]), watched and put back at once ([`guard`]), and then proven to be in force ([`canary`]).

pub mod canary;
mod canary_place;
pub mod generate;
pub mod guard;
pub mod likeness;
mod provisional;
pub mod scope;
mod standing;
#[cfg(test)]
pub(crate) mod testing;
mod wanted;

pub use canary::{Attempt, Canary, CanaryError, prove_enforcing, rehearse};
pub use canary_place::{Place, places};
pub use generate::{ClientTarget, Desired, generate, is_in_force};
pub use guard::{Guard, GuardEvent};
pub use likeness::{is_alike, served};
pub use standing::Cause;
pub use wanted::{Extent, Wanted};

/// Name of the configuration.
pub const NAME: &str = "gitadel";
