//! Canonical objects on a real API server: what is asked for is what is stored, nothing foreign is taken for Git's, and
//! adopting objects of other tools changes nothing.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;

use gitadel::admission::builtin;
use gitadel::compare::{self, FreeField, ListKind, ListSchema, SchemaNode};
use gitadel::document::Document;
use gitadel::reconcile::apply::{Action, Applied, ApplyError, apply, delete, recreate};
use gitadel::reconcile::canonicalise::{Canonical, CanonicaliseError, Declared, LiveState, Pending, canonicalise};
use gitadel::reconcile::discovery::Discovery;
use gitadel::reconcile::environment::Environment;
use gitadel::reconcile::openapi::ListSchemas;
use gitadel::reconcile::predict::Predictor;
use gitadel::reconcile::rest::{self, Propagation, Target};
use gitadel::snapshot::KindInfo;
use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use support::{client, eventually, kubectl_with_input, namespace, shared};

/// A client with what a reconciler knows of the server.
struct Cluster {
    client: Client,
    discovery: Discovery,
    schemas: tokio::sync::Mutex<ListSchemas>,
}

/// A declared object and its kind.
struct Subject {
    kind: KindInfo,
    manifest: Value,
    free: Vec<FreeField>,
}

impl Subject {
    fn target(&self) -> Target<'_> {
        let allotted = builtin::allotted(&self.kind.group, &self.kind.kind);
        Target { kind: &self.kind, allotted, free: &self.free }
    }

    fn at(&self) -> (&str, &str) {
        (rest::metadata(&self.manifest, "namespace"), rest::metadata(&self.manifest, "name"))
    }

    fn with(&self, pointer: &str, value: Value) -> Self {
        let mut manifest = self.manifest.clone();
        *manifest.pointer_mut(pointer).expect("the field") = value;
        Self { kind: self.kind.clone(), manifest, free: self.free.clone() }
    }
}

impl Cluster {
    async fn new() -> Self {
        let client = client(shared().await).await;
        let discovery = Discovery::read(&client).await.unwrap();
        Self { client, discovery, schemas: Default::default() }
    }

    async fn subject(&self, manifest: Value) -> Subject {
        let api_version = manifest["apiVersion"].as_str().unwrap();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let name = manifest["kind"].as_str().unwrap();
        let mut kind = self.discovery.with_version(group, name, version).expect("a served kind").info.clone();
        let mut schemas = self.schemas.lock().await;
        eventually("the kind's OpenAPI document", async || {
            schemas.learn(&self.client, [&kind]).await.unwrap().is_empty().then_some(())
        })
        .await;
        kind.schema = schemas.get(&kind).expect("a schema").clone();
        let document = Document::from_value(&manifest);
        let free = builtin::free_for_repair(group, name, "", "", document.root(), None);
        Subject { kind, manifest, free }
    }

    /// In the given namespace, where the kind has one.
    async fn subject_in(&self, namespace: &str, mut manifest: Value) -> Subject {
        manifest["metadata"]["namespace"] = namespace.into();
        self.subject(manifest).await
    }

    async fn subjects(&self, namespace: &str) -> Vec<Subject> {
        let mut subjects = Vec::new();
        for manifest in manifests() {
            subjects.push(self.subject_in(namespace, manifest).await);
        }
        subjects
    }

    async fn live(&self, subject: &Subject) -> Option<Value> {
        let (namespace, name) = subject.at();
        rest::get(&self.client, &subject.kind, namespace, name).await.unwrap()
    }

    async fn canonical(&self, subject: &Subject) -> Result<Canonical, CanonicaliseError> {
        let live = self.live(subject).await;
        canonicalise(&self.client, &subject.target(), &subject.manifest, live).await
    }

    async fn apply(&self, subject: &Subject, canonical: &Value) -> Result<Applied, ApplyError> {
        apply(&self.client, &subject.target(), canonical, self.live(subject).await).await
    }

    /// Canonicalises and writes, as a commit does.
    async fn converge(&self, subject: &Subject) -> Applied {
        let canonical = self.canonical(subject).await.unwrap();
        self.apply(subject, &canonical.object).await.unwrap()
    }

    /// Changes the live object behind Git's back.
    async fn tamper(&self, subject: &Subject, patch: Value) {
        let (namespace, name) = subject.at();
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
        let gvk = kube::core::GroupVersionKind::gvk(&subject.kind.group, &subject.kind.version, &subject.kind.kind);
        let resource = kube::core::ApiResource::from_gvk_with_plural(&gvk, &subject.kind.resource);
        let api = kube::Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, &resource);
        api.patch(name, &PatchParams::default(), &Patch::Json::<DynamicObject>(patch)).await.unwrap();
    }
}

fn manifests() -> Vec<Value> {
    serde_saphyr::from_multiple(include_str!("canonical/kinds.yaml")).unwrap()
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "example.org/web:1", "env": [{"name": "A", "value": "1"}]}]},
            },
        },
    })
}

