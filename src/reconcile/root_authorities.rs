//! The authorities that vouch for the API server: what `kube-root-ca.crt` has to hold in every namespace.
//!
//! This process knows some from its own credentials, the cluster publishes some in each namespace. Where the two are the
//! same, nobody can have altered them, and every namespace is held to them. Where they differ, nothing is known: the API
//! server may be reached by way of another that has a certificate of its own, or the cluster is about to change them.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};

use super::publish::{Edit, PublishError, Publisher};
use crate::tls::authorities;

const NAME: &str = "kube-root-ca.crt";
const NAMESPACE: &str = "kube-system";

/// Certificates in one layout and order.
fn in_order(pem: &str) -> String {
    authorities::split(pem).into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

/// Tells the webhook as soon as the cluster publishes what this process trusts, and follows it for ever. What an earlier process found counts
/// as long as this one trusts the same.
pub async fn learn(client: Client, publisher: Arc<Publisher>, trusted: String) {
    let trusted = in_order(&trusted);
    if publisher.world().snapshot.meta().root_authorities != trusted {
        tell(&publisher, String::new()).await;
    }
    let named = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
    let events = watcher(Api::<ConfigMap>::namespaced(client, NAMESPACE), named).default_backoff().applied_objects();
    pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(published) if in_order(text_of(&published)) == trusted => tell(&publisher, trusted.clone()).await,
            Ok(_) => tracing::info!("{NAMESPACE}/{NAME} holds other authorities than those trusted here"),
            Err(error) => tracing::warn!(%error, "cannot read {NAMESPACE}/{NAME}"),
        }
    }
}

fn text_of(published: &ConfigMap) -> &str {
    published.data.as_ref().and_then(|data| data.get("ca.crt")).map_or("", String::as_str)
}

async fn tell(publisher: &Publisher, authorities: String) {
    let told: Result<_, PublishError> = publisher
        .publish(|_, meta| {
            let is_new = meta.root_authorities != authorities;
            meta.root_authorities = authorities;
            is_new.then(Edit::default)
        })
        .await;
    if let Err(error) = told {
        tracing::warn!(%error, "the webhook does not hear of the cluster's authorities before the next start");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::issue::Authority;

    #[test]
    fn the_same_certificates_are_the_same_authorities() {
        let [a, b] = ["a", "b"].map(|name| Authority::new(name).unwrap().certificate().to_owned());
        assert_eq!(in_order(&format!("{a}{b}")), in_order(&format!("# b\n{b}\n{a}{b}")));
        assert_ne!(in_order(&a), in_order(&b));
        assert_eq!(in_order("garbage"), "");
    }
}
