//! Which lists are keyed, learned from the API server's OpenAPI documents.
//!
//! A group version's document can have more than a megabyte, and nearly all of it is prose. One at a time is read,
//! reduced to the list types of the kinds that are asked for, and dropped; loading all of them for good is what made
//! other admission webhooks run out of memory. The index names every document with a hash, so that a document is read
//! again only when it changed.

mod reduce;

use std::collections::{BTreeMap, BTreeSet};

use kube::Client;
use serde::Deserialize;
use thiserror::Error;

use super::refusal::Refusal;
use super::rest;
use crate::compare::ListSchema;
use crate::object::GroupKind;
use crate::snapshot::KindInfo;
pub use reduce::OpenApiDocument;

#[derive(Debug, Error)]
pub enum OpenApiError {
    #[error("cannot read the API server's OpenAPI documents: {0}")]
    Refused(#[from] Refusal),
    #[error("the OpenAPI document of {group_version} is not understood: {source}")]
    NotUnderstood { group_version: String, source: serde_json::Error },
}

/// List schemas by kind and version, kept for as long as the document that they came from does not change.
#[derive(Debug, Default)]
pub struct ListSchemas {
    documents: BTreeMap<GroupVersion, Learned>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct GroupVersion {
    group: String,
    version: String,
}

impl GroupVersion {
    fn of(kind: &KindInfo) -> Self {
        Self { group: kind.group.clone(), version: kind.version.clone() }
    }

    /// Its name in the index of documents.
    fn key(&self) -> String {
        if self.group.is_empty() {
            format!("api/{}", self.version)
        } else {
            format!("apis/{}/{}", self.group, self.version)
        }
    }
}

#[derive(Debug)]
struct Learned {
    /// URL of the document, which holds its hash.
    url: String,
    kinds: BTreeMap<String, ListSchema>,
}

impl ListSchemas {
    /// Learns the schemas of the given kinds, reading only documents that are new or changed. Returns the kinds that
    /// are served but not published yet, as a custom kind is for a second after its definition was created: ask again.
    ///
    /// # Errors
    /// A document cannot be read. What was learned before stays.
    pub async fn learn<'k>(
        &mut self,
        client: &Client,
        kinds: impl IntoIterator<Item = &'k KindInfo>,
    ) -> Result<Vec<GroupKind>, OpenApiError> {
        let mut wanted: BTreeMap<GroupVersion, BTreeSet<&str>> = BTreeMap::new();
        for kind in kinds {
            wanted.entry(GroupVersion::of(kind)).or_default().insert(&kind.kind);
        }
        let index = Index::read(client).await?;
        let mut unpublished = Vec::new();
        for (group_version, kinds) in wanted {
            let Some(entry) = index.paths.get(&group_version.key()) else {
                unpublished.extend(kinds.into_iter().map(|kind| GroupKind::new(&group_version.group, kind)));
                continue;
            };
            let learned = self.documents.get(&group_version);
            let url = &entry.server_relative_url;
            if learned.is_some_and(|l| l.url == *url && kinds.iter().all(|kind| l.kinds.contains_key(*kind))) {
                continue;
            }
            let document = read_document(client, &group_version, url).await?;
            // Also the kinds that were asked for earlier: they are still in use.
            let known =
                learned.map(|l| l.kinds.keys().map(String::as_str).collect::<BTreeSet<_>>()).unwrap_or_default();
            let mut found = BTreeMap::new();
            for kind in known.union(&kinds) {
                match document.list_schema(&group_version.group, &group_version.version, kind) {
                    Some(schema) => _ = found.insert((*kind).to_owned(), schema),
                    None if kinds.contains(kind) => unpublished.push(GroupKind::new(&group_version.group, *kind)),
                    None => {}
                }
            }
            self.documents.insert(group_version, Learned { url: url.clone(), kinds: found });
        }
        Ok(unpublished)
    }

    pub fn get(&self, kind: &KindInfo) -> Option<&ListSchema> {
        self.documents.get(&GroupVersion::of(kind))?.kinds.get(&kind.kind)
    }
}

async fn read_document(
    client: &Client,
    group_version: &GroupVersion,
    url: &str,
) -> Result<OpenApiDocument, OpenApiError> {
    // With the hash of a document that was replaced since, the server would answer with nothing but another address.
    let path = url.split_once('?').map_or(url, |(path, _)| path);
    let bytes = rest::get_bytes(client, path, "application/json").await?;
    OpenApiDocument::parse(&bytes)
        .map_err(|source| OpenApiError::NotUnderstood { group_version: group_version.key(), source })
}

#[derive(Deserialize)]
struct Index {
    paths: BTreeMap<String, IndexEntry>,
}

#[derive(Deserialize)]
struct IndexEntry {
    #[serde(rename = "serverRelativeURL")]
    server_relative_url: String,
}

impl Index {
    async fn read(client: &Client) -> Result<Self, OpenApiError> {
        let bytes = rest::get_bytes(client, "/openapi/v3", "application/json").await?;
        serde_json::from_slice(&bytes)
            .map_err(|source| OpenApiError::NotUnderstood { group_version: "the index".into(), source })
    }
}
