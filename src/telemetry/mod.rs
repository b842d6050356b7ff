//! Logs and metrics.
//!
//! Every label has few and fixed values: no name of an object, no user, no message, so that nobody outside can make the
//! number of series grow.

mod log;
mod metrics;
mod reconcile;

pub use log::{COMMANDS, LogError, LogFormat, SERVICES, causes, start_log};
pub use metrics::{AdmissionMetrics, ConnectionMetrics, SnapshotMetrics, TlsMetrics, encode, registry};
pub use reconcile::ReconcileMetrics;
