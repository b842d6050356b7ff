//! Which requests reach the webhook, and by which entry: exactly one, or none where the answer is known before.

use std::collections::BTreeSet;
use std::time::Duration;

use gitadel::demo::control_plane::{ControlPlane, Options};
use gitadel::reconcile::webhook_configuration::guard::store;
use gitadel::reconcile::webhook_configuration::{Canary, Place, prove_enforcing};
use hyper::http::Request;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::recorder::Recorder;
use super::support::{client, client_for};
use super::{RECONCILER, configuration};

/// A kind that Git uses.
const EXACT: &str = "enforce.gitadel.dev";
const REST: &str = "enforce-rest.gitadel.dev";
const OBSERVED: &str = "observe.gitadel.dev";
const OBSERVED_REST: &str = "observe-rest.gitadel.dev";

const TESTER: &str = "tester";

struct Caller<'a> {
    client: Client,
    user: &'static str,
    recorder: &'a Recorder,
}

impl Caller<'_> {
    async fn call(&self, method: &str, path: &str, body: &Value) -> Result<String, kube::Error> {
        let content = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path).header("content-type", content).body(body).unwrap();
        self.client.request_text(request).await
    }

    /// The request succeeds, and was sent to these entries.
    async fn reaches(&self, entry: &[&str], what: &str, method: &str, path: &str, body: Value) -> Vec<Value> {
        let reviews = self.asked(entry, what, method, path, &body).await;
        reviews.0.unwrap_or_else(|error| panic!("{what}: {error}"));
        reviews.1
    }

    async fn asked(
        &self,
        entry: &[&str],
        what: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> (Result<String, kube::Error>, Vec<Value>) {
        self.recorder.take(self.user);
        let answer = self.call(method, path, body).await;
        let reviews = self.recorder.take(self.user);
        // One write may be reviewed again after a conflict: always by the same entry.
        let entries: BTreeSet<_> = reviews.iter().map(|review| review.entry.as_str()).collect();
        assert_eq!(entries.into_iter().collect::<Vec<_>>(), entry, "{what}: {method} {path}: {answer:?}");
        (answer, reviews.into_iter().map(|review| review.request).collect())
    }
}

fn named(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

fn labelled(labels: Value) -> Value {
    json!({"metadata": {"labels": labels}})
}

/// Status goes in by PUT of the live object with a change, since a merge patch could not say "nothing else".
fn patched(status: Value) -> Value {
    json!({"status": status})
}

fn crd() -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {
            "group": "example.org", "scope": "Namespaced",
            "names": {"kind": "Widget", "listKind": "WidgetList", "plural": "widgets", "singular": "widget"},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": schema},
                {"name": "v2", "served": true, "storage": false, "schema": schema,
                 "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}}},
            ],
        },
    })
}

fn pod() -> Value {
    json!({"metadata": {"name": "p"}, "spec": {
        "serviceAccountName": "default", "automountServiceAccountToken": false,
        "containers": [{"name": "c", "image": "example.org/c:1"}]}})
}

fn deployment() -> Value {
    json!({"metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}},
                     "spec": {"containers": [{"name": "c", "image": "example.org/c:1"}]}}}})
}

fn slice(name: &str, finalizers: &[&str]) -> Value {
    json!({"addressType": "IPv4", "endpoints": [], "metadata": {
        "name": name, "finalizers": finalizers,
        "labels": {"kubernetes.io/service-name": "gitadel",
                   "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "gitadel",
                             "uid": "00000000-0000-0000-0000-000000000000", "controller": true}]}})
}