fn differences(subject: &Subject, live: &Value, canonical: &Value) -> Vec<String> {
    let (live, canonical) = (Document::from_value(live), Document::from_value(canonical));
    let target = subject.target();
    compare::difference(live.root(), canonical.root(), &target.latitude()).iter().map(ToString::to_string).collect()
}

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
    delete(&cluster.client, &class.kind, class.at(), uid, Propagation::Background).await.unwrap();
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
    delete(&cluster.client, &subject.kind, subject.at(), &applied.uid, Propagation::Background).await.unwrap();
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
async fn two_hundred_predictions_are_what_the_server_answers() {
    let cluster = Cluster::new().await;
    let namespace = namespace(&cluster.client, "predicted").await;
    let environment = Environment::read(&cluster.client).await.unwrap();
    assert!(environment.is_predictable());
    let mut predictor = Predictor::new(&environment.digest);
    let manifest = |n: usize| match n % 4 {
        0 => {
            let mut manifest = deployment(&format!("web-{n}"));
            manifest["spec"]["replicas"] = (n / 12 % 3).into();
            manifest["spec"]["template"]["spec"]["containers"][0]["image"] =
                [format!("web:{n}"), "web".to_owned(), "web:latest".to_owned()][n / 4 % 3].clone().into();
            manifest
        }
        1 => json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c-{n}")},
            "data": {format!("key-{n}"): "value"}}),
        2 => json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("s-{n}")},
            "spec": {"selector": {"app": format!("web-{n}")}, "ports": [{"port": 80}]}}),
        _ => json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("s-{n}")},
            "stringData": {"a": format!("value-{n}")}}),
    };
    let mut predicted = 0;
    for n in 0..200 {
        let subject = cluster.subject_in(&namespace, manifest(n)).await;
        let declared = Declared::new(&subject.kind, &subject.manifest).unwrap();
        let prediction = predictor.predict(&subject.kind, &declared);
        let asked = canonicalise(&cluster.client, &subject.target(), &subject.manifest, None).await.unwrap().object;
        if let Some(prediction) = prediction {
            assert_eq!(prediction, asked);
            predicted += 1;
        }
        predictor.learn(&subject.kind, &declared, &asked);
    }
    // All but the first of each shape: four of Deployments (replicas or none, latest or another tag), one of each other.
    assert_eq!(predicted, 193);
}

/// `fieldsV1` of a server-side apply is the server's own word on which lists are keyed.
#[tokio::test]
async fn list_schemas_agree_with_the_server() {
    let cluster = Cluster::new().await;
    let namespace = namespace(&cluster.client, "schemas").await;
    let mut keyed = BTreeSet::new();
    for subject in cluster.subjects(&namespace).await {
        let kind = &subject.kind;
        let path =
            rest::object_path(kind, subject.at().0, subject.at().1) + "?dryRun=All&fieldManager=probe&force=true";
        let request = hyper::Request::patch(path)
            .header("content-type", "application/apply-patch+yaml")
            .body(subject.manifest.to_string().into_bytes())
            .unwrap();
        let answer: Value = cluster.client.request(request).await.unwrap();
        let fields = &answer["metadata"]["managedFields"][0]["fieldsV1"];
        let schema = &kind.schema;
        agree(fields, &subject.manifest, schema, schema.root(), &kind.kind, &mut keyed);
    }
    for expected in
        ["Deployment.spec.template.spec.containers", "Service.spec.ports", "Job.spec.template.spec.containers"]
    {
        assert!(keyed.contains(expected), "{expected} is not among {keyed:?}");
    }
}

fn agree(
    fields: &Value,
    value: &Value,
    schema: &ListSchema,
    node: Option<&SchemaNode>,
    at: &str,
    keyed: &mut BTreeSet<String>,
) {
    let fields: Vec<(&String, &Value)> =
        fields.as_object().expect("fields").iter().filter(|(name, _)| name.as_str() != ".").collect();
    let list = node.and_then(|node| node.list.as_ref());
    match value {
        Value::Object(members) if fields.is_empty() => {
            // The server takes the map as one value.
            assert!(members.is_empty() || node.is_some_and(|node| node.atomic), "{at} is atomic");
        }
        Value::Object(members) => {
            assert!(!node.is_some_and(|node| node.atomic), "{at} is granular");
            for (name, fields) in fields {
                let name = name.strip_prefix("f:").expect("a field");
                // stringData and the like are no longer there, or null.
                let Some(member) = members.get(name) else { continue };
                agree(fields, member, schema, schema.field(node, name), &format!("{at}.{name}"), keyed);
            }
        }
        Value::Array(items) => match fields.first().map(|(name, _)| name.split_at(2)) {
            None => assert!(items.is_empty() || matches!(list, None | Some(ListKind::Atomic)), "{at} is atomic"),
            Some(("v:", _)) => assert_eq!(list, Some(&ListKind::Set), "{at} is a set"),
            Some(("k:", keys)) => {
                keyed.insert(at.to_owned());
                let keys: Value = serde_json::from_str(keys).unwrap();
                let keys: BTreeSet<&String> = keys.as_object().unwrap().keys().collect();
                let Some(ListKind::Map(names)) = list else { panic!("{at} is keyed by {keys:?}, not {list:?}") };
                assert_eq!(names.iter().collect::<BTreeSet<_>>(), keys, "{at}");
                for ((_, fields), item) in fields.iter().zip(items).filter(|_| items.len() == 1) {
                    agree(fields, item, schema, schema.item(node), at, keyed);
                }
            }
            Some(other) => panic!("{at}: {other:?}"),
        },
        _ => {}
    }
}
