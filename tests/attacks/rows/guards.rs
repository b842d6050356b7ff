//! gitadel itself: its configuration, its records, its rights, and those who speak in its name.

use serde_json::{Value, json};

use super::at;
use super::deletions::dead_owner;
use crate::attack::Identity::StolenReconcilerToken;
use crate::attack::{Attack, create, delete, json_patch, merge, post, put};
use crate::report::Section;

const CONFIGURATION: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/gitadel";
const ENFORCEMENTS: &str = "/apis/gitadel.dev/v1alpha1/enforcements";
const ENFORCEMENT: &str = "/apis/gitadel.dev/v1alpha1/enforcements/all";
const DEFINITION: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/enforcements.gitadel.dev";
const SYSTEM: &str = "/api/v1/namespaces/gitadel-system";
const BASELINE: &str = "/api/v1/namespaces/gitadel-system/secrets/gitadel-baseline-all-0";
const INVENTORY: &str = "/api/v1/namespaces/gitadel-system/configmaps/{gitadel-inventory-all-}";
const BINDING: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/gitadel";
const RECONCILER: &str = "system:serviceaccount:gitadel-system:gitadel";

pub fn section() -> Section {
    let attacks = [configuration(), records(), enforcements(), in_its_name(), installation()].concat();
    Section { title: "gitadel itself", attacks }
}

/// Kubernetes asks no webhook about webhook configurations.
fn configuration() -> Vec<Attack> {
    [
        delete("gitadel's webhook configuration", CONFIGURATION),
        delete("gitadel's webhook configuration", CONFIGURATION).by(StolenReconcilerToken),
        delete("every webhook configuration", CONFIGURATION.trim_end_matches("/gitadel")).about(CONFIGURATION),
        merge("no entries", CONFIGURATION, json!({"webhooks": []})),
        put("an entry less", CONFIGURATION, |o| {
            o["webhooks"].as_array_mut().unwrap().pop();
        }),
        put("another authority", CONFIGURATION, |o| o["webhooks"][0]["clientConfig"]["caBundle"] = Value::Null),
        put("another address", CONFIGURATION, |o| {
            o["webhooks"][0]["clientConfig"]["url"] = json!("https://127.0.0.1:1/admit");
        }),
        put("a failure that lets pass", CONFIGURATION, |o| o["webhooks"][0]["failurePolicy"] = json!("Ignore")),
        put("a selector of no namespace", CONFIGURATION, |o| {
            o["webhooks"][0]["namespaceSelector"] = json!({"matchLabels": {"mine": "yes"}});
        }),
        put("a selector of no object", CONFIGURATION, |o| {
            o["webhooks"][0]["objectSelector"] = json!({"matchLabels": {"mine": "yes"}});
        }),
        put("a condition that never holds", CONFIGURATION, |o| {
            let conditions = o["webhooks"][0]["matchConditions"].as_array_mut().unwrap();
            conditions.push(json!({"name": "mine", "expression": "false"}));
        }),
        put("rules for nothing", CONFIGURATION, |o| o["webhooks"][0]["rules"][0]["operations"] = json!(["CONNECT"])),
        put("no time to answer", CONFIGURATION, |o| o["webhooks"][0]["timeoutSeconds"] = json!(1)),
        merge("a label", CONFIGURATION, json!({"metadata": {"labels": {"mine": "yes"}}})),
        merge("a finalizer", CONFIGURATION, json!({"metadata": {"finalizers": ["example.com/hold"]}})),
        merge("an owner that is dead", CONFIGURATION, json!({"metadata": {"ownerReferences": dead_owner()}})),
    ]
    .map(Attack::undone)
    .to_vec()
}

