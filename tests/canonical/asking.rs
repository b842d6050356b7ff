//! What the server makes of a manifest.

use gitadel::reconcile::apply::{Action, delete};
use gitadel::reconcile::canonicalise::{CanonicaliseError, LiveState, Pending};
use gitadel::reconcile::discovery::Discovery;
use gitadel::reconcile::environment::Environment;
use gitadel::reconcile::rest;
use serde_json::{Value, json};

use crate::cluster::{Cluster, deployment, differences};
use crate::support::{eventually, namespace};

#[tokio::test]
async fn a_canonical_object_is_what_is_stored_and_does_not_depend_on_the_live_one() {
    let cluster = Cluster::new().await;
    let namespace = namespace(&cluster.client, "stored").await;
    for subject in cluster.subjects(&namespace).await {
        let what = format!("{} {:?}", subject.kind.kind, subject.at());
        let absent = cluster.canonical(&subject).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(absent.live, LiveState::Absent, "{what}");
        let applied = cluster.apply(&subject, &absent.object).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(applied.action, Action::Created, "{what}");
        assert_eq!(differences(&subject, &applied.object, &absent.object), Vec::<String>::new(), "{what}");
        let present = cluster.canonical(&subject).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(present.object, absent.object, "{what}");
        assert_eq!(present.live, LiveState::Matches, "{what}");
        assert_eq!(cluster.apply(&subject, &present.object).await.unwrap().action, Action::Unchanged, "{what}");
    }
}

#[tokio::test]
async fn an_aggregated_role_keeps_the_rules_that_the_controller_computes() {
    let cluster = Cluster::new().await;
    let role = |name: &str, rest: Value| {
        let mut role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name, "labels": {"part-of": name}}});
        role.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        role
    };
    let rules = json!([{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}]);
    let part = cluster.subject(role("gitadel-test-part", json!({"rules": rules}))).await;
    let selectors = json!([{"matchLabels": {"part-of": "gitadel-test-part"}}]);
    let whole = cluster
        .subject(role(
            "gitadel-test-whole",
            json!({"aggregationRule": {"clusterRoleSelectors": selectors}, "rules": []}),
        ))
        .await;
    cluster.converge(&part).await;
    cluster.converge(&whole).await;
    eventually("the aggregated rules", async || (cluster.live(&whole).await?["rules"] == rules).then_some(())).await;
    let canonical = cluster.canonical(&whole).await.unwrap();
    assert_eq!(canonical.live, LiveState::Matches);
    assert_eq!(cluster.apply(&whole, &canonical.object).await.unwrap().action, Action::Unchanged);
}

