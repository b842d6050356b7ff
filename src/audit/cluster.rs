//! What an audit looks at: plain facts, so that what follows from them needs no API server.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, RuleWithOperations, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;

use super::rbac::Rbac;
use crate::api::Enforcement;
use crate::snapshot::KindInfo;

/// Where something could not be looked at there is nothing; [`Self::unseen`] says so.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    pub rbac: Rbac,
    pub validating: Option<Vec<ValidatingWebhookConfiguration>>,
    pub mutating: Vec<MutatingWebhookConfiguration>,
    pub policies: Vec<Policy>,
    pub enforcements: Option<Vec<Enforcement>>,
    /// Name → labels.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Those that matter: see [`PodFacts::matters`].
    pub pods: Vec<PodFacts>,
    /// Whether Pods of all namespaces could be listed.
    pub knows_pods: bool,
    /// Of gitadel-system.
    pub deployments: Option<Vec<Deployment>>,
    pub api_services: Vec<APIService>,
    pub definitions: Vec<CustomResourceDefinition>,
    pub nodes: usize,
    pub token_secrets: Vec<TokenSecret>,
    pub kinds: Vec<KindInfo>,
    pub proof: Proof,
    pub protection: Protection,
    pub unseen: Vec<Unseen>,
}

/// A validating or mutating admission policy.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub mutating: bool,
    pub name: String,
    pub namespaces: LabelSelector,
    pub rules: Vec<RuleWithOperations>,
    /// One without a binding does nothing.
    pub bound: bool,
}

/// A Pod that runs on more than its namespace, or with gitadel's rights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    pub namespace: String,
    pub name: String,
    /// Controller: `DaemonSet kube-proxy`.
    pub owner: Option<String>,
    pub service_account: String,
    /// The kubelet's picture of a static Pod: nobody was asked about it.
    pub mirror: bool,
    /// What gives it the node: `privileged container x`, `hostPath /`.
    pub reaches: Vec<String>,
    /// Label `component`, by which kubeadm names the Pods of the control plane.
    pub component: String,
    /// Arguments of its first container: the flags of a kube-apiserver.
    pub arguments: Vec<String>,
    /// Whether it has a token of its service account.
    pub has_token: bool,
}

/// The Secret of a token that does not expire. Its data is never read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSecret {
    pub namespace: String,
    pub name: String,
    pub account: String,
}

/// What became of a write that gitadel must reject, asked as a dry-run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// Nothing is enforced, so nothing was asked.
    #[default]
    NotAsked,
    Rejected,
    /// In this place.
    Admitted(String),
    /// The webhook cannot be called; writes are refused.
    Unreachable(String),
    /// Nothing exists yet in a governed scope.
    Nowhere,
}

/// What became of the deletion of gitadel's webhook configuration, asked as a dry-run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// A policy that no API can reach denies it.
    Rejected(String),
    Admitted,
    /// Why it could not be asked.
    Unknown(String),
}

impl Default for Protection {
    fn default() -> Self {
        Self::Unknown("there is no webhook configuration".into())
    }
}

/// Something that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unseen {
    pub what: String,
    pub reason: String,
}
