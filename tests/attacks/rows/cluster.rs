//! Objects of the whole cluster that Git does not know, and what Kubernetes keeps for itself.

use serde_json::{Value, json};

use crate::attack::Identity::StolenReconcilerToken;
use crate::attack::{Attack, create, delete, merge};

const FLOW_SCHEMAS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";

fn named(name: &str) -> Value {
    json!({"name": name})
}

pub fn rows() -> Vec<Attack> {
    let widget = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": named("mines.example.com"),
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "mines", "kind": "Mine"}, "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    let aggregated = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": named("v1.mine.example.com"),
        "spec": {"group": "mine.example.com", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
            "insecureSkipTLSVerify": true, "service": {"name": "web", "namespace": "shop"}}});
    vec![
        create(
            "a namespace",
            "/api/v1/namespaces",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": named("mine")}),
        ),
        create(
            "a namespace",
            "/api/v1/namespaces",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": named("mine")}),
        )
        .by(StolenReconcilerToken),
        create("a definition", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", widget),
        create("an aggregated API", "/apis/apiregistration.k8s.io/v1/apiservices", aggregated.clone()),
        create("an aggregated API", "/apis/apiregistration.k8s.io/v1/apiservices", aggregated)
            .impersonating("system:apiserver"),
        merge(
            "an aggregated API in the place of a built-in one",
            "/apis/apiregistration.k8s.io/v1/apiservices/v1.apps",
            json!({"spec": {"service": {"name": "web", "namespace": "shop"}, "insecureSkipTLSVerify": true}}),
        ),
        create(
            "a priority above all others",
            "/apis/scheduling.k8s.io/v1/priorityclasses",
            json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": named("mine"), "value": 1_000_000_000}),
        ),
        create(
            "a priority that every Pod gets",
            "/apis/scheduling.k8s.io/v1/priorityclasses",
            json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": named("mine"), "value": 1, "globalDefault": true}),
        ),
        create(
            "a default class of storage",
            "/apis/storage.k8s.io/v1/storageclasses",
            json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "example.com/mine",
                "metadata": {"name": "mine", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}),
        ),
        create(
            "a volume of the host",
            "/api/v1/persistentvolumes",
            json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": named("mine"),
                "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "slow", "hostPath": {"path": "/"}}}),
        ),
        create(
            "a runtime for Pods",
            "/apis/node.k8s.io/v1/runtimeclasses",
            json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": named("mine"), "handler": "mine"}),
        ),
        create(
            "a lane that starves requests",
            FLOW_SCHEMAS,
            json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": named("mine"),
                "spec": {"priorityLevelConfiguration": {"name": "exempt"}, "matchingPrecedence": 2}}),
        ),
        create(
            "a lane that starves requests, in the API server's name",
            FLOW_SCHEMAS,
            json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
                "metadata": {"name": "mine", "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}},
                "spec": {"priorityLevelConfiguration": {"name": "exempt"}, "matchingPrecedence": 2}}),
        )
        .impersonating("system:apiserver"),
        merge(
            "the API server's own lane, which it is to look after no more",
            &format!("{FLOW_SCHEMAS}/service-accounts"),
            json!({"metadata": {"annotations": {"apf.kubernetes.io/autoupdate-spec": "false"}}, "spec": {"matchingPrecedence": 8999}}),
        )
        .impersonating("system:apiserver")
        .rejected_by("declared"),
        delete("the API server's own lane", &format!("{FLOW_SCHEMAS}/service-accounts"))
            .impersonating("system:apiserver")
            .rejected_by("declared"),
        merge(
            "the API server's own lane for another level",
            &format!("{FLOW_SCHEMAS}/service-accounts"),
            json!({"spec": {"priorityLevelConfiguration": {"name": "catch-all"}}}),
        )
        .impersonating("system:apiserver")
        .put_back("the API server looks after it every minute, and only its version knows what it holds"),
        create(
            "a volume attached to a node",
            "/apis/storage.k8s.io/v1/volumeattachments",
            json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": named("mine"),
                "spec": {"attacher": "mine.example.com", "nodeName": "n1", "source": {"persistentVolumeName": "mine"}}}),
        )
        .rejected_by("generated"),
        merge(
            "a taint that empties a node",
            "/api/v1/nodes/n1",
            json!({"spec": {"taints": [{"key": "mine", "effect": "NoExecute"}]}}),
        )
        .rejected_by("generated"),
        merge(
            "a taint that empties a node, by the name of a condition",
            "/api/v1/nodes/n1",
            json!({"spec": {"taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoExecute"}]}}),
        )
        .rejected_by("generated"),
        merge(
            "a condition with a value, which nobody tolerates",
            "/api/v1/nodes/n1",
            json!({"spec": {"taints": [{"key": "node.kubernetes.io/not-ready", "value": "mine", "effect": "NoExecute"}]}}),
        )
        .rejected_by("generated"),
        merge("a label that a Pod selects", "/api/v1/nodes/n1", json!({"metadata": {"labels": {"mine": "yes"}}}))
            .rejected_by("generated"),
    ]
}
