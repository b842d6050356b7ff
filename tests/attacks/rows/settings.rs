//! Where an Enforcement says otherwise: operations forbidden or allowed, fields delegated, a scope of one namespace.

use serde_json::{Value, json};

use super::at;
use crate::attack::Identity::{NamespaceAdmin, StolenReconcilerToken};
use crate::attack::{Attack, Body, Content, create, delete, merge, patch, post, put, request};
use crate::report::Section;

const POD: &str = "/api/v1/namespaces/shop/pods/{web-}";
const SCALER: &str = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";

/// Nothing is done to running Pods but by their controllers, and the autoscaler has two to four replicas.
pub fn strict() -> Value {
    json!({
        "childOperations": {"exec": "Deny", "delete": "Deny", "ephemeralContainers": "Deny", "resize": "Deny"},
        "delegations": [{"user": SCALER, "group": "apps", "kind": "Deployment", "namespace": "shop", "name": "web",
            "fields": ["spec.replicas"], "minimum": 2, "maximum": 4}],
    })
}

pub fn under_strict() -> Section {
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "db-0"}});
    let nothing = || json!({});
    let replicas = |replicas: u32| json!({"spec": {"replicas": replicas}});
    let scale = format!("{}/scale", at::WEB);
    let back = || request("PATCH", &scale, Content::Merge, Body::Sent(replicas(2)));
    let connections = [
        post("a shell", &format!("{POD}/exec?command=sh&stdin=true"), nothing()),
        post("a shell", &format!("{POD}/exec?command=sh&stdin=true"), nothing()).by(NamespaceAdmin),
        post("a shell", &format!("{POD}/exec?command=sh&stdin=true"), nothing()).by(StolenReconcilerToken),
        post("a terminal", &format!("{POD}/attach?stdin=true"), nothing()),
        post("ports", &format!("{POD}/portforward"), nothing()),
        post("ports, by the API server", &format!("{POD}/proxy/"), nothing()),
        post("ports of a Service, by the API server", "/api/v1/namespaces/shop/services/web/proxy/", nothing()),
        post("a child evicted", "/api/v1/namespaces/shop/pods/db-0/eviction", eviction),
    ];
    let mut attacks: Vec<Attack> =
        connections.into_iter().map(|attack| attack.about(at::WEB).rejected_by("child-operations")).collect();
    attacks.extend([
        delete("a child that is a Pod", "/api/v1/namespaces/shop/pods/db-0").rejected_by("child"),
        delete("every Pod of a Deployment", "/api/v1/namespaces/shop/pods?labelSelector=app%3Dweb")
            .about(at::WEB)
            .rejected_by("child"),
        merge("more than is delegated", at::WEB, replicas(5)).impersonating(SCALER),
        merge("more than is delegated", &scale, replicas(5)).impersonating(SCALER).rejected_by("scale"),
        merge("less than is delegated", &scale, replicas(1)).impersonating(SCALER).rejected_by("scale"),
        merge("what is delegated to another", &scale, replicas(4)).rejected_by("scale"),
        merge("what is delegated, and more", at::WEB, json!({"spec": {"replicas": 4, "paused": true}}))
            .impersonating(SCALER),
        merge("what is delegated", &scale, replicas(2))
            .impersonating(SCALER)
            .harmless("Git says who sets it, and within which bounds"),
        merge("what is delegated, by impersonation", &scale, replicas(4))
            .impersonating(SCALER)
            .open("RBAC: who may impersonate the delegate; the bounds are Git's")
            .then(back()),
    ]);
    Section { title: "Where operations on Pods are denied and replicas delegated", attacks }
}

/// One namespace, and nothing of the cluster.
pub fn narrow() -> Value {
    json!({"scope": {"namespaces": ["shop"]}})
}

