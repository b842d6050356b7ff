//! What must be in force, as far as a replica knows.
//!
//! After a restart it may know less than what is installed: Git cannot be read, or its volume was lost. Then it adds what
//! is missing, and writes nothing against what another replica installed who knew more.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;

use super::is_in_force;
use super::likeness::{Served, is_alike};

/// How far this replica knows what must be in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// As an earlier process left it: another replica may have written a newer one. Only where there is none.
    Remembered,
    /// What is governed is known, but perhaps not with which kinds.
    Governed,
    /// All of it.
    Whole,
}

/// The configuration that must be in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub configuration: ValidatingWebhookConfiguration,
    pub served: Served,
    pub extent: Extent,
}

impl Wanted {
    /// Whether a stored configuration does what it should. Only the leader, and only when it knows everything, holds it
    /// to the letter: a replica that knows less than what is installed loosens nothing, and writes nothing against it.
    pub(super) fn is_met_by(&self, live: &ValidatingWebhookConfiguration, leader: bool) -> bool {
        let is_empty =
            |configuration: &ValidatingWebhookConfiguration| configuration.webhooks.iter().flatten().next().is_none();
        match self.extent {
            _ if is_in_force(live, &self.configuration) => true,
            Extent::Remembered => !is_empty(live) || is_empty(&self.configuration),
            Extent::Governed => is_alike(live, &self.configuration, &self.served),
            Extent::Whole => !leader && is_alike(live, &self.configuration, &self.served),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::admissionregistration::v1::ValidatingWebhook;

    use super::*;

    fn configuration(label: &str, entries: usize) -> ValidatingWebhookConfiguration {
        let mut configuration = ValidatingWebhookConfiguration {
            webhooks: Some(vec![ValidatingWebhook::default(); entries]),
            ..ValidatingWebhookConfiguration::default()
        };
        configuration.metadata.labels = Some([("a".to_owned(), label.to_owned())].into());
        configuration
    }

    #[test]
    fn what_is_remembered_comes_back_only_where_there_is_nothing() {
        let wanted = |entries| Wanted {
            configuration: configuration("old", entries),
            served: Served::default(),
            extent: Extent::Remembered,
        };
        assert!(wanted(1).is_met_by(&configuration("new", 1), true));
        assert!(!wanted(1).is_met_by(&configuration("old", 0), true), "emptied");
        assert!(wanted(0).is_met_by(&configuration("new", 0), true));
    }
}
