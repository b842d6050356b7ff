//! Replicas on a real API server: one of them leads, and each knows the others' certificates.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gitadel::reconcile::lease::{Candidate, LEASE_NAME, Timing};
use gitadel::reconcile::peers::{Peers, Progress};
use gitadel::reconcile::replicas::{Announcement, Exchange, Replicas, Serving, ca_bundle};
use gitadel::tls::issue::Authority;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use support::{client, eventually, namespace, shared};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const QUICK: Timing = Timing {
    duration: Duration::from_secs(3),
    renew_deadline: Duration::from_secs(2),
    retry: Duration::from_millis(200),
};

async fn holds(leads: &watch::Receiver<bool>, expected: bool) {
    eventually("the leadership to change", async || (*leads.borrow() == expected).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_candidate_leads_and_another_takes_over() {
    let client = client(shared().await).await;
    let namespace = namespace(&client, "lease").await;
    let leases = Api::<Lease>::namespaced(client.clone(), &namespace);
    let start = |identity: &str| {
        let shutdown = CancellationToken::new();
        let candidate = Candidate::new(client.clone(), &namespace, LEASE_NAME, identity, QUICK);
        let (leads, campaign) = candidate.campaign(shutdown.clone());
        let task = tokio::spawn(campaign);
        (leads, task, shutdown)
    };
    let (first, first_task, stop_first) = start("first");
    holds(&first, true).await;
    let (second, second_task, stop_second) = start("second");
    eventually("a Lease that would have run out, had it not been renewed", async || {
        let spec = leases.get(LEASE_NAME).await.unwrap().spec.unwrap();
        (spec.renew_time?.0.duration_since(spec.acquire_time?.0) > SignedDuration::try_from(QUICK.duration).unwrap())
            .then_some(())
    })
    .await;
    assert!(*first.borrow() && !*second.borrow(), "a Lease that is renewed is not taken");

    stop_first.cancel();
    first_task.await.unwrap();
    assert!(!*first.borrow());
    holds(&second, true).await;
    let spec = leases.get(LEASE_NAME).await.unwrap().spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("second"));

    // Whoever may write Leases can take it: the leader must notice, and get it back only when it expires.
    let stolen = json!({"spec": {"holderIdentity": "thief", "leaseDurationSeconds": 1}});
    leases.patch(LEASE_NAME, &PatchParams::default(), &Patch::Merge(&stolen)).await.unwrap();
    holds(&second, false).await;
    holds(&second, true).await;
    let spec = leases.get(LEASE_NAME).await.unwrap().spec.unwrap();
    assert_eq!(spec.lease_transitions, Some(2), "from the first, and from the thief");

    leases.delete(LEASE_NAME, &Default::default()).await.unwrap();
    eventually("the Lease", async || leases.get_opt(LEASE_NAME).await.unwrap()).await;
    stop_second.cancel();
    second_task.await.unwrap();
    let spec = leases.get(LEASE_NAME).await.unwrap().spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some(""), "given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_learn_of_each_other() {
    let client = client(shared().await).await;
    let namespace = namespace(&client, "replicas").await;
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    for name in ["a", "b"] {
        let pod = serde_json::from_value(json!({"metadata": {"name": name}, "spec": {
            "automountServiceAccountToken": false, "containers": [{"name": "gitadel", "image": "registry.example/gitadel"}]}}))
        .unwrap();
        // The account of the namespace comes a moment after it.
        eventually("a Pod", async || pods.create(&PostParams::default(), &pod).await.ok()).await;
    }
    let shutdown = CancellationToken::new();
    let start = |name: &str| {
        let authorities = Authority::new(name).unwrap().certificate().to_owned();
        let (own, receiver) = watch::channel(Announcement { authorities, serving: None });
        let (exchange, replicas) = Exchange::new(client.clone(), &namespace, name, receiver);
        tokio::spawn(exchange.run(shutdown.clone()));
        (own, replicas)
    };
    let (own_a, a) = start("a");
    assert_eq!(a.borrow().len(), 1, "itself, from the start");
    let (own_b, b) = start("b");
    let both = async |replicas: &watch::Receiver<Replicas>| {
        eventually("both replicas", async || (replicas.borrow().len() == 2).then(|| ca_bundle(&replicas.borrow())))
            .await
    };
    assert_eq!(both(&a).await, both(&b).await);

    // Whoever may write Leases makes no replica of one.
    let forged = json!({"metadata": {"name": "gitadel-replica-evil", "labels": {"app.kubernetes.io/component": "replica"},
            "annotations": {"gitadel.dev/authorities":
                STANDARD.encode(Authority::new("evil").unwrap().certificate())}},
        "spec": {"holderIdentity": "evil", "leaseDurationSeconds": 100_000, "renewTime": "2100-01-01T00:00:00.000000Z"}});
    let leases = Api::<Lease>::namespaced(client.clone(), &namespace);
    leases.create(&PostParams::default(), &serde_json::from_value(forged).unwrap()).await.unwrap();

    let serving = |commit: &str| {
        let commits = BTreeMap::from([("all".to_owned(), commit.to_owned())]);
        Some(Serving { generation: 1, progress: Progress { commits, ..Progress::default() } })
    };
    own_a.send_modify(|own| own.serving = serving("new"));
    own_b.send_modify(|own| own.serving = serving("old"));
    let seen = |commit: &str| a.borrow()["b"].serving == serving(commit);
    eventually("b to lag", async || seen("old").then_some(())).await;
    let peers = Peers::new("a", a.clone());
    let wanted = serving("new").unwrap().progress;
    let answer = async { own_b.send_modify(|own| own.serving = serving("new")) };
    tokio::join!(peers.wait(&wanted), answer);
    assert!(seen("new"), "the wait ends when b serves");

    // Somebody else writes in b's name: b takes it back.
    eventually("b's last word to be so old that another is not its own", async || {
        let renewed = leases.get("gitadel-replica-b").await.unwrap().spec.unwrap().renew_time?.0;
        (Timestamp::now().duration_since(renewed) > SignedDuration::from_secs(1)).then_some(())
    })
    .await;
    let forged = json!({"metadata": {"annotations": {"gitadel.dev/authorities": ""}}});
    leases.patch("gitadel-replica-b", &PatchParams::default(), &Patch::Merge(&forged)).await.unwrap();
    let expected = ca_bundle(&b.borrow());
    eventually("b's authority", async || {
        let lease = leases.get("gitadel-replica-b").await.unwrap();
        let written = lease.metadata.annotations.unwrap()["gitadel.dev/authorities"].clone();
        (!written.is_empty()).then_some(())
    })
    .await;
    eventually("the bundle", async || (ca_bundle(&a.borrow()) == expected).then_some(())).await;
    assert!(seen("new"));
    // The one without a Pod was written before, and all that was seen since came after it.
    assert_eq!(a.borrow().keys().collect::<Vec<_>>(), ["a", "b"]);
    shutdown.cancel();
    eventually("b to be waited for no more", async || {
        let lease = leases.get("gitadel-replica-b").await.unwrap();
        lease.metadata.annotations.unwrap()["gitadel.dev/serving"].is_empty().then_some(())
    })
    .await;
}
