//! The configuration is put back, and proven to be in force.

use std::time::Duration;

use gitadel::demo::control_plane::{ControlPlane, Options};
use gitadel::reconcile::webhook_configuration::guard::store;
use gitadel::reconcile::webhook_configuration::{
    Canary, CanaryError, Cause, Extent, Guard, GuardEvent, NAME, Place, Wanted, is_in_force, prove_enforcing,
};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::configuration;
use super::recorder::Recorder;
use super::support::{client, eventually};

async fn next(events: &mut mpsc::UnboundedReceiver<GuardEvent>) -> GuardEvent {
    tokio::time::timeout(Duration::from_secs(20), events.recv()).await.expect("an event in time").expect("an event")
}

async fn stored_and_enforcing(events: &mut mpsc::UnboundedReceiver<GuardEvent>, expected: Cause) {
    let event = next(events).await;
    let GuardEvent::Stored { cause, after: stored } = event else { panic!("{event:?}") };
    assert_eq!(cause, expected);
    let event = next(events).await;
    let GuardEvent::Enforcing { cause, after: enforcing } = event else { panic!("{event:?}") };
    assert_eq!(cause, expected);
    eprintln!("{expected:?}: stored after {stored:?}, enforcing after {enforcing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_or_altered_comes_back_and_is_proven() {
    let control_plane = ControlPlane::start(Options { controller_manager: false, ..Options::default() }).await.unwrap();
    let client = client(&control_plane).await;
    let recorder = Recorder::start().await;
    let api = Api::<ValidatingWebhookConfiguration>::all(client.clone());
    let wanted = configuration(&recorder);
    let canary = Canary { places: vec![Place::Namespace("default".into())], closed: None };

    let unguarded = prove_enforcing(client.clone(), &canary, Duration::from_millis(100)).await;
    assert!(matches!(unguarded, Err(CanaryError::Admitted { .. })), "{unguarded:?}");

    // A replica that does not lead stands by; the leader must be the faster one.
    let (desired, receiver) = watch::channel(None);
    let shutdown = CancellationToken::new();
    let run = |leader: bool| {
        let (sender, events) = mpsc::unbounded_channel();
        let guard = Guard::new(
            client.clone(),
            receiver.clone(),
            watch::channel(Some(canary.clone())).1,
            watch::channel(leader).1,
        );
        let stop = shutdown.clone();
        (events, tokio::spawn(async move { guard.run(move |event| drop(sender.send(event)), stop).await }))
    };
    let ((mut leader, leading), (mut follower, following)) = (run(true), run(false));
    desired.send_replace(Some(Wanted {
        configuration: wanted.clone(),
        served: Default::default(),
        extent: Extent::Whole,
    }));
    stored_and_enforcing(&mut leader, Cause::Planned).await;

    let live = api.get(NAME).await.unwrap();
    assert!(is_in_force(&live, &wanted), "what is stored must equal what is generated: {live:#?}");

    api.delete(NAME, &DeleteParams::default()).await.unwrap();
    stored_and_enforcing(&mut leader, Cause::Deleted).await;

    let edits = [
        json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]),
        json!([{"op": "remove", "path": "/webhooks/1"}]),
        json!([{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": ""}]),
        json!([{"op": "add", "path": "/webhooks/0/objectSelector", "value": {"matchLabels": {"a": "b"}}}]),
        json!([{"op": "add", "path": "/metadata/finalizers", "value": ["example.org/keep"]}]),
        json!([{"op": "add", "path": "/metadata/ownerReferences", "value":
            [{"apiVersion": "v1", "kind": "Node", "name": "gone", "uid": "00000000-0000-0000-0000-000000000000"}]}]),
    ];
    for edit in edits {
        let patch: json_patch::Patch = serde_json::from_value(edit.clone()).unwrap();
        api.patch(NAME, &PatchParams::default(), &Patch::Json::<()>(patch)).await.unwrap();
        stored_and_enforcing(&mut leader, Cause::Altered).await;
        assert!(is_in_force(&api.get(NAME).await.unwrap(), &wanted), "{edit}");
    }
    // It acts where the leader does not, which on a busy machine may be late as well; but never at once.
    while let Ok(event) = follower.try_recv() {
        if let GuardEvent::Stored { after, .. } = event {
            assert!(after >= Duration::from_millis(200), "the follower did not stand back: {after:?}");
        }
    }

    // Deleted with a finalizer: it has to go before it can come back.
    let finalizer = json!({"metadata": {"finalizers": ["example.org/keep"]}});
    shutdown.cancel();
    leading.await.unwrap();
    following.await.unwrap();
    api.patch(NAME, &PatchParams::default(), &Patch::Merge(&finalizer)).await.unwrap();
    api.delete(NAME, &DeleteParams::default()).await.unwrap();
    let stop = CancellationToken::new();
    let (sender, _events) = mpsc::unbounded_channel();
    let alone = Guard::new(client.clone(), receiver.clone(), watch::channel(None).1, watch::channel(false).1);
    tokio::spawn({
        let stop = stop.clone();
        async move { alone.run(move |event| drop(sender.send(event)), stop).await }
    });
    eventually("the configuration", async || {
        api.get_opt(NAME).await.unwrap().filter(|live| is_in_force(live, &wanted))
    })
    .await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn storing_is_exact_while_others_write() {
    let control_plane = ControlPlane::start(Options { controller_manager: false, ..Options::default() }).await.unwrap();
    let client = client(&control_plane).await;
    let recorder = Recorder::start().await;
    let api = Api::<ValidatingWebhookConfiguration>::all(client);
    let wanted = configuration(&recorder);
    let first = store(&api, &wanted, None).await.unwrap().configuration;
    // Out of date on purpose: the write has to find out by itself.
    let label = json!({"metadata": {"labels": {"edited": "true"}}});
    api.patch(NAME, &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
    let mut stale = first.clone();
    stale.metadata.labels = None;
    let second = store(&api, &wanted, Some(&stale)).await.unwrap();
    assert!(second.written && is_in_force(&second.configuration, &wanted));
    assert_eq!(second.configuration.metadata.uid, first.metadata.uid);
    let unchanged = store(&api, &wanted, Some(&second.configuration)).await.unwrap();
    assert!(!unchanged.written);
    let versions = [&unchanged, &second].map(|stored| &stored.configuration.metadata.resource_version);
    assert_eq!(versions[0], versions[1], "nothing is written twice");

    // Deleted behind our back.
    api.delete(NAME, &DeleteParams::default()).await.unwrap();
    let third = store(&api, &wanted, Some(&stale)).await.unwrap().configuration;
    assert_ne!(third.metadata.uid, first.metadata.uid);
}