fn records() -> Vec<Attack> {
    let shard = |name: &str, line: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"objects": line}});
    let secret =
        |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"objects": ""}});
    let config_maps = format!("{SYSTEM}/configmaps");
    let forged = "/ConfigMap/default/old 1a2b3c4 shop.yaml";
    [
        merge("a list of what to prune", INVENTORY, json!({"data": {"objects": forged}})),
        merge("a list of what to prune", INVENTORY, json!({"data": {"objects": forged}})).by(StolenReconcilerToken),
        merge("no list of what was applied", INVENTORY, json!({"data": null})),
        merge("an owner for the list", INVENTORY, json!({"metadata": {"ownerReferences": dead_owner()}})),
        create("one more list of what to prune", &config_maps, shard("gitadel-inventory-all-7", forged)),
        create("one more list of what to prune", &config_maps, shard("gitadel-inventory-all-7", forged))
            .by(StolenReconcilerToken),
        create("one more list, of nothing", &config_maps, shard("gitadel-inventory-junk", "")),
        merge("a list for ever", INVENTORY, json!({"immutable": true})),
        delete("the list of what was applied", INVENTORY),
        merge("a record of the baseline", BASELINE, json!({"metadata": {"labels": {"mine": "yes"}}})),
        delete("a record of the baseline", BASELINE),
        delete("a record of the baseline", BASELINE).by(StolenReconcilerToken),
        delete("every Secret of gitadel's namespace", &format!("{SYSTEM}/secrets")).about(BASELINE),
        create("one more record of the baseline", &format!("{SYSTEM}/secrets"), secret("gitadel-baseline-all-1")),
        create("one more record of the baseline", &format!("{SYSTEM}/secrets"), secret("gitadel-baseline-all-1"))
            .by(StolenReconcilerToken),
    ]
    .map(|attack| attack.rejected_by("own"))
    .into_iter()
    .chain([
        json_patch("a record of the baseline", BASELINE, json!([{"op": "remove", "path": "/metadata/labels"}]))
            .undone_past_admission(),
        delete("a record of the baseline", BASELINE).undone_past_admission(),
        merge("a list of what to prune", INVENTORY, json!({"data": {"objects": forged}})).undone_past_admission(),
        put("one line more of what to prune", INVENTORY, |shard| {
            let lines = shard["data"]["objects"].as_str().unwrap();
            shard["data"]["objects"] = json!(format!("{lines}\n/ConfigMap/default/old 1a2b3c4 shop.yaml"));
        })
        .undone_past_admission(),
        merge("a list that nobody finds", INVENTORY, json!({"metadata": {"labels": null}})).undone_past_admission(),
        merge("an owner for the list", INVENTORY, json!({"metadata": {"ownerReferences": dead_owner()}}))
            .undone_past_admission(),
        delete("the list of what was applied", INVENTORY).undone_past_admission(),
        merge("a list for ever", INVENTORY, json!({"immutable": true})).undone_past_admission(),
        create("one more list, of nothing", &config_maps, shard("gitadel-inventory-junk", "")).undone_past_admission(),
    ])
    .collect()
}

fn enforcements() -> Vec<Attack> {
    let other = |scope: Value| {
        json!({"apiVersion": "gitadel.dev/v1alpha1", "kind": "Enforcement", "metadata": {"name": "aaa"},
            "spec": {"source": {"url": "https://git.example/mine.git"}, "scope": scope, "action": "Enforce"}})
    };
    vec![
        merge("to observe only", ENFORCEMENT, json!({"spec": {"action": "Observe"}})),
        merge("to observe only", ENFORCEMENT, json!({"spec": {"action": "Observe"}})).by(StolenReconcilerToken),
        merge("another repository", ENFORCEMENT, json!({"spec": {"source": {"url": "https://git.example/mine.git"}}})),
        merge("a smaller scope", ENFORCEMENT, json!({"spec": {"scope": {"excludedNamespaces": ["shop", "kube-*"]}}})),
        merge(
            "a delegation to me",
            ENFORCEMENT,
            json!({"spec": {"delegations": [{"user": "mallory", "group": "apps", "kind": "Deployment", "fields": ["spec"]}]}}),
        ),
        merge("an owner that is dead", ENFORCEMENT, json!({"metadata": {"ownerReferences": dead_owner()}})),
        delete("an Enforcement", ENFORCEMENT),
        delete("every Enforcement", ENFORCEMENTS).about(ENFORCEMENT),
        create("an Enforcement over the same", ENFORCEMENTS, other(json!({"namespaces": ["shop"]}))),
        create("an Enforcement over gitadel", ENFORCEMENTS, other(json!({"namespaces": ["gitadel-system"]}))),
        create("an Enforcement beside it", ENFORCEMENTS, other(json!({"namespaces": ["kube-system"]}))),
        merge(
            "a status that says all is well",
            &format!("{ENFORCEMENT}/status"),
            json!({"status": {"seenCommit": "0000000000000000000000000000000000000000"}}),
        )
        .harmless("status is output: nothing reads it back"),
        merge(
            "a finalizer, by way of the status",
            &format!("{ENFORCEMENT}/status"),
            json!({"metadata": {"finalizers": ["example.com/hold"]}}),
        )
        .harmless("the API server takes no metadata of custom resources that way"),
        merge("to observe only", ENFORCEMENT, json!({"spec": {"action": "Observe"}})).undone_past_admission(),
        delete("an Enforcement", ENFORCEMENT).undone_past_admission(),
    ]
}