/// A cluster with what the cases work on, and the configuration in force.
async fn prepare(control_plane: &ControlPlane, recorder: &Recorder) -> Client {
    let client = client(control_plane).await;
    let admin = Caller { client: client.clone(), user: "admin", recorder };
    for name in ["shop", "legacy", "gitadel-system"] {
        admin.call("POST", "/api/v1/namespaces", &named(name)).await.unwrap();
    }
    for namespace in ["shop", "gitadel-system", "kube-system"] {
        let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        admin.call("POST", &accounts, &named("default")).await.unwrap();
    }
    admin.call("POST", "/api/v1/namespaces/shop/pods", &pod()).await.unwrap();
    admin.call("POST", "/api/v1/namespaces/gitadel-system/pods", &pod()).await.unwrap();
    let mut second = pod();
    second["metadata"]["name"] = "q".into();
    admin.call("POST", "/api/v1/namespaces/gitadel-system/pods", &second).await.unwrap();
    admin.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd()).await.unwrap();
    super::support::eventually("the custom resource", async || {
        admin.call("GET", "/apis/example.org/v2/namespaces/shop/widgets", &Value::Null).await.ok()
    })
    .await;
    store(&Api::all(client.clone()), &configuration(recorder), None).await.unwrap();
    let canary = Canary { places: vec![Place::Namespace("shop".into())], closed: None };
    prove_enforcing(client.clone(), &canary, Duration::from_secs(20)).await.unwrap();
    client_for(control_plane, TESTER, Some("system:masters")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_reaches_exactly_one_entry_or_is_decided_before() {
    let control_plane = ControlPlane::start(Options { controller_manager: false, ..Options::default() }).await.unwrap();
    let recorder = Recorder::start().await;
    let client = prepare(&control_plane, &recorder).await;
    let tester = Caller { client, user: TESTER, recorder: &recorder };

    scopes(&tester).await;
    versions(&tester).await;
    status(&tester).await;
    nodes(&tester).await;
    machinery(&tester).await;
    own_objects(&tester).await;

    let reconciler = Caller {
        client: client_for(&control_plane, RECONCILER, Some("system:masters")).await,
        user: RECONCILER,
        recorder: &recorder,
    };
    dry_runs(&tester, &reconciler).await;
}

async fn scopes(tester: &Caller<'_>) {
    let cases: [(&[&str], &str, &str, &str, Value); 12] = [
        (&[EXACT], "registered kind", "POST", "/api/v1/namespaces/shop/configmaps", named("a")),
        (&[EXACT], "deletion", "DELETE", "/api/v1/namespaces/shop/configmaps/a", Value::Null),
        (&[REST], "other kind", "POST", "/api/v1/namespaces/shop/secrets", named("a")),
        (&[REST], "deletion of a collection", "DELETE", "/api/v1/namespaces/shop/secrets", Value::Null),
        (&[OBSERVED], "observed", "POST", "/api/v1/namespaces/legacy/configmaps", named("a")),
        (&[OBSERVED_REST], "observed, other kind", "POST", "/api/v1/namespaces/legacy/secrets", named("a")),
        (&[], "excluded by a pattern", "POST", "/api/v1/namespaces/kube-public/configmaps", named("a")),
        (&[], "excluded by a pattern, other kind", "POST", "/api/v1/namespaces/kube-system/secrets", named("a")),
        (&[REST], "Namespace", "POST", "/api/v1/namespaces", named("shop-2")),
        (&[], "excluded Namespace", "POST", "/api/v1/namespaces", named("kube-more")),
        (&[OBSERVED_REST], "observed Namespace", "PATCH", "/api/v1/namespaces/legacy", labelled(json!({"a": "b"}))),
        (&[REST], "cluster-scoped", "POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", named("a")),
    ];
    for (entry, what, method, path, body) in cases {
        tester.reaches(entry, what, method, path, body).await;
    }
    // The server puts the label right, and asks about what is stored: nobody gets into another scope by it.
    let relabelled = labelled(json!({"kubernetes.io/metadata.name": "legacy"}));
    let reviews = tester.reaches(&[REST], "relabelled Namespace", "PATCH", "/api/v1/namespaces/shop", relabelled).await;
    assert_eq!(reviews[0]["object"]["metadata"]["labels"]["kubernetes.io/metadata.name"], "shop");
    // A connection is reviewed before the (missing) kubelet is called.
    tester
        .asked(&[REST], "exec", "POST", "/api/v1/namespaces/shop/pods/p/exec?command=id", &Value::Null)
        .await
        .0
        .unwrap_err();
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    tester
        .asked(&[REST], "eviction", "POST", "/api/v1/namespaces/shop/pods/p/eviction?dryRun=All", &eviction)
        .await
        .0
        .unwrap();
}

async fn versions(tester: &Caller<'_>) {
    let widgets = "/apis/example.org/v2/namespaces/shop/widgets";
    let widget =
        json!({"apiVersion": "example.org/v2", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"replicas": 1}});
    let reviews = tester.reaches(&[EXACT], "another version", "POST", widgets, widget).await;
    assert_eq!(reviews[0]["object"]["apiVersion"], "example.org/v1", "converted to the version that Git uses");

    let scale = json!({"spec": {"replicas": 2}});
    let path = format!("{widgets}/w/scale");
    tester.reaches(&[REST], "a subresource that the registered version lacks", "PATCH", &path, scale.clone()).await;

    tester.reaches(&[EXACT], "Deployment", "POST", "/apis/apps/v1/namespaces/shop/deployments", deployment()).await;
    tester.reaches(&[EXACT], "scale", "PATCH", "/apis/apps/v1/namespaces/shop/deployments/web/scale", scale).await;
}

