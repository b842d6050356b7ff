//! What Kubernetes' own components write, as data.
//!
//! Taken from a census of every write that a 1.36 cluster makes of itself. Each row names one component and exactly the
//! paths that it was seen to write; nothing is granted to "the system" as a whole. Eight tables:
//!
//! - [`allotted`]: values that the server sets once and that are frozen afterwards;
//! - [`delegated`]: fields that a component keeps in any object of a kind, declared or not;
//! - [`writers`]: who makes, changes and removes the objects that follow from others;
//! - [`may_own`]: which kinds of objects they make for which;
//! - [`is_bootstrap_policy`]: the roles and bindings that an API server makes for itself;
//! - [`is_flow_control`]: its own flow control;
//! - [`CONDITION_TAINTS`]: the taints by which it says a node's condition;
//! - [`status_keepers`]: who keeps the status that others act on.

use std::collections::HashMap;

mod allotted;
mod bootstrap_policy;
mod children;
mod condition_taints;
mod delegations;
mod flow_control;
mod identity;
mod statuses;
mod writers;

pub use allotted::allotted;
pub use bootstrap_policy::{bootstrap_policy, is_bootstrap_policy};
pub use children::may_own;
pub use condition_taints::{CONDITION_TAINTS, is_condition_taint, may_be_taken_away};
pub use delegations::{BuiltinDelegation, Through, delegated, free_for_repair, has_finalizer};
pub use flow_control::{drops_flow_control, is_flow_control};
pub use identity::{CONTROLLERS, Identity};
pub use statuses::status_keepers;
#[cfg(test)]
pub use statuses::with_kept_status;
pub use writers::{Change, Deletes, Writer, clears_nodes, writers};

/// group → kind or resource → rows. Two levels, so that a look-up needs no owned key.
struct Table<T>(HashMap<&'static str, HashMap<&'static str, Vec<T>>>);

impl<T> Table<T> {
    fn new(rows: impl Iterator<Item = (&'static str, &'static str, T)>) -> Self {
        let mut table: HashMap<_, HashMap<_, Vec<T>>> = HashMap::new();
        for (group, name, row) in rows {
            table.entry(group).or_default().entry(name).or_default().push(row);
        }
        Self(table)
    }

    fn rows(&self, group: &str, name: &str) -> &[T] {
        self.0.get(group).and_then(|names| names.get(name)).map_or(&[], Vec::as_slice)
    }
}
