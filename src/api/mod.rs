//! The user's interface: the `Enforcement` custom resource, its status, and its conditions.

mod conditions;
mod enforcement;
mod scope;

pub use conditions::{ConditionType, Reason, set_condition};
pub use enforcement::*;

/// API group of everything that gitadel defines.
pub const GROUP: &str = "gitadel.dev";
/// Field manager and name prefix of everything that gitadel writes.
pub const MANAGER: &str = "gitadel";
/// Where gitadel's own objects live.
pub const SYSTEM_NAMESPACE: &str = "gitadel-system";
/// Declared in Git, allows delete-and-create where a field cannot be changed in place.
pub const RECREATE_ANNOTATION: &str = "gitadel.dev/recreate";
/// Declared in Git, `false` keeps an object in the cluster after it left Git.
pub const PRUNE_ANNOTATION: &str = "gitadel.dev/prune";