fn in_its_name() -> Vec<Attack> {
    let red = json!({"data": {"colour": "red"}});
    vec![
        merge("another colour", at::SETTINGS, red.clone()).impersonating(RECONCILER),
        merge("another colour", at::SETTINGS, red.clone()).by(StolenReconcilerToken),
        delete("a ConfigMap", at::SETTINGS).impersonating(RECONCILER),
        create(
            "a namespace",
            "/api/v1/namespaces",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mine"}}),
        )
        .impersonating(RECONCILER),
        merge("a rehearsal of an edit", &format!("{}?dryRun=All", at::SETTINGS), red)
            .impersonating(RECONCILER)
            .harmless("nothing is stored"),
    ]
}

fn installation() -> Vec<Attack> {
    let lease = "/apis/coordination.k8s.io/v1/namespaces/gitadel-system/leases/{gitadel}";
    vec![
        delete("gitadel's namespace", SYSTEM).rejected_by("own"),
        delete("gitadel's namespace", SYSTEM).by(StolenReconcilerToken).rejected_by("own"),
        merge("a label of gitadel's namespace", SYSTEM, json!({"metadata": {"labels": {"mine": "yes"}}})),
        delete("gitadel's definition", DEFINITION).rejected_by("own"),
        merge("gitadel's definition", DEFINITION, json!({"spec": {"names": {"shortNames": ["x"]}}})),
        json_patch("a rule of gitadel's definition less", DEFINITION, json!([{"op": "remove",
            "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/scope/x-kubernetes-validations"}])),
        post("a shell in gitadel's Pod", &format!("{SYSTEM}/pods/gitadel-0/exec?command=sh&stdin=true"), json!({}))
            .about(SYSTEM)
            .rejected_by("own"),
        post("gitadel's terminal", &format!("{SYSTEM}/pods/gitadel-0/attach?stdin=true"), json!({}))
            .by(StolenReconcilerToken)
            .about(SYSTEM)
            .rejected_by("own"),
        delete("gitadel's account", &format!("{SYSTEM}/serviceaccounts/gitadel")),
        merge("no rights for gitadel", BINDING, json!({"subjects": []})),
        delete("gitadel's rights", BINDING),
        create("a Service in gitadel's name", &format!("{SYSTEM}/services"),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "gitadel"}, "spec": {"ports": [{"port": 443}]}})),
        create("a Pod beside gitadel", &format!("{SYSTEM}/pods"),
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mine"}, "spec": {"automountServiceAccountToken": false,
                "containers": [{"name": "evil", "image": "evil.example/evil"}]}})),
        create("a Deployment in gitadel's name", "/apis/apps/v1/namespaces/gitadel-system/deployments",
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "gitadel"},
                "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "evil", "image": "evil.example/evil"}]}}}})),
        create("addresses in gitadel's name", "/apis/discovery.k8s.io/v1/namespaces/gitadel-system/endpointslices",
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": "gitadel-mine", "labels": {"kubernetes.io/service-name": "gitadel",
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
                    "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "gitadel", "controller": true,
                        "uid": "00000000-0000-0000-0000-000000000000"}]},
                "endpoints": [{"addresses": ["192.0.2.66"], "targetRef": {"kind": "Pod", "name": "mine", "namespace": "gitadel-system"}}],
                "ports": [{"port": 443}]}))
            .undone(),
        merge("a lease taken from gitadel", lease, json!({"spec": {"holderIdentity": "mallory"}}))
            .open("RBAC on Leases in `gitadel-system`: it stops no admission, and gitadel leads again when the lease has run out"),
        delete("a lease of gitadel's", lease).harmless("gitadel makes it anew; what is admitted does not depend on it"),
    ]
}
