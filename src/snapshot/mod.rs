//! The desired state as one file: the only thing between the reconciler, which writes it, and the webhook, which reads it.

mod meta;

pub use meta::{DelegatedFields, KindInfo, Meta, Source};
