//! A stand-in for MetalLB's controller and speakers: the writes that its source makes, with its accounts and its RBAC.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use kube::Client;
use serde_json::{Value, json};

use crate::support::bypass::{get, send};
use crate::support::governed::Governed;
use crate::support::{client_for, eventually, go};

const METALLB: &str = "go.universe.tf/metallb@v0.15.2";
const MANIFESTS: &str = "config/manifests/metallb-native.yaml";

pub const CONTROLLER: &str = "system:serviceaccount:metallb-system:controller";
pub const SPEAKER: &str = "system:serviceaccount:metallb-system:speaker";

pub const SECRETS: &str = "/api/v1/namespaces/metallb-system/secrets";
pub const CERTIFICATE: &str = "/api/v1/namespaces/metallb-system/secrets/metallb-webhook-cert";
pub const MEMBERLIST: &str = "/api/v1/namespaces/metallb-system/secrets/memberlist";
pub const PODS: &str = "/api/v1/namespaces/metallb-system/pods";
pub const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/metallb-system/deployments/controller";
pub const WEBHOOKS: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/metallb-webhook-configuration";
pub const BGP_PEERS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bgppeers.metallb.io";
pub const POOLS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ipaddresspools.metallb.io";
pub const L2_STATUSES: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system/servicel2statuses";
pub const BGP_STATUSES: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system/servicebgpstatuses";
pub const WEB: &str = "/api/v1/namespaces/shop/services/web";
pub const INTERNAL: &str = "/api/v1/namespaces/shop/services/internal";

pub fn manifests() -> String {
    std::fs::read_to_string(go::module(METALLB).join(MANIFESTS)).unwrap()
}

/// An authority's certificate, as far as kube-apiserver looks at it: what it encodes has to be PEM.
fn authority() -> String {
    let certified =
        rcgen::generate_simple_self_signed(["metallb-webhook-service.metallb-system.svc".to_owned()]).unwrap();
    STANDARD.encode(certified.cert.pem())
}

pub struct MetalLb {
    pub controller: Client,
    pub speaker: Client,
    pub authority: String,
}

/// A reference as `SetOwnerReference` of controller-runtime makes it, without `controller`.
pub fn owner(api_version: &str, kind: &str, owner: &Value) -> Value {
    let metadata = &owner["metadata"];
    json!({"apiVersion": api_version, "kind": kind, "name": metadata["name"], "uid": metadata["uid"]})
}

pub async fn read(client: &Client, path: &str) -> Value {
    get(client, path).await.unwrap_or_else(|| panic!("{path} is not there"))
}

/// Gets an object, edits it and writes it back whole, as a client of Go does.
pub async fn update(client: &Client, path: &str, through: &str, edit: impl Fn(&mut Value)) {
    eventually(path, async || {
        let mut object = read(client, path).await;
        edit(&mut object);
        match send(client, Method::PUT, &format!("{path}{through}"), &object).await {
            Ok(_) => Some(()),
            // Somebody else wrote in between.
            Err(kube::Error::Api(status)) if status.code == 409 => None,
            Err(error) => panic!("PUT {path}{through}: {error}"),
        }
    })
    .await;
}

pub async fn create(client: &Client, path: &str, object: &Value) -> Value {
    send(client, Method::POST, path, object).await.unwrap_or_else(|error| panic!("POST {path}: {error}"))
}

pub async fn speakers(governed: &Governed, count: usize) -> Vec<Value> {
    eventually("the speakers", async || {
        let pods = read(&governed.client, &format!("{PODS}?labelSelector=component%3Dspeaker")).await;
        let pods = pods["items"].as_array().unwrap().clone();
        let living = pods.iter().all(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        (living && pods.len() == count).then_some(pods)
    })
    .await
}

impl MetalLb {
    pub async fn new(governed: &Governed) -> Self {
        let controller = client_for(&governed.control_plane, CONTROLLER, None).await;
        let speaker = client_for(&governed.control_plane, SPEAKER, None).await;
        Self { controller, speaker, authority: authority() }
    }

    /// `CreateMlSecret`, with which the controller begins, and ends if it is refused.
    pub async fn make_memberlist(&self) {
        let deployment = read(&self.controller, DEPLOYMENT).await;
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "data": {"secretkey": "c2VjcmV0"},
            "metadata": {"name": "memberlist", "ownerReferences": [owner("apps/v1", "Deployment", &deployment)]}});
        create(&self.controller, SECRETS, &secret).await;
    }

    /// What the rotator of certificates does, first and whenever they are about to expire.
    pub async fn rotate(&self) {
        let authority = &self.authority;
        update(&self.controller, CERTIFICATE, "", |secret| {
            secret["data"] = json!({"ca.crt": authority, "ca.key": "a2V5", "tls.crt": authority, "tls.key": "a2V5"});
        })
        .await;
        update(&self.controller, WEBHOOKS, "", |configuration| {
            for webhook in configuration["webhooks"].as_array_mut().unwrap() {
                webhook["clientConfig"]["caBundle"] = json!(authority);
            }
        })
        .await;
        update(&self.controller, BGP_PEERS, "", |definition| {
            definition["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"] = json!(authority);
        })
        .await;
    }

    /// An address for the Service: annotation and status are one write.
    pub async fn allocate(&self, address: &str, pool: &str) {
        update(&self.controller, WEB, "/status", |service| {
            service["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"] = json!(pool);
            service["status"]["loadBalancer"] = json!({"ingress": [{"ip": address, "ipMode": "VIP"}]});
        })
        .await;
        let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"generateName": "web."}, "type": "Normal",
            "reason": "IPAllocated", "message": format!("Assigned IP [\"{address}\"]"),
            "involvedObject": {"apiVersion": "v1", "kind": "Service", "namespace": "shop", "name": "web"}});
        create(&self.controller, "/api/v1/namespaces/shop/events", &event).await;
    }

    /// What a speaker says of a Service that it announces: an object, and then its status.
    pub async fn announce(&self, statuses: &str, pod: &Value) -> String {
        let status = json!({"node": "n1", "serviceName": "web", "serviceNamespace": "shop"});
        let made = create(&self.speaker, statuses, &status_object(statuses, &[owner("v1", "Pod", pod)])).await;
        let path = format!("{statuses}/{}", made["metadata"]["name"].as_str().unwrap());
        update(&self.speaker, &path, "/status", |object| object["status"] = status.clone()).await;
        path
    }
}

pub fn status_object(statuses: &str, owners: &[Value]) -> Value {
    let kind = if statuses == L2_STATUSES { "ServiceL2Status" } else { "ServiceBGPStatus" };
    json!({"apiVersion": "metallb.io/v1beta1", "kind": kind, "spec": {},
        "metadata": {"generateName": "status-", "ownerReferences": owners, "labels": {"metallb.io/node": "n1",
            "metallb.io/service-name": "web", "metallb.io/service-namespace": "shop"}}})
}
