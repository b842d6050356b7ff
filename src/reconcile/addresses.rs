//! Looks at where the slices of governed Services lead.
//!
//! The webhook takes an address for that of the Pod which it is said to be of: asking for the Pod would race the kubelet,
//! which may have told its address this very moment. Here the Pods are asked, some time later. By then
//! endpointslice-controller has put right what it knows of, so an address that is twice in a row that of none of the
//! Service's Pods was put there in its name. The webhook is told of it, so that anybody may take it out, and it is taken
//! out as any drift is.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio_util::time::DelayQueue;

use super::observer::Observer;
use super::publish::{Edit, PublishError, Publisher};
use super::world::World;
use crate::admission::endpoints::{MANAGED_BY, OF_SERVICES, SERVICE_LABEL};
use crate::document::Node;
use crate::object::{ObjectId, ObjectRef};
use crate::snapshot::{Meta, Misdirected, SnapshotError};

/// Between a change of a slice and the first look at it, and between the first look and the second. The controller
/// needs about a second.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceName {
    pub namespace: String,
    pub name: String,
}

/// Addresses, by the names of the slices that they are in.
type BySlice = BTreeMap<String, BTreeSet<String>>;

#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("the Pods or the slices of a Service cannot be listed: {0}")]
    List(#[from] kube::Error),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// The Service whose Pods a live slice has to lead to, where that is to be looked at.
pub fn to_look_at(world: &World, id: &ObjectId, slice: Node<'_>) -> Option<ServiceName> {
    if (id.kind.group.as_str(), id.kind.kind.as_str()) != ("discovery.k8s.io", "EndpointSlice") {
        return None;
    }
    let label = |key| slice.at(&["metadata", "labels", key]).and_then(Node::as_str);
    let service = label(SERVICE_LABEL).filter(|_| label(MANAGED_BY) == Some(OF_SERVICES))?;
    let service = ServiceName { namespace: id.namespace.clone(), name: service.to_owned() };
    matches!(selector(world, &service), Ok(Some(_))).then_some(service)
}

/// Looks at the slices of these Services while this replica leads. Runs until the sender is gone.
pub async fn follow(
    client: Client,
    observer: Arc<Observer>,
    mut leader: watch::Receiver<bool>,
    mut services: mpsc::UnboundedReceiver<ServiceName>,
) {
    // What the look before found, by the Services that are to be looked at.
    let mut before: BTreeMap<ServiceName, BySlice> = BTreeMap::new();
    let mut looks: DelayQueue<ServiceName> = DelayQueue::new();
    loop {
        let leads = *leader.borrow_and_update();
        tokio::select! {
            service = services.recv() => {
                let Some(service) = service else { return };
                if let Entry::Vacant(unknown) = before.entry(service.clone()) {
                    unknown.insert(BySlice::new());
                    looks.insert(service, PATIENCE);
                }
            }
            changed = leader.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            Some(due) = looks.next(), if leads => {
                let service = due.into_inner();
                let known = before.remove(&service).unwrap_or_default();
                let found = match look(&client, &observer, &service, &known).await {
                    Ok(found) if found.is_empty() || found == known => continue,
                    Ok(found) => found,
                    Err(error) => {
                        let ServiceName { namespace, name } = &service;
                        tracing::warn!(namespace, name, %error, "where a Service leads is looked at again");
                        known
                    }
                };
                before.insert(service.clone(), found);
                looks.insert(service, PATIENCE);
            }
        }
    }
}

/// What leads astray now. What did so before, too, is published and put right.
async fn look(
    client: &Client,
    observer: &Observer,
    service: &ServiceName,
    before: &BySlice,
) -> Result<BySlice, LookError> {
    let world = observer.publisher.world();
    let Some(selector) = selector(&world, service)? else { return Ok(BySlice::new()) };
    let kept = format!("{SERVICE_LABEL}={},{MANAGED_BY}={OF_SERVICES}", service.name);
    let slices: Vec<EndpointSlice> = list(client, &service.namespace, &kept).await?;
    // Read after the slices: a Pod whose address is in them was there before.
    let pods: Vec<Pod> = list(client, &service.namespace, &selector).await?;
    let found = astray(&slices, &pods);
    let confirmed = in_both(&found, before);
    let astray = confirmed.iter().map(|(slice, addresses)| Misdirected {
        slice: ObjectId::new("discovery.k8s.io", "EndpointSlice", &service.namespace, slice),
        service: service.name.clone(),
        to: addresses.clone(),
    });
    let astray: Vec<_> = astray.collect();
    publish(&observer.publisher, service, &astray).await?;
    for Misdirected { slice, to, .. } in astray {
        observer.misdirected(slice, &to.into_iter().collect::<Vec<_>>().join(", "));
    }
    Ok(found)
}

async fn list<K>(client: &Client, namespace: &str, labels: &str) -> Result<Vec<K>, kube::Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let api = Api::<K>::namespaced(client.clone(), namespace);
    Ok(api.list(&ListParams::default().labels(labels)).await?.items)
}