async fn status(tester: &Caller<'_>) {
    let path = "/apis/apps/v1/namespaces/shop/deployments/web/status";
    let annotation = |annotations: Value| json!({"metadata": {"annotations": annotations}});
    let revision = "deployment.kubernetes.io/revision";
    let cases: [(&[&str], &str, Value); 9] = [
        (&[], "status", patched(json!({"observedGeneration": 1}))),
        (&[], "revision set", annotation(json!({revision: "1"}))),
        (&[], "revision changed", annotation(json!({revision: "2"}))),
        (&[EXACT], "revision removed", annotation(json!({revision: null}))),
        (&[EXACT], "annotation", annotation(json!({"a": "b"}))),
        (&[EXACT], "annotation with an empty value", annotation(json!({"empty": ""}))),
        // The server itself leaves a Deployment's labels as they were.
        (&[], "label that is not stored", labelled(json!({"empty": ""}))),
        (&[EXACT], "finalizer", json!({"metadata": {"finalizers": ["example.org/keep"]}})),
        (&[], "status again", patched(json!({"observedGeneration": 2}))),
    ];
    for (entry, what, body) in cases {
        tester.reaches(entry, what, "PATCH", path, body).await;
    }
    let pod = "/api/v1/namespaces/shop/pods/p/status";
    tester.reaches(&[], "Pod status", "PATCH", pod, patched(json!({"message": "m"}))).await;
    tester.reaches(&[REST], "label by status", "PATCH", pod, labelled(json!({"empty": ""}))).await;
}

async fn nodes(tester: &Caller<'_>) {
    let path = "/api/v1/nodes/n";
    let taints = |keys: &[&str]| {
        let taints: Vec<_> = keys.iter().map(|key| json!({"key": key, "effect": "NoSchedule"})).collect();
        json!({"spec": {"taints": taints}})
    };
    tester.reaches(&[], "a new Node", "POST", "/api/v1/nodes", named("n")).await;
    let cases: [(&[&str], &str, Value); 9] = [
        (&[], "condition taint set", taints(&["node.kubernetes.io/not-ready"])),
        (&[], "condition taint exchanged", taints(&["node.kubernetes.io/unreachable"])),
        (&[], "condition taints removed", taints(&[])),
        (&[REST], "taint that has Pods deleted by force", taints(&["node.kubernetes.io/out-of-service"])),
        (&[REST], "foreign taint removed", taints(&[])),
        (&[REST], "cordon", json!({"spec": {"unschedulable": true}})),
        (&[REST], "podCIDR", json!({"spec": {"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24"]}})),
        (&[REST], "label with an empty value", labelled(json!({"empty": ""}))),
        (&[], "nothing but a taint", taints(&["node.kubernetes.io/disk-pressure"])),
    ];
    for (entry, what, body) in cases {
        tester.reaches(entry, what, "PATCH", path, body).await;
    }
    let path = "/api/v1/nodes/n/status";
    tester.reaches(&[], "heartbeat", "PATCH", path, patched(json!({"phase": "Running"}))).await;
    tester.reaches(&[REST], "label by status", "PATCH", path, labelled(json!({"other": ""}))).await;
    tester
        .reaches(
            &[],
            "CSINode",
            "POST",
            "/apis/storage.k8s.io/v1/csinodes",
            json!({"metadata": {"name": "n"}, "spec": {"drivers": []}}),
        )
        .await;
    tester.reaches(&[REST], "removal", "DELETE", "/api/v1/nodes/n", Value::Null).await;
}

async fn machinery(tester: &Caller<'_>) {
    let event = |namespace: &str| {
        json!({
        "metadata": {"name": "e"}, "reason": "r", "type": "Normal", "action": "a", "reportingController": "example.org/c",
        "reportingInstance": "i", "eventTime": "2026-01-01T00:00:00.000000Z",
        "regarding": {"namespace": namespace}, "involvedObject": {"namespace": namespace}})
    };
    let token = json!({"spec": {"audiences": [], "expirationSeconds": 600}});
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "shop"}}});
    let cases: [(&[&str], &str, &str, Value); 8] = [
        (&[], "Lease", "/apis/coordination.k8s.io/v1/namespaces/shop/leases", named("l")),
        (&[], "Event", "/apis/events.k8s.io/v1/namespaces/shop/events", event("shop")),
        (&[], "access review", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review.clone()),
        (
            &[],
            "access review of a namespace",
            "/apis/authorization.k8s.io/v1/namespaces/shop/localsubjectaccessreviews",
            json!({"metadata": {"namespace": "shop"}, "spec": {"user": "a", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "shop"}}}),
        ),
        (&[], "identity review", "/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({})),
        (&[], "token of a controller", "/api/v1/namespaces/kube-system/serviceaccounts/default/token", token.clone()),
        (&[], "own token", "/api/v1/namespaces/gitadel-system/serviceaccounts/default/token", token.clone()),
        (&[REST], "other token", "/api/v1/namespaces/shop/serviceaccounts/default/token", token),
    ];
    for (entry, what, path, body) in cases {
        tester.reaches(entry, what, "POST", path, body).await;
    }
}

