//! What is written, and what is left alone.

use gitadel::reconcile::apply::{Action, ApplyError, apply, delete, recreate};
use gitadel::reconcile::canonicalise::{CanonicaliseError, LiveState, Pending, canonicalise};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Subject, deployment, differences, manifests};
use crate::support::{eventually, kubectl_with_input, namespace, shared};

#[tokio::test]
async fn objects_of_other_tools_are_adopted_as_they_are() {
    let cluster = Cluster::new().await;
    let namespace = namespace(&cluster.client, "adopted").await;
    let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests()}).to_string();
    let said = kubectl_with_input(shared().await.kubeconfig(), &["create", "-n", &namespace, "-f", "-"], &list);
    assert!(said.success, "{}", said.stderr);
    let subjects = cluster.subjects(&namespace).await;
    let web = &subjects[0];
    eventually("the controllers' writes", async || {
        let live = cluster.live(web).await?;
        live.pointer("/metadata/annotations/deployment.kubernetes.io~1revision").map(|_| ())
    })
    .await;
    for subject in &subjects {
        let canonical = cluster.canonical(subject).await.unwrap();
        let live = cluster.live(subject).await.unwrap();
        assert_eq!(differences(subject, &live, &canonical.object), Vec::<String>::new(), "{}", subject.kind.kind);
        let applied = cluster.apply(subject, &canonical.object).await.unwrap();
        assert_eq!(applied.action, Action::Unchanged, "{}", subject.kind.kind);
    }
}

#[tokio::test]
async fn nothing_foreign_becomes_canonical_and_one_write_removes_it() {
    let cluster = Cluster::new().await;
    let namespace = namespace(&cluster.client, "foreign").await;
    let add = |path: &str, value: Value| json!({"op": "add", "path": path, "value": value});
    let pod = "/spec/template/spec";
    let cases = [
        ("label", add("/metadata/labels/x", json!("y"))),
        ("annotation", add("/metadata/annotations", json!({"x": "y"}))),
        ("finalizer", add("/metadata/finalizers", json!(["example.com/x"]))),
        ("sidecar", add(&format!("{pod}/containers/-"), json!({"name": "evil", "image": "evil:1"}))),
        ("duplicate", add(&format!("{pod}/containers/0/env/-"), json!({"name": "A", "value": "2"}))),
        ("default", add(&format!("{pod}/containers/0/imagePullPolicy"), json!("Always"))),
        ("probe", add(&format!("{pod}/containers/0/livenessProbe"), json!({"httpGet": {"port": 1}}))),
        (
            "context",
            add(&format!("{pod}/securityContext"), json!({"runAsUser": 0, "seccompProfile": {"type": "Unconfined"}})),
        ),
    ];
    for (name, operation) in cases {
        let subject = cluster.subject_in(&namespace, deployment(name)).await;
        let clean = cluster.canonical(&subject).await.unwrap().object;
        cluster.apply(&subject, &clean).await.unwrap();
        cluster.tamper(&subject, json!([operation])).await;
        let canonical = cluster.canonical(&subject).await.unwrap();
        assert_eq!((&canonical.object, canonical.live), (&clean, LiveState::Differs), "{name}");
        let repaired = cluster.apply(&subject, &canonical.object).await.unwrap();
        assert_eq!(repaired.action, Action::Updated, "{name}");
        assert_eq!(differences(&subject, &repaired.object, &clean), Vec::<String>::new(), "{name}");
    }
}

#[tokio::test]
async fn changes_that_server_side_apply_gets_wrong() {
    let cluster = Cluster::new().await;
    let namespace = namespace(&cluster.client, "changes").await;

    // Recreate over a defaulted rollingUpdate.
    let mut manifest = deployment("web");
    let subject = cluster.subject_in(&namespace, manifest.clone()).await;
    assert_eq!(cluster.converge(&subject).await.action, Action::Created);
    manifest["spec"]["strategy"] = json!({"type": "Recreate"});
    let subject = cluster.subject_in(&namespace, manifest).await;
    let applied = cluster.converge(&subject).await;
    assert_eq!((applied.action, &applied.object["spec"]["strategy"]), (Action::Updated, &json!({"type": "Recreate"})));

    // A key that leaves stringData leaves the Secret.
    let secret =
        |keys: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": keys});
    let subject = cluster.subject_in(&namespace, secret(json!({"a": "1", "b": "2"}))).await;
    cluster.converge(&subject).await;
    let subject = cluster.subject_in(&namespace, secret(json!({"a": "1"}))).await;
    assert_eq!(cluster.converge(&subject).await.object["data"], json!({"a": "MQ=="}));

    // What the server allots stays as it is through a change.
    let service = |port: u16| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"type": "NodePort", "selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": port}]}})
    };
    let before = cluster.converge(&cluster.subject_in(&namespace, service(80)).await).await.object;
    let after = cluster.converge(&cluster.subject_in(&namespace, service(81)).await).await.object;
    for pointer in ["/spec/clusterIP", "/spec/ports/0/nodePort"] {
        assert_eq!(before.pointer(pointer), after.pointer(pointer), "{pointer}");
        assert!(after.pointer(pointer).is_some(), "{pointer}");
    }
    assert_eq!(after.pointer("/spec/ports/0/targetPort"), Some(&json!(81)));
}

