//! The steps of the story, in its order. Each does something to the cluster, says what it expects, and measures.

pub mod accounts;
pub mod admitted;
pub mod bypass;
pub mod commits;
pub mod denials;
mod drift;
pub mod enforcement;
mod state;
mod window;
