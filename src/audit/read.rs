//! Reads the facts from a live cluster. The data of Secrets is never asked for.

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Secret};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{ListParams, ObjectList, PartialObjectMeta};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cluster::{Cluster, PodFacts, Policy, Proof, TokenSecret, Unseen};
use super::probe;
use super::rbac::Rbac;
use crate::api::{Enforcement, SYSTEM_NAMESPACE};
use crate::reconcile::discovery::{Discovery, DiscoveryError};
use crate::reconcile::rest;

/// Bounds what the API server and this process hold at once.
const PAGE: u32 = 500;
const ADMISSION: &str = "admissionregistration.k8s.io";
const TOKEN_SECRETS: &str = "type=kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";

/// Reads everything that an audit looks at. What the caller may not list is noted.
///
/// # Errors
/// The API server does not answer at all.
pub async fn read(client: &Client) -> Result<Cluster, DiscoveryError> {
    let discovery = Discovery::read(client).await?;
    let mut reader = Reader { client, unseen: Vec::new() };
    let rbac = Rbac {
        cluster_roles: reader.all::<ClusterRole>("ClusterRoles").await,
        roles: reader.all::<Role>("Roles").await,
        cluster_role_bindings: reader.all::<ClusterRoleBinding>("ClusterRoleBindings").await,
        role_bindings: reader.all::<RoleBinding>("RoleBindings").await,
    };
    let validating = reader.seen::<ValidatingWebhookConfiguration>("ValidatingWebhookConfigurations").await;
    let mutating = reader.all::<MutatingWebhookConfiguration>("MutatingWebhookConfigurations").await;
    let mut policies = reader.policies(&discovery, "ValidatingAdmissionPolicy").await;
    policies.extend(reader.policies(&discovery, "MutatingAdmissionPolicy").await);
    let enforcements = reader.enforcements().await;
    let namespaces = reader.each(Api::<Namespace>::all(client.clone()), "Namespaces", name_and_labels).await;
    let pods = reader.pods().await;
    let deployments = Api::<Deployment>::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let deployments = reader.each(deployments, "Deployments in gitadel-system", Some).await;
    let nodes = reader.each(Api::<Node>::all(client.clone()), "Nodes", |_| Some(())).await;
    let mut cluster = Cluster {
        rbac,
        validating,
        mutating,
        policies,
        enforcements,
        namespaces: namespaces.unwrap_or_default().into_iter().collect(),
        knows_pods: pods.is_some(),
        pods: pods.unwrap_or_default(),
        deployments,
        api_services: reader.all::<APIService>("APIServices").await,
        definitions: reader.definitions().await,
        nodes: nodes.unwrap_or_default().len(),
        token_secrets: reader.token_secrets().await,
        kinds: discovery.kinds().flat_map(|(_, versions)| versions).map(|served| served.info.clone()).collect(),
        ..Cluster::default()
    };
    cluster.unseen = reader.unseen;
    match probe::proof(client, &cluster).await {
        Ok(proof) => cluster.proof = proof,
        Err(reason) => cluster.unseen.push(Unseen { what: "whether admission is in force".into(), reason }),
    }
    // A webhook that is not asked needs no protection.
    if cluster.proof != Proof::NotAsked {
        cluster.protection = probe::protection(client).await;
    }
    cluster.unseen.sort();
    Ok(cluster)
}

struct Reader<'a> {
    client: &'a Client,
    unseen: Vec<Unseen>,
}

