//! Ways to make an object go, or to keep one that should go.

use serde_json::{Value, json};

use super::at;
use crate::attack::Identity::{NamespaceAdmin, StolenReconcilerToken};
use crate::attack::{Attack, delete, delete_with, json_patch, merge, post};
use crate::report::Section;

const REPLICA_SET: &str = "/apis/apps/v1/namespaces/shop/replicasets/{web-}";
const COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";

pub fn section() -> Section {
    let attacks = [at_admission(), of_pods(), past_admission()].concat();
    Section { title: "Deletion", attacks }
}

/// Whom the garbage collector finds nowhere: it takes along what he owns.
pub fn dead_owner() -> Value {
    json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "00000000-0000-0000-0000-000000000000"}])
}

fn at_admission() -> Vec<Attack> {
    let policy = |policy: &str| json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy});
    let made_anew = "its controller makes it anew";
    vec![
        delete("a Deployment", at::WEB),
        delete("a Deployment", at::WEB).by(NamespaceAdmin),
        delete("a Deployment", at::WEB).by(StolenReconcilerToken),
        delete("a Deployment", at::WEB).impersonating(COLLECTOR),
        delete("a Deployment", at::WEB).impersonating("system:serviceaccount:kube-system:namespace-controller"),
        delete_with("a Deployment, its children orphaned", at::WEB, policy("Orphan")),
        delete_with("a Deployment after its children", at::WEB, policy("Foreground")),
        delete("every Deployment", "/apis/apps/v1/namespaces/shop/deployments").about(at::WEB),
        delete("every Deployment", "/apis/apps/v1/namespaces/shop/deployments").about(at::WEB).by(NamespaceAdmin),
        delete("every Secret", "/api/v1/namespaces/shop/secrets").about(at::PASSWORD),
        delete(
            "every role",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles?labelSelector=!kubernetes.io/bootstrapping",
        )
        .about(at::READER),
        delete("a Secret", at::PASSWORD),
        delete("a claim with its data", "/api/v1/namespaces/shop/persistentvolumeclaims/data"),
        delete("what was there before Git", at::OLD),
        delete("a role that was there before Git", at::OLD_READER),
        delete("a role of Kubernetes' own", "/apis/rbac.authorization.k8s.io/v1/clusterroles/view"),
        delete("the namespace", at::NAMESPACE),
        delete("the namespace", at::NAMESPACE).by(StolenReconcilerToken),
        delete("a definition: of its objects nobody is asked", at::DEFINITION),
        delete("a definition: of its objects nobody is asked", at::DEFINITION).by(StolenReconcilerToken),
        json_patch(
            "a version of a definition, served no longer",
            at::DEFINITION,
            json!([{"op": "replace", "path": "/spec/versions/1/served", "value": false}]),
        ),
        delete("a custom resource, in another version", at::WIDGET_V1BETA1),
        delete("a declared Pod", at::BARE),
        delete("a declared Pod, as its node failed", at::BARE)
            .impersonating("system:serviceaccount:kube-system:pod-garbage-collector")
            .undone(),
        delete("a child that is a Pod", "/api/v1/namespaces/shop/pods/db-0").harmless(made_anew),
        delete("a child that is a Pod", "/api/v1/namespaces/shop/pods/{web-}").by(NamespaceAdmin).harmless(made_anew),
        delete("a child that is a ReplicaSet", REPLICA_SET).rejected_by("child"),
        delete("a child that is a ReplicaSet", REPLICA_SET).by(StolenReconcilerToken).rejected_by("child"),
        delete("every Pod, declared ones too", "/api/v1/namespaces/shop/pods").about(at::BARE),
        merge("an owner that is dead", at::SETTINGS, json!({"metadata": {"ownerReferences": dead_owner()}})),
        merge("an owner that is dead", at::SETTINGS, json!({"metadata": {"ownerReferences": dead_owner()}}))
            .impersonating(COLLECTOR),
        merge("an owner that is dead", at::NAMESPACE, json!({"metadata": {"ownerReferences": dead_owner()}})),
        merge(
            "an owner that is dead, for a child",
            REPLICA_SET,
            json!({"metadata": {"ownerReferences": dead_owner()}}),
        )
        .rejected_by("child"),
        merge(
            "a finalizer that holds a child",
            "/api/v1/namespaces/shop/pods/db-0",
            json!({"metadata": {"finalizers": ["example.com/hold"]}}),
        )
        .rejected_by("child"),
        json_patch(
            "the finalizer that protects a claim",
            "/api/v1/namespaces/shop/persistentvolumeclaims/data",
            json!([{"op": "remove", "path": "/metadata/finalizers"}]),
        ),
        merge(
            "a child without its owner",
            "/api/v1/namespaces/shop/pods/{web-}",
            json!({"metadata": {"ownerReferences": null}}),
        )
        .rejected_by("child"),
        delete("a default account", "/api/v1/namespaces/shop/serviceaccounts/default").rejected_by("generated"),
        delete("the addresses of a Service", "/api/v1/namespaces/shop/endpoints/web").rejected_by("generated"),
    ]
}