pub fn under_narrow() -> Section {
    let enforcements = "/apis/gitadel.dev/v1alpha1/enforcements";
    let all = "/apis/gitadel.dev/v1alpha1/enforcements/all";
    let other = |scope: Value| {
        json!({"apiVersion": "gitadel.dev/v1alpha1", "kind": "Enforcement", "metadata": {"name": "aaa"},
            "spec": {"source": {"url": "https://git.example/mine.git"}, "scope": scope}})
    };
    let system = "/api/v1/namespaces/gitadel-system";
    let definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/enforcements.gitadel.dev";
    let config_map = || json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}});
    let gone = |path: &str| request("DELETE", path, Content::Json, Body::Nothing);
    let beyond = "a scope that holds it";
    let attacks = vec![
        merge("another colour", at::SETTINGS, json!({"data": {"colour": "red"}})),
        create("a ConfigMap", "/api/v1/namespaces/shop/configmaps", config_map()),
        delete("the namespace", at::NAMESPACE),
        merge("a label of the namespace", at::NAMESPACE, json!({"metadata": {"labels": {"mine": "yes"}}})),
        merge("to observe only", all, json!({"spec": {"action": "Observe"}})).rejected_by("enforcement"),
        merge("another repository", all, json!({"spec": {"source": {"url": "https://git.example/mine.git"}}}))
            .rejected_by("enforcement"),
        merge("another repository", all, json!({"spec": {"source": {"url": "https://git.example/mine.git"}}}))
            .by(StolenReconcilerToken)
            .rejected_by("enforcement"),
        merge("no namespace", all, json!({"spec": {"scope": {"namespaces": []}}})).rejected_by("enforcement"),
        put("an owner that is dead", all, |o| o["metadata"]["ownerReferences"] = super::deletions::dead_owner())
            .rejected_by("enforcement"),
        delete("an Enforcement", all).rejected_by("enforcement"),
        delete("every Enforcement", enforcements).about(all).rejected_by("enforcement"),
        create("an Enforcement over the same", enforcements, other(json!({"namespaces": ["shop", "bank"]})))
            .rejected_by("enforcement"),
        create("an Enforcement over everything", enforcements, other(json!({"excludedNamespaces": []})))
            .rejected_by("enforcement"),
        create("an Enforcement over gitadel", enforcements, other(json!({"namespaces": ["gitadel-system"]})))
            .rejected_by("enforcement"),
        create(
            "an Enforcement over Enforcements",
            enforcements,
            other(json!({"namespaces": [], "cluster": "Listed",
            "clusterKinds": [{"group": "gitadel.dev", "kind": "Enforcement"}]})),
        )
        .rejected_by("enforcement"),
        delete("gitadel's namespace", system).rejected_by("own"),
        merge("a label of gitadel's namespace", system, json!({"metadata": {"labels": {"mine": "yes"}}}))
            .rejected_by("own"),
        post("a shell in gitadel's Pod", &format!("{system}/pods/gitadel-0/exec?command=sh&stdin=true"), json!({}))
            .about(system)
            .rejected_by("own"),
        delete("gitadel's definition", definition).rejected_by("own"),
        merge("gitadel's definition", definition, json!({"spec": {"names": {"shortNames": ["x"]}}})).rejected_by("own"),
        delete("a record of the baseline", &format!("{system}/secrets/gitadel-baseline-all-0")).rejected_by("own"),
        delete("every Secret of gitadel's namespace", &format!("{system}/secrets"))
            .about(&format!("{system}/secrets/gitadel-baseline-all-0"))
            .rejected_by("own"),
        delete("the list of what was applied", &format!("{system}/configmaps/{{gitadel-inventory-all-}}"))
            .rejected_by("own"),
        patch(
            "another colour, in the name of a team",
            at::SETTINGS,
            Content::Strategic,
            json!({"data": {"colour": "red"}}),
        )
        .impersonating("system:serviceaccount:bank:robot"),
        merge("to observe only", all, json!({"spec": {"action": "Observe"}})).undone_past_admission(),
        merge("another repository", all, json!({"spec": {"source": {"url": "https://git.example/mine.git"}}}))
            .undone_past_admission(),
        delete("an Enforcement", all).undone_past_admission(),
        create("an object beyond the scope", "/api/v1/namespaces/default/configmaps", config_map())
            .open(beyond)
            .then(gone("/api/v1/namespaces/default/configmaps/mine")),
        create("an Enforcement beside it", enforcements, other(json!({"namespaces": ["bank"]})))
            .harmless("it shares nothing with what is enforced")
            .then(gone("/apis/gitadel.dev/v1alpha1/enforcements/aaa")),
    ];
    Section { title: "Where the scope is one namespace", attacks }
}
