//! From a commit to the state of the cluster, and back to it.
//!
//! `engine` decides when a round is due and what surrounds it; `round` takes what the sources declare through the stages
//! of canonicalising, publishing and writing. Between rounds, `watch` and `observer` find what differs. Both put their work into the
//! one `queue`.

// When something has to happen.
pub mod addresses;
pub mod engine;
pub mod observer;
mod round;
pub mod watch;

// What Git declares.
mod desired;
pub mod settings;
pub mod sources;

// What it becomes in this cluster.
pub mod canonicalise;
mod canonicaliser;
pub mod environment;
mod inputs;
mod mutated;
mod mutators;
pub mod predict;

// What the cluster had before, and what left Git.
mod baseline;
mod baseline_record;
mod baseline_state;
mod history;
mod inventory;
mod inventory_record;
mod retention;

// One object at a time.
pub mod apply;
mod assess;
pub mod converge;
mod deletion;
mod finalizers;
mod going;
pub mod queue;
pub mod tracker;
mod unsettled;

// What is desired, handed to the webhook, and the webhook put in force.
pub mod governor;
pub mod publish;
pub mod serving;
pub mod settled;
pub mod snapshot_file;
pub mod terminating;
pub mod webhook_configuration;
mod world;

// Replicas among each other.
pub mod announce;
pub mod lease;
pub mod peers;
pub mod replicas;

// What is told to people, and what they tell us.
pub mod events;
pub mod probes;
pub mod receiver;
mod status;

// What the API server serves and answers.
mod definitions;
pub mod discovery;
mod kinds;
mod observed;
pub mod openapi;
pub mod refusal;
pub mod rest;
pub mod root_authorities;