/// Tells the webhook what leads astray in the slices of a Service.
async fn publish(publisher: &Publisher, service: &ServiceName, astray: &[Misdirected]) -> Result<(), PublishError> {
    let change = |_: &World, meta: &mut Meta| {
        let is_of = |known: &Misdirected| known.slice.namespace == service.namespace && known.service == service.name;
        let is_known = meta.misdirected.iter().filter(|known| is_of(known)).eq(astray);
        meta.misdirected.retain(|known| !is_of(known));
        meta.misdirected.extend_from_slice(astray);
        (!is_known).then(Edit::default)
    };
    publisher.publish(change).await.map(|_| ())
}

/// What a governed Service selects its Pods by, as a query; nothing where it has no selector or is not governed.
fn selector(world: &World, service: &ServiceName) -> Result<Option<String>, SnapshotError> {
    let ServiceName { namespace, name } = service;
    let entry = world.entry(ObjectRef { group: "", kind: "Service", namespace, name })?;
    let selector = entry.and_then(|entry| entry.canonical()?.at(&["spec", "selector"])?.map());
    let labels = selector.into_iter().flat_map(|selector| selector.iter());
    let labels: Vec<_> = labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    Ok((!labels.is_empty()).then(|| labels.join(",")))
}

/// The addresses in slices that none of the Pods has.
fn astray(slices: &[EndpointSlice], pods: &[Pod]) -> BySlice {
    let known: BTreeSet<&str> = pods.iter().flat_map(addresses).collect();
    let of_slice = |slice: &EndpointSlice| -> BTreeSet<String> {
        let endpoints = slice.endpoints.iter().flatten();
        let addresses = endpoints.flat_map(|endpoint| &endpoint.addresses);
        addresses.filter(|address| !known.contains(address.as_str())).cloned().collect()
    };
    let found = slices.iter().map(|slice| (slice.name_any(), of_slice(slice)));
    found.filter(|(_, addresses)| !addresses.is_empty()).collect()
}

fn addresses(pod: &Pod) -> impl Iterator<Item = &str> {
    let status = pod.status.iter();
    status.flat_map(|status| {
        let all = status.pod_ips.iter().flatten().map(|address| address.ip.as_str());
        all.chain(status.pod_ip.as_deref())
    })
}

fn in_both(now: &BySlice, before: &BySlice) -> BySlice {
    let both = now.iter().filter_map(|(slice, addresses)| {
        let both: BTreeSet<_> = addresses.intersection(before.get(slice)?).cloned().collect();
        (!both.is_empty()).then(|| (slice.clone(), both))
    });
    both.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn slice(name: &str, addresses: &[&str]) -> EndpointSlice {
        let endpoints: Vec<_> = addresses.iter().map(|address| json!({"addresses": [address]})).collect();
        let slice = json!({"metadata": {"name": name}, "addressType": "IPv4", "endpoints": endpoints});
        serde_json::from_value(slice).unwrap()
    }

    fn found(of: &[(&str, &[&str])]) -> BySlice {
        let set = |addresses: &[&str]| addresses.iter().map(|address| (*address).to_owned()).collect();
        of.iter().map(|(slice, addresses)| ((*slice).to_owned(), set(addresses))).collect()
    }

    #[test]
    fn an_address_is_one_of_a_pods() {
        let pods: Vec<Pod> = [
            json!({"status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}}),
            json!({"status": {"podIP": "10.0.0.2"}}),
            json!({"status": {}}),
        ]
        .map(|pod| serde_json::from_value(pod).unwrap())
        .into();
        let slices = [
            slice("v4", &["10.0.0.1", "6.6.6.6", "10.0.0.2"]),
            slice("v6", &["fd00::1"]),
            slice("empty", &[]),
            slice("gone", &["10.0.0.3"]),
        ];
        assert_eq!(astray(&slices, &pods), found(&[("v4", &["6.6.6.6"]), ("gone", &["10.0.0.3"])]));
    }

    #[test]
    fn what_is_seen_once_may_be_on_its_way() {
        let before = found(&[("a", &["1", "2"]), ("b", &["3"])]);
        let now = found(&[("a", &["2", "4"]), ("c", &["3"])]);
        assert_eq!(in_both(&now, &before), found(&[("a", &["2"])]));
    }
}