impl Reader<'_> {
    fn not_seen(&mut self, what: &str, error: &dyn std::fmt::Display) {
        self.unseen.push(Unseen { what: what.to_owned(), reason: error.to_string() });
    }

    /// All objects of a kind, one page after the other, reduced to what matters.
    async fn each<K, T>(&mut self, api: Api<K>, what: &str, reduce: impl Fn(K) -> Option<T>) -> Option<Vec<T>>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        let api = &api;
        let page = async |params: ListParams| api.list(&params).await;
        self.pages(what, ListParams::default(), page, reduce).await
    }

    async fn pages<K: Clone, T>(
        &mut self,
        what: &str,
        params: ListParams,
        page: impl AsyncFn(ListParams) -> kube::Result<ObjectList<K>>,
        reduce: impl Fn(K) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut params = params.limit(PAGE);
        let mut found = Vec::new();
        loop {
            match page(params.clone()).await {
                Ok(page) => {
                    found.extend(page.items.into_iter().filter_map(&reduce));
                    match page.metadata.continue_.filter(|token| !token.is_empty()) {
                        Some(token) => params = params.continue_token(&token),
                        None => return Some(found),
                    }
                }
                Err(error) => {
                    self.not_seen(what, &error);
                    return None;
                }
            }
        }
    }

    async fn seen<K>(&mut self, what: &str) -> Option<Vec<K>>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        self.each(Api::<K>::all(self.client.clone()), what, Some).await
    }

    async fn all<K>(&mut self, what: &str) -> Vec<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        self.seen(what).await.unwrap_or_default()
    }

    async fn pods(&mut self) -> Option<Vec<PodFacts>> {
        let api = Api::<Pod>::all(self.client.clone());
        let ended = |pod: &Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            matches!(phase, Some("Succeeded" | "Failed"))
        };
        self.each(api, "Pods", |pod| Some(PodFacts::from(&pod)).filter(|facts| facts.matters() && !ended(&pod))).await
    }

    /// Where the definition of Enforcement is missing there are none.
    async fn enforcements(&mut self) -> Option<Vec<Enforcement>> {
        match Api::<Enforcement>::all(self.client.clone()).list(&ListParams::default()).await {
            Ok(list) => Some(list.items),
            Err(kube::Error::Api(status)) if status.is_not_found() => Some(Vec::new()),
            Err(error) => {
                self.not_seen("Enforcements", &error);
                None
            }
        }
    }

    /// Definitions whose objects a webhook converts.
    async fn definitions(&mut self) -> Vec<CustomResourceDefinition> {
        let api = Api::<CustomResourceDefinition>::all(self.client.clone());
        let converted = |definition: &CustomResourceDefinition| {
            definition.spec.conversion.as_ref().is_some_and(|conversion| conversion.strategy == "Webhook")
        };
        let found = self.each(api, "CustomResourceDefinitions", |definition| Some(definition).filter(converted)).await;
        found.unwrap_or_default()
    }

    async fn token_secrets(&mut self) -> Vec<TokenSecret> {
        let api = &Api::<Secret>::all(self.client.clone());
        let page = async |params: ListParams| api.list_metadata(&params).await;
        let token = |secret: PartialObjectMeta<Secret>| {
            let metadata = secret.metadata;
            Some(TokenSecret {
                namespace: metadata.namespace?,
                name: metadata.name?,
                account: metadata.annotations.unwrap_or_default().remove(ACCOUNT_NAME).unwrap_or_default(),
            })
        };
        let what = "Secrets with tokens of service accounts (their metadata)";
        self.pages(what, ListParams::default().fields(TOKEN_SECRETS), page, token).await.unwrap_or_default()
    }

    /// In whichever version they are served; older clusters have no mutating ones.
    async fn policies(&mut self, discovery: &Discovery, kind: &str) -> Vec<Policy> {
        let Some(policies) = self.items(discovery, kind).await else { return Vec::new() };
        let Some(bindings) = self.items(discovery, &format!("{kind}Binding")).await else { return Vec::new() };
        let bound = |name: &str| bindings.iter().any(|binding| binding["spec"]["policyName"] == name);
        let policy = |object: Value| {
            let name = object["metadata"]["name"].as_str()?.to_owned();
            let constraints = &object["spec"]["matchConstraints"];
            Some(Policy {
                mutating: kind.starts_with("Mutating"),
                namespaces: serde_json::from_value(constraints["namespaceSelector"].clone()).unwrap_or_default(),
                rules: serde_json::from_value(constraints["resourceRules"].clone()).unwrap_or_default(),
                bound: bound(&name),
                name,
            })
        };
        policies.into_iter().filter_map(policy).collect()
    }

    async fn items(&mut self, discovery: &Discovery, kind: &str) -> Option<Vec<Value>> {
        let info = &discovery.get(ADMISSION, kind)?.info;
        let path = rest::collection_path(info, "");
        let answer = match rest::get_bytes(self.client, &path, "application/json").await {
            Ok(bytes) => serde_json::from_slice::<Value>(&bytes).map_err(|error| error.to_string()),
            Err(refusal) => Err(refusal.to_string()),
        };
        match answer {
            Ok(mut list) => match list["items"].take() {
                Value::Array(items) => Some(items),
                _ => Some(Vec::new()),
            },
            Err(reason) => {
                self.not_seen(&info.resource, &reason);
                None
            }
        }
    }
}

fn name_and_labels(namespace: Namespace) -> Option<(String, BTreeMap<String, String>)> {
    Some((namespace.metadata.name?, namespace.metadata.labels.unwrap_or_default()))
}