#[tokio::test]
async fn an_immutable_change_needs_a_new_object() {
    let cluster = Cluster::new().await;
    let namespace = namespace(&cluster.client, "immutable").await;
    let mut manifest = deployment("web");
    let first = cluster.subject_in(&namespace, manifest.clone()).await;
    let uid = cluster.converge(&first).await.uid;
    for pointer in ["/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
        *manifest.pointer_mut(pointer).unwrap() = json!({"app": "other"});
    }
    let changed = cluster.subject_in(&namespace, manifest).await;
    let refused = cluster.canonical(&changed).await.unwrap_err();
    assert!(
        matches!(&refused, CanonicaliseError::NeedsRecreate { fields, .. } if fields == &["spec.selector"]),
        "{refused}"
    );

    let live = cluster.live(&changed).await.unwrap();
    let canonical = canonicalise_absent(&cluster, &changed).await;
    let applied = recreate(&cluster.client, &changed.target(), &canonical, &live).await.unwrap();
    assert_eq!(applied.action, Action::Recreated);
    assert_ne!(applied.uid, uid);
    assert_eq!(differences(&changed, &applied.object, &canonical), Vec::<String>::new());
}

/// The canonical form of the same object in a namespace where it does not exist.
async fn canonicalise_absent(cluster: &Cluster, subject: &Subject) -> Value {
    let elsewhere = namespace(&cluster.client, "elsewhere").await;
    let other = subject.with("/metadata/namespace", elsewhere.into());
    let mut canonical = cluster.canonical(&other).await.unwrap().object;
    canonical["metadata"]["namespace"] = subject.at().0.into();
    canonical
}

#[tokio::test]
async fn a_terminating_object_is_waited_for() {
    let cluster = Cluster::new().await;
    let namespace = namespace(&cluster.client, "terminating").await;
    let mut manifest = deployment("web");
    manifest["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let subject = cluster.subject_in(&namespace, manifest).await;
    let applied = cluster.converge(&subject).await;
    delete(&cluster.client, &subject.kind, subject.at(), &applied.uid, None).await.unwrap();
    let refused = cluster.canonical(&subject).await.unwrap_err();
    assert!(matches!(refused, CanonicaliseError::Pending(Pending::Terminating)), "{refused}");
    let refused = cluster.apply(&subject, &applied.object).await.unwrap_err();
    assert!(matches!(refused, ApplyError::Terminating), "{refused}");
    cluster.tamper(&subject, json!([{"op": "remove", "path": "/metadata/finalizers"}])).await;
}

#[tokio::test]
async fn a_stale_view_of_the_live_object_is_read_again() {
    let cluster = Cluster::new().await;
    let namespace = namespace(&cluster.client, "stale").await;
    let subject = cluster.subject_in(&namespace, deployment("web")).await;
    let canonical = cluster.canonical(&subject).await.unwrap().object;
    let stale = cluster.apply(&subject, &canonical).await.unwrap().object;
    cluster.tamper(&subject, json!([{"op": "add", "path": "/metadata/labels/x", "value": "y"}])).await;
    for known in [None, Some(stale)] {
        let asked = canonicalise(&cluster.client, &subject.target(), &subject.manifest, known.clone()).await.unwrap();
        assert_eq!(asked.object, canonical);
    }
    let applied = apply(&cluster.client, &subject.target(), &canonical, None).await.unwrap();
    assert_eq!(applied.action, Action::Updated);
}

#[tokio::test]
async fn what_others_may_add_is_kept_and_never_becomes_canonical() {
    let cluster = Cluster::new().await;
    let namespace = namespace(&cluster.client, "additions").await;
    let mut subject = cluster.subject_in(&namespace, deployment("web")).await;
    subject.undeclared_fields = true;
    let clean = cluster.canonical(&subject).await.unwrap().object;
    cluster.apply(&subject, &clean).await.unwrap();
    cluster
        .tamper(
            &subject,
            json!([
                {"op": "add", "path": "/metadata/labels/team", "value": "x"},
                {"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "side", "image": "side:1"}},
            ]),
        )
        .await;
    let canonical = cluster.canonical(&subject).await.unwrap();
    assert_eq!((&canonical.object, canonical.live), (&clean, LiveState::Matches));
    assert_eq!(cluster.apply(&subject, &clean).await.unwrap().action, Action::Unchanged);

    cluster.tamper(&subject, json!([{"op": "replace", "path": "/spec/replicas", "value": 7}])).await;
    let repaired = cluster.apply(&subject, &cluster.canonical(&subject).await.unwrap().object).await.unwrap();
    assert_eq!((repaired.action, &repaired.object["spec"]["replicas"]), (Action::Updated, &json!(1)));
    assert_eq!(repaired.object["metadata"]["labels"]["team"], "x");
    assert_eq!(repaired.object["spec"]["template"]["spec"]["containers"][1]["name"], "side");
}
