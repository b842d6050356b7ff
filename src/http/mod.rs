//! What the processes' plain HTTP listeners share: how connections are taken and how answers look.

mod plain;
pub mod respond;

pub use plain::PlainServer;
