//! Where it is not known yet what Git declares.
//!
//! Nothing undeclared is removed from there: what this process does not know yet, another may just have applied. Only a
//! source that governs a place can declare what is in it, so one that cannot be read holds back nobody but itself.

use std::sync::{PoisonError, RwLock};

use crate::object::ObjectId;
use crate::snapshot::Source;

/// The sources that this process did not read and bring about since it leads: all of them before it knows any.
#[derive(Default)]
pub struct Unsettled(RwLock<Option<Vec<Source>>>);

impl Unsettled {
    pub fn replace(&self, sources: Vec<Source>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(sources);
    }

    /// Nothing is known any more.
    pub fn begin_anew(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether a source that is yet to be read may declare an object.
    pub fn holds(&self, id: &ObjectId) -> bool {
        let sources = self.0.read().unwrap_or_else(PoisonError::into_inner);
        sources.as_ref().is_none_or(|sources| {
            sources.iter().any(|source| source.governs(&id.kind.group, &id.kind.kind, &id.namespace, &id.name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::webhook_configuration::testing::source;
    use super::*;
    use crate::api::Scope;

    #[test]
    fn a_source_holds_back_its_own_scope_only() {
        let in_namespace = |namespace: &str| ObjectId::new("", "ConfigMap", namespace, "c");
        let unsettled = Unsettled::default();
        assert!(unsettled.holds(&in_namespace("shop")), "nothing is known yet");
        let unread = source("bank", Scope { namespaces: Some(vec!["bank".into()]), ..Scope::default() });
        unsettled.replace(vec![unread]);
        assert!(unsettled.holds(&in_namespace("bank")) && !unsettled.holds(&in_namespace("shop")));
        unsettled.replace(Vec::new());
        assert!(!unsettled.holds(&in_namespace("bank")));
        unsettled.begin_anew();
        assert!(unsettled.holds(&in_namespace("shop")));
    }
}
