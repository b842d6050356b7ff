//! The kinds that the API server serves, each in the version that Git uses, with the list types of those in use.

use std::collections::{BTreeMap, HashMap};

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
    served: Vec<ServedKind>,
    by_kind: HashMap<GroupKind, usize>,
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
        used: impl Iterator<Item = (GroupKind, String)>,
    ) -> Result<Self, KindsError> {
        let used: BTreeMap<GroupKind, String> = used.collect();
        let discovery = Discovery::read(client).await?;
        let mut served: Vec<ServedKind> = discovery
            .preferred()
            .map(|preferred| {
                let (group, kind) = (&preferred.info.group, &preferred.info.kind);
                let version = used.get(&GroupKind::new(group, kind));
                let chosen = version.and_then(|version| discovery.with_version(group, kind, version));
                let mut served = chosen.unwrap_or(preferred).clone();
                served.info.registered = version.is_some();
                served
            })
            .collect();
        let mut schemas = schemas.lock().await;
        let stored = || served.iter().filter(|kind| kind.is_stored()).map(|kind| &kind.info);
        let unpublished = schemas.learn(client, stored()).await?;
        let complete = !unpublished.iter().any(|kind| used.contains_key(kind));
        let learned: Vec<_> = served.iter().map(|kind| schemas.get(&kind.info).cloned()).collect();
        for (kind, schema) in served.iter_mut().zip(learned) {
            kind.info.schema = schema.unwrap_or_default();
        }
        Ok(Self::new(served, complete))
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
            .served
            .iter()
            .filter(|kind| kind.info.registered)
            .map(|kind| (GroupKind::new(&kind.info.group, &kind.info.kind), kind.info.version.clone()));
        Self::read(client, schemas, known.chain(used)).await
    }

    fn new(served: Vec<ServedKind>, complete: bool) -> Self {
        let by_kind = served
            .iter()
            .enumerate()
            .map(|(index, kind)| (GroupKind::new(&kind.info.group, &kind.info.kind), index))
            .collect();
        Self { served, by_kind, complete }
    }

    pub fn get(&self, kind: &GroupKind) -> Option<&ServedKind> {
        self.served.get(*self.by_kind.get(kind)?)
    }

    pub fn info(&self, kind: &GroupKind) -> Option<&KindInfo> {
        self.get(kind).map(|served| &served.info)
    }

    pub fn iter(&self) -> impl Iterator<Item = &ServedKind> {
        self.served.iter()
    }
}
