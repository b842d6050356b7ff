//! What canonical objects depend on besides their manifest.
//!
//! The API server's version, the mutators, and the objects that its built-in admission takes defaults from. When one of
//! them changes, every object has to be canonicalised anew. A mutator that nobody declared must not take part at all:
//! what it adds during a dry-run would become the law.

use futures::future::try_join_all;
use kube::Client;
use serde::Deserialize;
use thiserror::Error;

use super::refusal::Refusal;
use super::rest;
use crate::object::{GroupKind, ObjectId, ObjectRef};

#[derive(Debug, Error)]
pub enum EnvironmentError {
    #[error("cannot read what defaults depend on ({what}): {source}")]
    Refused { what: &'static str, source: Refusal },
    #[error("what defaults depend on ({what}) is not understood: {source}")]
    NotUnderstood { what: &'static str, source: serde_json::Error },
}

/// Mutators are active that are neither declared nor were there from the beginning.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "undeclared mutators are active ({}); nothing is canonicalised before they are gone or declared in Git", names(.0)
)]
pub struct MutatorActive(pub Vec<ObjectId>);

fn names(ids: &[ObjectId]) -> String {
    ids.iter().map(ObjectId::to_string).collect::<Vec<_>>().join(", ")
}

/// A state of everything that canonical objects depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Equal digests mean equal results.
    pub digest: String,
    /// `gitVersion` of the API server.
    pub server_version: String,
    /// The configured mutators.
    pub mutators: Vec<ObjectId>,
}

/// A collection of objects that takes part in defaulting.
struct Ingredient {
    group: &'static str,
    kind: &'static str,
    /// The first of these that is served; where none is, the kind does not exist in this cluster.
    paths: &'static [&'static str],
    role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Mutator,
    Source,
    /// Counts only where this annotation says that it is the default of its kind.
    Default(&'static str),
}

const ADMISSION: &str = "admissionregistration.k8s.io";

const INGREDIENTS: &[Ingredient] = &[
    Ingredient {
        group: ADMISSION,
        kind: "MutatingWebhookConfiguration",
        paths: &["/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"],
        role: Role::Mutator,
    },
    Ingredient {
        group: ADMISSION,
        kind: "MutatingAdmissionPolicy",
        paths: &[
            "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies",
            "/apis/admissionregistration.k8s.io/v1beta1/mutatingadmissionpolicies",
            "/apis/admissionregistration.k8s.io/v1alpha1/mutatingadmissionpolicies",
        ],
        role: Role::Mutator,
    },
    Ingredient {
        group: ADMISSION,
        kind: "MutatingAdmissionPolicyBinding",
        paths: &[
            "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings",
            "/apis/admissionregistration.k8s.io/v1beta1/mutatingadmissionpolicybindings",
            "/apis/admissionregistration.k8s.io/v1alpha1/mutatingadmissionpolicybindings",
        ],
        role: Role::Mutator,
    },
    Ingredient { group: "", kind: "LimitRange", paths: &["/api/v1/limitranges"], role: Role::Source },
    Ingredient {
        group: "scheduling.k8s.io",
        kind: "PriorityClass",
        paths: &["/apis/scheduling.k8s.io/v1/priorityclasses"],
        role: Role::Source,
    },
    Ingredient {
        group: "node.k8s.io",
        kind: "RuntimeClass",
        paths: &["/apis/node.k8s.io/v1/runtimeclasses"],
        role: Role::Source,
    },
    Ingredient {
        group: "networking.k8s.io",
        kind: "IngressClass",
        paths: &["/apis/networking.k8s.io/v1/ingressclasses"],
        role: Role::Default("ingressclass.kubernetes.io/is-default-class"),
    },
    Ingredient {
        group: "storage.k8s.io",
        kind: "StorageClass",
        paths: &["/apis/storage.k8s.io/v1/storageclasses"],
        role: Role::Default("storageclass.kubernetes.io/is-default-class"),
    },
];

/// Whether objects of a kind change what others write.
pub fn is_mutator(kind: &GroupKind) -> bool {
    let same = |ingredient: &&Ingredient| ingredient.group == kind.group && ingredient.kind == kind.kind;
    INGREDIENTS.iter().find(same).is_some_and(|ingredient| ingredient.role == Role::Mutator)
}

/// One object of an ingredient: its identity and what tells its states apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    id: ObjectId,
    uid: String,
    resource_version: String,
}