async fn own_objects(tester: &Caller<'_>) {
    let binding = |pod: &str, metadata: Value| {
        let mut binding = json!({"metadata": metadata, "target": {"kind": "Node", "name": "n"}});
        binding["metadata"]["name"] = pod.into();
        binding
    };
    let path = |namespace: &str, pod: &str| format!("/api/v1/namespaces/{namespace}/pods/{pod}/binding");
    let labelled_binding = binding("p", json!({"labels": {"app": ""}}));
    tester
        .asked(&[REST], "labels by binding", "POST", &(path("gitadel-system", "p") + "?dryRun=All"), &labelled_binding)
        .await
        .0
        .unwrap();
    let annotated = binding("p", json!({"annotations": {"a": ""}}));
    tester
        .asked(&[REST], "annotations by binding", "POST", &(path("gitadel-system", "p") + "?dryRun=All"), &annotated)
        .await
        .0
        .unwrap();
    let topology = binding("q", json!({"labels": {"topology.kubernetes.io/zone": "a"}}));
    tester.reaches(&[], "binding with topology", "POST", &path("gitadel-system", "q"), topology).await;
    tester.reaches(&[], "own binding", "POST", &path("gitadel-system", "p"), binding("p", json!({}))).await;
    tester.reaches(&[REST], "other binding", "POST", &path("shop", "p"), binding("p", json!({}))).await;

    let slices = "/apis/discovery.k8s.io/v1/namespaces/gitadel-system/endpointslices";
    tester.reaches(&[REST], "slice with a finalizer", "POST", slices, slice("f", &["example.org/keep"])).await;
    let mut foreign = slice("s", &[]);
    foreign["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = "me".into();
    tester.reaches(&[REST], "slice of another manager", "POST", slices, foreign).await;
    tester.reaches(&[REST], "slice of another name", "POST", slices, slice("a", &[])).await;
    let mut annotated = slice("gitadel-annotated", &[]);
    annotated["metadata"]["annotations"] = json!({"a": "b"});
    tester.reaches(&[REST], "slice with an annotation", "POST", slices, annotated).await;
    let mut orphan = slice("gitadel-orphan", &[]);
    orphan["metadata"]["ownerReferences"][0]["controller"] = false.into();
    tester.reaches(&[REST], "slice of an owner that is no controller", "POST", slices, orphan).await;
    tester.reaches(&[], "own slice", "POST", slices, slice("gitadel-a", &[])).await;
    let address = |target: Value| json!({"endpoints": [{"addresses": ["10.0.0.1"], "targetRef": target}]});
    let pod_in = |namespace: &str| json!({"kind": "Pod", "name": "p", "namespace": namespace});
    let own = format!("{slices}/gitadel-a");
    let mut changed = address(pod_in("gitadel-system"));
    changed["metadata"] = json!({"annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "now"}});
    tester.reaches(&[], "own address", "PATCH", &own, changed).await;
    tester.reaches(&[REST], "address of another's Pod", "PATCH", &own, address(pod_in("shop"))).await;
    tester.reaches(&[REST], "address of no Pod", "PATCH", &own, address(Value::Null)).await;
    let port = |port: u16| json!({"ports": [{"name": "https", "port": port, "protocol": "TCP"}], "endpoints": []});
    tester.reaches(&[], "first ports", "PATCH", &own, port(9443)).await;
    tester.reaches(&[REST], "other ports", "PATCH", &own, port(6666)).await;
    tester.reaches(&[], "the ports go", "PATCH", &own, json!({"ports": [], "endpoints": []})).await;
    let annotation = json!({"metadata": {"annotations": {"a": "b"}}});
    tester.reaches(&[REST], "own slice annotated", "PATCH", &own, annotation).await;
    tester.reaches(&[REST], "own slice relabelled", "PATCH", &own, labelled(json!({"a": ""}))).await;
    tester.reaches(&[REST], "own slice deleted", "DELETE", &own, Value::Null).await;

    let pods = "/api/v1/namespaces/gitadel-system/pods";
    let mut new = pod();
    new["metadata"]["name"] = "new".into();
    tester.reaches(&[REST], "a Pod beside gitadel's", "POST", pods, new).await;
    tester.reaches(&[REST], "its deletion", "DELETE", &format!("{pods}/new"), Value::Null).await;
}

async fn dry_runs(tester: &Caller<'_>, reconciler: &Caller<'_>) {
    let path = "/api/v1/namespaces/shop/configmaps";
    let dry = format!("{path}?dryRun=All");
    reconciler.reaches(&[], "own dry-run", "POST", &dry, named("d")).await;
    reconciler.reaches(&[EXACT], "own write", "POST", path, named("d")).await;
    tester.reaches(&[EXACT], "another's dry-run", "POST", &dry, named("e")).await;
}