#[tokio::test]
async fn defaults_that_the_server_sets_only_at_creation_are_known_from_a_second_opinion() {
    let cluster = Cluster::new().await;
    let namespace = namespace(&cluster.client, "default-class").await;
    let before = Environment::read(&cluster.client).await.unwrap();
    let class = cluster
        .subject(json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": {"name": "gitadel-test", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
            "spec": {"controller": "example.com/ingress"}}))
        .await;
    cluster.converge(&class).await;
    assert_ne!(Environment::read(&cluster.client).await.unwrap().digest, before.digest);

    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let ingress = cluster
        .subject_in(
            &namespace,
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i"},
            "spec": {"defaultBackend": backend}}),
        )
        .await;
    let created = eventually("the default class", async || {
        let canonical = cluster.canonical(&ingress).await.unwrap().object;
        (canonical["spec"]["ingressClassName"] == "gitadel-test").then_some(canonical)
    })
    .await;
    cluster.apply(&ingress, &created).await.unwrap();
    cluster.tamper(&ingress, json!([{"op": "add", "path": "/metadata/labels", "value": {"x": "y"}}])).await;
    assert_eq!(cluster.canonical(&ingress).await.unwrap().object, created);

    let live = cluster.live(&class).await.unwrap();
    let uid = rest::metadata(&live, "uid");
    delete(&cluster.client, &class.kind, class.at(), uid, None).await.unwrap();
    eventually("the class to be gone", async || {
        let canonical = cluster.canonical(&ingress).await.unwrap().object;
        canonical["spec"].get("ingressClassName").is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_canonical_says_why() {
    let cluster = Cluster::new().await;
    let namespace = namespace(&cluster.client, "errors").await;
    let canonical = async |namespace: &str, manifest: Value| {
        let subject = cluster.subject_in(namespace, manifest).await;
        cluster.canonical(&subject).await.unwrap_err()
    };
    let absent = canonical("gitadel-test-absent", deployment("web")).await;
    assert!(matches!(absent, CanonicaliseError::Pending(Pending::NamespaceAbsent)), "{absent}");

    let mut unknown = deployment("web");
    unknown["spec"]["replica"] = json!(2);
    let unknown = canonical(&namespace, unknown).await;
    assert!(
        matches!(&unknown, CanonicaliseError::InvalidManifest { field: Some(f), .. } if f == "spec.replica"),
        "{unknown}"
    );

    let mut invalid = deployment("web");
    invalid["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
    let invalid = canonical(&namespace, invalid).await;
    assert!(matches!(&invalid, CanonicaliseError::InvalidManifest { field: Some(_), .. }), "{invalid}");

    let mut twice = deployment("web");
    twice["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]);
    let twice = canonical(&namespace, twice).await;
    assert!(twice.to_string().contains("env[name=A]: declared more than once"), "{twice}");

    let mut gated = deployment("web");
    gated["spec"]["template"]["spec"]["schedulingGroup"] = json!({"podGroupName": "x"});
    let gated = canonical(&namespace, gated).await;
    let CanonicaliseError::DeclaredButDropped { path } = &gated else { panic!("{gated}") };
    assert_eq!(path.to_string(), "spec.template.spec.schedulingGroup");

    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}});
    let role = canonical(&namespace, role).await;
    assert!(
        matches!(&role, CanonicaliseError::InvalidManifest { field: Some(f), .. } if f == "metadata.namespace"),
        "{role}"
    );
}

#[tokio::test]
async fn a_mutators_additions_are_canonical_while_it_is_declared() {
    const ADMISSION: &str = "admissionregistration.k8s.io/v1";
    let cluster = Cluster::new().await;
    let namespace = namespace(&cluster.client, "mutated").await;
    let name = "inject.example.com";
    let rule =
        json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]});
    let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    let injected = "Object{metadata: Object.metadata{annotations: {'example.com/injected': 'yes'}}}";
    let policy = cluster
        .subject(
            json!({"apiVersion": ADMISSION, "kind": "MutatingAdmissionPolicy", "metadata": {"name": name}, "spec": {
            "matchConstraints": {"namespaceSelector": selector, "resourceRules": [rule]},
            "failurePolicy": "Fail", "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": injected}}]}}),
        )
        .await;
    let binding = cluster
        .subject(json!({"apiVersion": ADMISSION, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {"policyName": name}}))
        .await;
    cluster.converge(&policy).await;
    cluster.converge(&binding).await;

    let environment = Environment::read(&cluster.client).await.unwrap();
    assert!(!environment.is_predictable());
    assert_eq!(environment.undeclared_mutators(|id| id.kind == "MutatingAdmissionPolicy"), [binding.id()]);
    assert_eq!(environment.undeclared_mutators(|id| id.name == name), []);

    // It acts on CREATE alone, so that only a second opinion knows of it once the object is there.
    let web = cluster.subject_in(&namespace, deployment("web")).await;
    let annotation = "/metadata/annotations/example.com~1injected";
    let created = eventually("the policy to bite", async || {
        let canonical = cluster.canonical(&web).await.unwrap().object;
        canonical.pointer(annotation).is_some().then_some(canonical)
    })
    .await;
    cluster.apply(&web, &created).await.unwrap();
    cluster.tamper(&web, json!([{"op": "add", "path": "/metadata/labels/x", "value": "y"}])).await;
    assert_eq!(cluster.canonical(&web).await.unwrap().object, created);

    // Gone, it explains nothing any more.
    for subject in [&binding, &policy] {
        let live = cluster.live(subject).await.unwrap();
        let uid = rest::metadata(&live, "uid");
        delete(&cluster.client, &subject.kind, subject.at(), uid, None).await.unwrap();
    }
    let clean = eventually("the policy to be forgotten", async || {
        let canonical = cluster.canonical(&web).await.unwrap().object;
        canonical.pointer(annotation).is_none().then_some(canonical)
    })
    .await;
    let repaired = cluster.apply(&web, &clean).await.unwrap();
    assert_eq!(repaired.object.pointer(annotation), None);
}

