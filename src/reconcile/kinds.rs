//! The kinds that the API server serves, each in the version that Git uses, with the list types of those in use.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kube::Client;
use tokio::sync::Mutex;

use super::discovery::{Discovery, DiscoveryError, ServedKind};
use super::openapi::{ListSchemas, OpenApiError};
use crate::object::GroupKind;
use crate::snapshot::KindInfo;

#[derive(Debug, thiserror::Error)]
pub enum KindsError {
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    #[error(transparent)]
    OpenApi(#[from] OpenApiError),
}

#[derive(Debug, Default)]
pub struct Kinds {
    /// Each kind once: in the version that Git uses, or the one of those that the API server prefers.
    served: Vec<ServedKind>,
    by_kind: HashMap<GroupKind, usize>,
    /// Kinds once more, in further versions that Git or a baseline uses.
    further: Vec<ServedKind>,
    /// Every served version of each kind, in the server's order of preference.
    versions: BTreeMap<GroupKind, Vec<String>>,
    /// Whether the list types of all kinds in use are known. A custom kind's are published a second after it is served.
    pub complete: bool,
}

impl Kinds {
    /// Asks the API server. `used` names the kinds that have desired objects, with their versions; `schemas` keeps what
    /// was learned before, so that only changed documents are read.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn read(
        client: &Client,
        schemas: &Mutex<ListSchemas>,
        used: &BTreeSet<(GroupKind, String)>,
    ) -> Result<Self, KindsError> {
        let mut kinds = Self::chosen(&Discovery::read(client).await?, used);
        let mut schemas = schemas.lock().await;
        let unpublished = schemas.learn(client, kinds.all().filter(|kind| kind.is_stored()).map(|k| &k.info)).await?;
        kinds.complete = !unpublished.iter().any(|kind| kinds.info(kind).is_some_and(|info| info.registered));
        for kind in kinds.served.iter_mut().chain(&mut kinds.further) {
            kind.info.schema = schemas.get(&kind.info).cloned().unwrap_or_default();
        }
        Ok(kinds)
    }

    /// Asks again, for the same and further kinds in use.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn refreshed(
        &self,
        client: &Client,
        schemas: &Mutex<ListSchemas>,
        used: impl Iterator<Item = (GroupKind, String)>,
    ) -> Result<Self, KindsError> {
        let known = self
            .all()
            .filter(|kind| kind.info.registered)
            .map(|kind| (GroupKind::new(&kind.info.group, &kind.info.kind), kind.info.version.clone()));
        Self::read(client, schemas, &known.chain(used).collect()).await
    }

    /// Of what is served, the versions in use.
    fn chosen(discovery: &Discovery, used: &BTreeSet<(GroupKind, String)>) -> Self {
        let mut kinds = Self::default();
        for (id, versions) in discovery.kinds() {
            let registered = used.range((id.clone(), String::new())..).next().is_some_and(|(kind, _)| kind == id);
            let in_use = |kind: &&ServedKind| used.contains(&(id.clone(), kind.info.version.clone()));
            let mut chosen: Vec<ServedKind> = versions.iter().filter(in_use).cloned().collect();
            if chosen.is_empty() {
                chosen.extend(versions.first().cloned());
            }
            for kind in &mut chosen {
                kind.info.registered = registered;
            }
            let mut chosen = chosen.into_iter();
            if let Some(first) = chosen.next() {
                kinds.by_kind.insert(id.clone(), kinds.served.len());
                kinds.served.push(first);
            }
            kinds.further.extend(chosen);
            kinds.versions.insert(id.clone(), versions.iter().map(|kind| kind.info.version.clone()).collect());
        }
        kinds
    }

    pub fn get(&self, kind: &GroupKind) -> Option<&ServedKind> {
        self.served.get(*self.by_kind.get(kind)?)
    }

    pub fn info(&self, kind: &GroupKind) -> Option<&KindInfo> {
        self.get(kind).map(|served| &served.info)
    }

    /// A kind in one of the versions in use.
    pub fn in_version(&self, kind: &GroupKind, version: &str) -> Option<&ServedKind> {
        let further = || {
            let mut further = self.further.iter().filter(|k| k.info.version == version);
            further.find(|k| k.info.group == kind.group && k.info.kind == kind.kind)
        };
        self.get(kind).filter(|served| served.info.version == version).or_else(further)
    }

    /// The served versions of a kind.
    pub fn versions(&self, kind: &GroupKind) -> &[String] {
        self.versions.get(kind).map_or(&[], Vec::as_slice)
    }

    /// Whether this is known of a kind, as far as the API server serves it.
    pub fn covers(&self, kind: &GroupKind, version: &str) -> bool {
        let is_registered = |served: Option<&ServedKind>| served.is_none_or(|served| served.info.registered);
        is_registered(self.get(kind))
            && (self.in_version(kind, version).is_some() || !self.versions(kind).iter().any(|served| served == version))
    }

    /// Each kind once.
    pub fn iter(&self) -> impl Iterator<Item = &ServedKind> {
        self.served.iter()
    }

    /// Each kind, and those once more of which further versions are in use.
    pub fn all(&self) -> impl Iterator<Item = &ServedKind> {
        self.served.iter().chain(&self.further)
    }
}

#[cfg(test)]
mod tests {
    use super::super::discovery::testing::discovery;
    use super::*;

    #[test]
    fn every_version_in_use_is_known_and_the_preferred_one_of_them_counts() {
        let hpa = GroupKind::new("autoscaling", "HorizontalPodAutoscaler");
        let chosen = |versions: &[&str]| {
            let used = versions.iter().map(|version| (hpa.clone(), (*version).to_owned())).collect();
            Kinds::chosen(&discovery(), &used)
        };
        let info = |kinds: &Kinds| kinds.info(&hpa).map(|info| (info.version.clone(), info.registered)).unwrap();
        assert_eq!(info(&chosen(&[])), ("v2".to_owned(), false));
        assert_eq!(info(&chosen(&["v1"])), ("v1".to_owned(), true));
        let both = chosen(&["v1", "v2"]);
        assert_eq!(info(&both), ("v2".to_owned(), true));
        assert!(both.in_version(&hpa, "v1").is_some_and(|kind| kind.info.registered));
        assert_eq!(both.all().count(), both.iter().count() + 1);
        assert!(both.covers(&hpa, "v1") && both.covers(&hpa, "v1beta1"), "what is not served cannot be known better");
        assert!(!chosen(&["v2"]).covers(&hpa, "v1") && !chosen(&[]).covers(&hpa, "v2"));
        assert!(chosen(&["v1beta1"]).in_version(&hpa, "v1beta1").is_none());
    }
}
