//! How far the baseline of an Enforcement is.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::baseline::Baseline;
use crate::api::Action;
use crate::object::GroupKind;

/// What is known of the baseline of one Enforcement.
#[derive(Clone, Default)]
pub enum BaselineState {
    #[default]
    Unknown,
    /// The cluster holds no record.
    Missing,
    /// The same, and nothing undeclared is let in until the leader has recorded what is there.
    Frozen,
    /// The same, where nothing is enforced: so many objects were there when this process first looked. What comes later
    /// is told of, and becomes part of the baseline all the same when enforcement begins.
    Observed(u32),
    Recorded(Arc<Baseline>),
}

impl BaselineState {
    pub fn is_recorded(&self) -> bool {
        matches!(self, Self::Recorded(_))
    }

    /// Whether it could not be found out yet if there is a record.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// Whether what is undeclared is told from what was there.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Frozen | Self::Observed(_) | Self::Recorded(_))
    }

    pub fn len(&self) -> u32 {
        match self {
            Self::Recorded(baseline) => baseline.len(),
            Self::Observed(objects) => *objects,
            Self::Unknown | Self::Missing | Self::Frozen => 0,
        }
    }

    /// What was only looked at is no baseline to enforce by, and what was recorded is none to look at: when enforcement
    /// begins again, what is there then is recorded.
    #[must_use]
    pub fn under(self, action: Action) -> Self {
        match (self, action) {
            (Self::Observed(_), Action::Enforce) => Self::Missing,
            (Self::Observed(objects), Action::Observe | Action::Warn) => Self::Observed(objects),
            (_, Action::Observe | Action::Warn) => Self::Missing,
            (state, Action::Enforce) => state,
        }
    }

    /// The kinds in the baseline, with their versions.
    pub fn kinds(&self) -> BTreeSet<(GroupKind, String)> {
        let Self::Recorded(baseline) = self else { return BTreeSet::new() };
        baseline
            .objects
            .iter()
            .map(|(id, object)| {
                let api_version = object["apiVersion"].as_str().unwrap_or_default();
                let version = api_version.rsplit('/').next().unwrap_or_default();
                (id.kind.clone(), version.to_owned())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::BaselineState::{Frozen, Missing, Observed, Recorded};
    use super::*;

    #[test]
    fn what_is_recorded_counts_where_it_is_enforced() {
        let recorded = || Recorded(Arc::default());
        let cases = [
            (Observed(3), Action::Enforce, false),
            (Observed(3), Action::Warn, true),
            (Frozen, Action::Enforce, true),
            (Frozen, Action::Observe, false),
            (recorded(), Action::Enforce, true),
            (recorded(), Action::Observe, false),
            (Missing, Action::Enforce, false),
        ];
        for (number, (state, action, closed)) in cases.into_iter().enumerate() {
            assert_eq!(state.under(action).is_closed(), closed, "case {number}");
        }
    }
}