#[tokio::test]
async fn custom_kinds_are_like_others() {
    let mut cluster = Cluster::new().await;
    let namespace = namespace(&cluster.client, "custom").await;
    let item = json!({"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string"}, "size": {"type": "integer", "default": 3}}});
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "count": {"type": "integer"},
            "mode": {"type": "string", "default": "fast"},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": item}}},
        "status": {"type": "object", "properties": {"count": {"type": "integer"}}}}});
    let scale = json!({"specReplicasPath": ".spec.count", "statusReplicasPath": ".status.count"});
    let definition = cluster
        .subject(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.gitadel-test.example.com"}, "spec": {
                "group": "gitadel-test.example.com", "scope": "Namespaced",
                "names": {"kind": "Widget", "plural": "widgets"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}, "scale": scale}}]}}))
        .await;
    let absent = cluster.canonical(&definition).await.unwrap();
    cluster.apply(&definition, &absent.object).await.unwrap();
    cluster.discovery = eventually("the kind", async || {
        let discovery = Discovery::read(&cluster.client).await.unwrap();
        discovery.get("gitadel-test.example.com", "Widget").is_some().then_some(discovery)
    })
    .await;
    let present = cluster.canonical(&definition).await.unwrap();
    assert_eq!((present.object, present.live), (absent.object, LiveState::Matches));

    let widget = cluster
        .subject_in(
            &namespace,
            json!({"apiVersion": "gitadel-test.example.com/v1", "kind": "Widget",
            "metadata": {"name": "w"}, "spec": {"parts": [{"name": "a"}], "free": {"x": null, "y": {}}}}),
        )
        .await;
    assert_eq!(widget.kind.scale_paths.get("v1").map(ToString::to_string).as_deref(), Some("spec.count"));
    let clean =
        eventually("the kind to be writable", async || Some(cluster.canonical(&widget).await.ok()?.object)).await;
    let expected = json!({"mode": "fast", "parts": [{"name": "a", "size": 3}], "free": {"x": null, "y": {}}});
    assert_eq!(clean["spec"], expected);
    cluster.apply(&widget, &clean).await.unwrap();
    let foreign = json!([{"op": "add", "path": "/spec/parts/0", "value": {"name": "b"}},
        {"op": "add", "path": "/spec/free/z", "value": 1}, {"op": "replace", "path": "/spec/mode", "value": "slow"}]);
    cluster.tamper(&widget, foreign).await;
    let canonical = cluster.canonical(&widget).await.unwrap();
    assert_eq!((&canonical.object, canonical.live), (&clean, LiveState::Differs));
    let repaired = cluster.apply(&widget, &clean).await.unwrap();
    assert_eq!(repaired.object["spec"], expected);
}

#[tokio::test]
async fn a_bare_pod_is_what_it_was_created_as() {
    let cluster = Cluster::new().await;
    let namespace = namespace(&cluster.client, "pod").await;
    let pod = |image: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": image}]}})
    };
    let subject = cluster.subject_in(&namespace, pod("a:1")).await;
    let absent = cluster.canonical(&subject).await.unwrap().object;
    let created = cluster.apply(&subject, &absent).await.unwrap();
    // The name of the token's volume is drawn at random, so it has to be the one that was written.
    assert_eq!(differences(&subject, &created.object, &absent), Vec::<String>::new());
    cluster.tamper(&subject, json!([{"op": "add", "path": "/metadata/labels/x", "value": "y"}])).await;
    let present = cluster.canonical(&subject).await.unwrap();
    assert_eq!((&present.object, present.live), (&absent, LiveState::Differs));
    let changed = cluster.subject_in(&namespace, pod("a:2")).await;
    let updated = cluster.converge(&changed).await;
    assert_eq!((updated.action, &updated.uid), (Action::Updated, &created.uid));
    assert_eq!(updated.object["spec"]["containers"][0]["image"], "a:2");
}