/// A Pod may be deleted, but not so that it stays.
fn of_pods() -> Vec<Attack> {
    const REPLICA: &str = "/api/v1/namespaces/shop/pods/db-0";
    const YEARS: i64 = 315_360_000;
    let eviction = |what, pod: &str, options: Value| {
        let name = pod.rsplit('/').next().unwrap_or_default();
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, "deleteOptions": options});
        post(what, &format!("{pod}/eviction"), eviction).about(pod)
    };
    let made_anew = "its controller makes it anew";
    let rejected = [
        delete_with("a child after what depends on it", REPLICA, json!({"propagationPolicy": "Foreground"})),
        delete_with("a child, what depends on it orphaned", REPLICA, json!({"propagationPolicy": "Orphan"})),
        delete_with("a child, what depends on it orphaned", REPLICA, json!({"orphanDependents": true})),
        eviction("a child evicted after what depends on it", REPLICA, json!({"propagationPolicy": "Foreground"})),
        eviction(
            "a declared Pod evicted after what depends on it",
            at::BARE,
            json!({"propagationPolicy": "Foreground"}),
        ),
        eviction("a child evicted, which has ten years", REPLICA, json!({"gracePeriodSeconds": YEARS})),
        eviction("a declared Pod evicted, which has ten years", at::BARE, json!({"gracePeriodSeconds": YEARS})),
    ];
    let admitted = [
        delete_with(
            "a child that is hurried",
            REPLICA,
            json!({"gracePeriodSeconds": 1, "propagationPolicy": "Background"}),
        ),
        eviction("a child evicted, with the time that it has", REPLICA, json!({"gracePeriodSeconds": 30})),
    ];
    let rejected = rejected.map(|attack| attack.by(NamespaceAdmin).rejected_by("pod-deletion"));
    [rejected.to_vec(), admitted.map(|attack| attack.by(NamespaceAdmin).harmless(made_anew)).to_vec()].concat()
}

fn past_admission() -> Vec<Attack> {
    let owned = || json!({"metadata": {"ownerReferences": dead_owner()}});
    [
        delete("a Deployment", at::WEB),
        delete("a ConfigMap", at::SETTINGS),
        delete("a Secret", at::PASSWORD),
        delete("what was there before Git", at::OLD),
        delete("a role that was there before Git", at::OLD_READER),
        delete("a custom resource", at::WIDGET),
        delete("a definition with its objects", at::DEFINITION).about(at::WIDGET),
        delete("a namespace with all that is in it", "/api/v1/namespaces/bank")
            .about("/api/v1/namespaces/bank/configmaps/vault"),
        merge("an owner that is dead", at::SETTINGS, owned()),
        merge("a finalizer", at::SETTINGS, json!({"metadata": {"finalizers": ["example.com/hold"]}})),
        merge("a value for ever", at::SETTINGS, json!({"immutable": true, "data": {"colour": "red"}})),
    ]
    .map(Attack::undone_past_admission)
    .to_vec()
}