impl Environment {
    /// Asks the API server. Read it before and after a batch: where the two differ, the batch is void.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn read(client: &Client) -> Result<Self, EnvironmentError> {
        let version = async {
            let what = "its version";
            let bytes = rest::get_bytes(client, "/version", "application/json")
                .await
                .map_err(|source| EnvironmentError::Refused { what, source })?;
            serde_json::from_slice::<Version>(&bytes).map_err(|source| EnvironmentError::NotUnderstood { what, source })
        };
        let parts = try_join_all(INGREDIENTS.iter().map(|ingredient| ingredient.read(client)));
        let (version, parts) = futures::try_join!(version, parts)?;
        let mutators = INGREDIENTS
            .iter()
            .zip(&parts)
            .filter(|(ingredient, _)| ingredient.role == Role::Mutator)
            .flat_map(|(_, parts)| parts.iter().map(|part| part.id.clone()))
            .collect();
        Ok(Self {
            digest: digest(&version.git_version, parts.into_iter().flatten()),
            server_version: version.git_version,
            mutators,
        })
    }

    /// The mutators that are neither declared nor of the baseline.
    pub fn undeclared_mutators(&self, is_declared: impl Fn(ObjectRef<'_>) -> bool) -> Vec<ObjectId> {
        self.mutators.iter().filter(|id| !is_declared(id.as_ref())).cloned().collect()
    }

    /// Without mutators the server's defaults follow from the form of a manifest, and can be predicted.
    pub fn is_predictable(&self) -> bool {
        self.mutators.is_empty()
    }
}

fn digest(server_version: &str, parts: impl Iterator<Item = Part>) -> String {
    let mut parts: Vec<Part> = parts.collect();
    parts.sort();
    let mut hasher = blake3::Hasher::new();
    hasher.update(server_version.as_bytes());
    for part in parts {
        // Zero bytes occur in none of these, so that no two lists give the same bytes.
        hasher.update(format!("\0{}\0{}\0{}", part.id, part.uid, part.resource_version).as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

impl Ingredient {
    async fn read(&self, client: &Client) -> Result<Vec<Part>, EnvironmentError> {
        const ACCEPT: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        let what = self.kind;
        for path in self.paths {
            match rest::get_bytes(client, path, ACCEPT).await {
                Ok(bytes) => {
                    let list = serde_json::from_slice(&bytes)
                        .map_err(|source| EnvironmentError::NotUnderstood { what, source })?;
                    return Ok(self.parts(list));
                }
                Err(Refusal::KindAbsent) => {}
                Err(source) => return Err(EnvironmentError::Refused { what, source }),
            }
        }
        Ok(Vec::new())
    }

    fn parts(&self, list: MetadataList) -> Vec<Part> {
        let counts = |metadata: &Metadata| match self.role {
            Role::Default(annotation) => metadata.annotations.get(annotation).is_some_and(|value| value == "true"),
            Role::Mutator | Role::Source => true,
        };
        list.items
            .into_iter()
            .flatten()
            .map(|item| item.metadata)
            .filter(counts)
            .map(|metadata| Part {
                id: ObjectId::new(self.group, self.kind, metadata.namespace, metadata.name),
                uid: metadata.uid,
                resource_version: metadata.resource_version,
            })
            .collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    git_version: String,
}

#[derive(Deserialize)]
struct MetadataList {
    /// `null` in an empty list.
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    resource_version: String,
    annotations: std::collections::BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn part(name: &str, resource_version: &str) -> Part {
        Part {
            id: ObjectId::new(ADMISSION, "MutatingWebhookConfiguration", "", name),
            uid: "u".into(),
            resource_version: resource_version.into(),
        }
    }

    #[test]
    fn the_digest_changes_with_every_part_and_not_with_their_order() {
        let base = digest("v1.36.3", [part("a", "1"), part("b", "2")].into_iter());
        assert_eq!(base, digest("v1.36.3", [part("b", "2"), part("a", "1")].into_iter()));
        for other in [
            digest("v1.36.4", [part("a", "1"), part("b", "2")].into_iter()),
            digest("v1.36.3", [part("a", "1"), part("b", "3")].into_iter()),
            digest("v1.36.3", [part("a", "1")].into_iter()),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn only_the_default_class_counts() {
        let ingredient = INGREDIENTS.iter().find(|i| i.kind == "IngressClass").unwrap();
        let list = json!({"items": [
            {"metadata": {"name": "nginx", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}},
            {"metadata": {"name": "other", "annotations": {"ingressclass.kubernetes.io/is-default-class": "false"}}},
            {"metadata": {"name": "plain"}},
        ]});
        let parts = ingredient.parts(serde_json::from_value(list).unwrap());
        assert_eq!(parts.iter().map(|part| part.id.name.as_str()).collect::<Vec<_>>(), ["nginx"]);
        assert!(ingredient.parts(serde_json::from_value(json!({"items": null})).unwrap()).is_empty());
    }

    #[test]
    fn an_undeclared_mutator_forbids_canonicalising() {
        let environment = Environment {
            digest: String::new(),
            server_version: String::new(),
            mutators: vec![part("istio", "1").id, part("rogue", "1").id],
        };
        let refused = MutatorActive(environment.undeclared_mutators(|id| id.name == "istio"));
        assert_eq!(refused.0, [part("rogue", "1").id]);
        assert!(refused.to_string().contains("MutatingWebhookConfiguration.admissionregistration.k8s.io rogue"));
        assert!(environment.undeclared_mutators(|_| true).is_empty());
        assert!(!environment.is_predictable());
    }
}
