//! From a commit to the state of the cluster, and back to it.

pub mod apply;
pub mod canonicalise;
pub mod discovery;
pub mod environment;
pub mod lease;
pub mod openapi;
pub mod predict;
pub mod refusal;
pub mod replicas;
pub mod rest;
pub mod webhook_configuration;
