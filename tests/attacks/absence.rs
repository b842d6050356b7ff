//! What somebody does to the cluster while nobody watches: the reconciler is away, and so is gitadel's webhook configuration.
//! There is time then for more than one write, such as to delete an object and to make another in its place. All of it is
//! undone when the reconciler is back.

use std::time::{Duration, Instant};

use futures::future::join_all;
use hyper::Method;
use serde_json::{Value, json};

use super::attack::{Act, Body, Content, Identity, request, uid_of};
use super::rows;
use super::support::bypass::{get, send};
use super::support::eventually;
use super::victim::Victim;

const CONFIGURATION: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/gitadel";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
const FINALIZER: &str = "example.com/hold";

fn delete(path: &str) -> Act {
    request("DELETE", path, Content::Json, Body::Sent(json!({"propagationPolicy": "Background"})))
}

fn delete_with(path: &str, options: Value) -> Act {
    request("DELETE", path, Content::Json, Body::Sent(options))
}

fn post(path: &str, object: Value) -> Act {
    request("POST", path, Content::Json, Body::Sent(object))
}

/// Edits an object, gives it a finalizer that nobody takes away, and deletes it: it stays, as it was edited.
fn held(path: &str, mut edit: Value) -> [Act; 2] {
    edit["metadata"] = json!({"finalizers": [FINALIZER]});
    [request("PATCH", path, Content::Merge, Body::Sent(edit)), delete(path)]
}

/// A right to do everything.
fn binding(name: &str, finalizers: &[&str]) -> Value {
    let group = "rbac.authorization.k8s.io";
    json!({"apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding",
        "metadata": {"name": name, "finalizers": finalizers},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "mallory"}]})
}

impl Victim {
    /// Takes the reconciler and the webhook configuration away, writes, and lets the reconciler come back.
    async fn in_absence(&mut self, acts: &[Act]) {
        self.governed.stop_reconciler();
        let gone = self.attackers.send(Identity::ClusterAdmin, &delete(CONFIGURATION)).await;
        assert!(gone.is_success(), "{}", gone.text);
        for act in acts {
            let begun = Instant::now();
            loop {
                let act = self.attackers.with_names(act).await;
                let answer = self.attackers.send(Identity::ClusterAdmin, &act).await;
                if answer.is_success() {
                    break;
                }
                // The API server takes a moment to forget the configuration, and an object to go.
                assert!(begun.elapsed() < Duration::from_secs(20), "{}: {}", act.described(), answer.text);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        self.governed.run_reconciler();
    }

    async fn recovers(&mut self) {
        if let Err(left) = self.is_as_before().await {
            panic!("not undone: {left}\n{}", self.log());
        }
        self.obeyed().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_by_a_foreign_finalizer_goes_and_is_made_anew() {
    let mut victim = Victim::with(&rows::files(), json!({})).await;
    let system = "/api/v1/namespaces/gitadel-system";
    let inventory =
        victim.attackers.with_names(&delete(&format!("{system}/configmaps/{{gitadel-inventory-all-}}"))).await;
    let Act::Request { path: inventory, .. } = inventory else { panic!("{inventory:?}") };
    let evil = &binding("zz-evil", &[FINALIZER]);
    let mallory = json!({"subjects": evil["subjects"]});
    let everything = json!({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]});
    let acts: Vec<Act> = [
        held("/apis/rbac.authorization.k8s.io/v1/namespaces/shop/rolebindings/admins", mallory),
        held("/api/v1/namespaces/shop/configmaps/settings", json!({"data": {"colour": "red"}})),
        held("/api/v1/namespaces/shop/secrets/password", json!({"data": {"password": "ZXZpbA=="}})),
        held("/apis/rbac.authorization.k8s.io/v1/clusterroles/old-reader", everything),
        held(&inventory, json!({"data": {"objects": ""}})),
        held(&format!("{system}/secrets/gitadel-baseline-all-0"), json!({})),
        [post(BINDINGS, evil.clone()), delete(&format!("{BINDINGS}/zz-evil"))],
    ]
    .concat();
    victim.in_absence(&acts).await;
    victim.recovers().await;
}

/// A Lease, which anybody may have, that holds what it names as its owner.
fn dependent(name: &str, api_version: &str, kind: &str, owner: &str) -> Value {
    let owner_name = owner.rsplit('/').next().unwrap();
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "finalizers": [FINALIZER],
        "ownerReferences": [{"apiVersion": api_version, "kind": kind, "name": owner_name, "uid": uid_of(owner),
            "blockOwnerDeletion": true}]}})
}

/// Deletes an object after what depends on it, which never goes.
fn after_its_dependents(api_version: &str, kind: &str, path: &str) -> [Act; 2] {
    let name = format!("hold-{}-{}", kind.to_lowercase(), path.rsplit('/').next().unwrap());
    let leases = "/apis/coordination.k8s.io/v1/namespaces/shop/leases";
    [
        post(leases, dependent(&name, api_version, kind, path)),
        delete_with(path, json!({"propagationPolicy": "Foreground"})),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_its_dependents_goes_and_is_made_anew() {
    const RBAC: &str = "rbac.authorization.k8s.io/v1";
    let mut victim = Victim::with(&rows::files(), json!({})).await;
    let evil = binding("zz-evil", &[]);
    let admins = format!("/apis/{RBAC}/namespaces/shop/rolebindings/admins");
    let sets = delete("/apis/apps/v1/namespaces/shop/replicasets/{web-}");
    let Act::Request { path: replicas, .. } = victim.attackers.with_names(&sets).await else { panic!("{sets:?}") };
    let pods = "/api/v1/namespaces/shop/pods";
    let acts = [
        vec![request("PATCH", &admins, Content::Merge, Body::Sent(json!({"subjects": evil["subjects"]})))],
        after_its_dependents(RBAC, "RoleBinding", &admins).to_vec(),
        vec![post(BINDINGS, evil)],
        after_its_dependents(RBAC, "ClusterRoleBinding", &format!("{BINDINGS}/zz-evil")).to_vec(),
        after_its_dependents("v1", "ServiceAccount", "/api/v1/namespaces/shop/serviceaccounts/default").to_vec(),
        after_its_dependents("v1", "Pod", &format!("{pods}/db-0")).to_vec(),
        after_its_dependents("v1", "Pod", &format!("{pods}/bare")).to_vec(),
        after_its_dependents("apps/v1", "ReplicaSet", &replicas).to_vec(),
    ];
    victim.in_absence(&acts.concat()).await;
    for path in [&admins, &format!("{BINDINGS}/zz-evil"), &format!("{pods}/db-0"), &replicas] {
        eventually(path, async || {
            let object = get(victim.client(), path).await;
            object.is_none_or(|object| object["metadata"]["deletionTimestamp"].is_null()).then_some(())
        })
        .await;
    }
    victim.recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_is_not_given_years_to_end() {
    const YEARS: i64 = 315_360_000;
    const PODS: &str = "/api/v1/namespaces/shop/pods";
    let mut victim = Victim::with(&rows::files(), json!({})).await;
    let evil = |name: &str| {
        post(
            PODS,
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"nodeName": "n1",
            "terminationGracePeriodSeconds": YEARS, "containers": [{"name": "evil", "image": "evil"}]}}),
        )
    };
    let bound = |name: &str| {
        let target = json!({"apiVersion": "v1", "kind": "Node", "name": "n1"});
        let metadata = json!({"name": name});
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target});
        post(&format!("{PODS}/{name}/binding"), binding)
    };
    let scheduled = victim.attackers.send(Identity::Impersonated("system:kube-scheduler"), &bound("db-0")).await;
    assert!(scheduled.is_success(), "{}", scheduled.text);
    let replica = format!("{PODS}/db-0");
    let years = json!({"gracePeriodSeconds": YEARS});
    let given = victim.attackers.send(Identity::NamespaceAdmin, &delete_with(&replica, years.clone())).await;
    assert!(given.is_denial() && given.text.contains("within 30 s"), "{}", given.text);
    let bare = format!("{PODS}/bare");
    let acts = [
        evil("zz-runs"),
        evil("zz-ends"),
        delete(&format!("{PODS}/zz-ends")),
        delete(&bare),
        evil("bare"),
        delete_with(&replica, years),
    ];
    victim.in_absence(&acts).await;
    for name in ["zz-runs", "zz-ends", "bare", "db-0"] {
        let path = format!("{PODS}/{name}");
        eventually("no more time than Pods have", async || {
            let pod = get(victim.client(), &path).await?;
            pod["metadata"]["deletionGracePeriodSeconds"].as_i64().filter(|seconds| *seconds <= 30)
        })
        .await;
        // What its kubelet does then.
        let ended = victim.attackers.send(Identity::Node, &delete_with(&path, json!({"gracePeriodSeconds": 0}))).await;
        assert!(ended.is_success(), "{}", ended.text);
    }
    victim.recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_does_not_wait_for_what_anybody_may_have_in_it() {
    const BANK: &str = "/api/v1/namespaces/bank";
    let mut victim = Victim::with(&rows::files(), json!({})).await;
    let metadata = json!({"name": "hold", "finalizers": [FINALIZER]});
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata});
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": metadata,
        "involvedObject": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "bank", "name": "vault"}});
    let before = get(victim.client(), BANK).await.unwrap()["metadata"]["uid"].clone();
    victim
        .in_absence(&[
            post("/apis/coordination.k8s.io/v1/namespaces/bank/leases", lease),
            post(&format!("{BANK}/events"), event),
            delete(BANK),
        ])
        .await;
    eventually("the namespace to be made anew", async || {
        (get(victim.client(), BANK).await?["metadata"]["uid"] != before).then_some(())
    })
    .await;
    victim.recovers().await;
}

/// Deletes an object and makes another of its name.
fn swapped(collection: &str, object: Value) -> Vec<Act> {
    let path = format!("{collection}/{}", object["metadata"]["name"].as_str().unwrap());
    vec![delete(&path), post(collection, object)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_mended_is_made_anew() {
    let mut victim = Victim::with(&rows::files(), json!({})).await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let sealed = json!({"immutable": true, "data": {"colour": "red"}});
    let evil = json!({"hostPID": true, "restartPolicy": "Never", "containers": [{"name": "evil", "image": "evil"}]});
    let named = |object: Value, name: &str| {
        let mut object = object;
        object["metadata"] = json!({"name": name});
        object
    };
    let role_binding = named(binding("", &[]), "admins");
    let held = binding("system:discovery", &[FINALIZER]);
    let pods = json!({"metadata": {"labels": {"x": "y"}}, "spec": {"containers": evil["containers"]}});
    let swaps = [
        swapped(&format!("{rbac}/namespaces/shop/rolebindings"), {
            let mut binding = role_binding;
            binding["kind"] = json!("RoleBinding");
            binding
        }),
        // Of the baseline, and kept from going.
        swapped(BINDINGS, held),
        swapped(
            "/apis/scheduling.k8s.io/v1/priorityclasses",
            json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "important"},
                "value": 1_000_000_000}),
        ),
        swapped(
            "/apis/batch/v1/namespaces/shop/jobs",
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"},
                "spec": {"template": {"spec": evil}}}),
        ),
        swapped(
            "/apis/apps/v1/namespaces/bank/deployments",
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "teller"},
                "spec": {"selector": {"matchLabels": {"x": "y"}}, "template": pods}}),
        ),
        swapped(
            "/api/v1/namespaces/shop/pods",
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare"}, "spec": evil}),
        ),
    ];
    let seal = request("PATCH", "/api/v1/namespaces/shop/configmaps/settings", Content::Merge, Body::Sent(sealed));
    let acts: Vec<Act> = swaps.concat().into_iter().chain([seal]).collect();
    victim.in_absence(&acts).await;
    victim.recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_much_is_slipped_in_it_goes_at_once() {
    const MORE_THAN_A_MISTAKE: usize = 80;
    let mut victim = Victim::with(&rows::files(), json!({})).await;
    let maps = "/api/v1/namespaces/bank/configmaps";
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut stored = 0;
    let mut round = 0;
    while stored < MORE_THAN_A_MISTAKE {
        assert!(Instant::now() < deadline, "only {stored} were let in");
        round += 1;
        // It may be on its way back from the last attempt.
        let _ = send(victim.client(), Method::DELETE, CONFIGURATION, &Value::Null).await;
        let acts: Vec<Act> = (0..150)
            .map(|number| {
                let name = format!("junk-{round}-{number}");
                post(maps, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}))
            })
            .collect();
        let answers = join_all(acts.iter().map(|act| victim.attackers.send(Identity::ClusterAdmin, act))).await;
        stored += answers.iter().filter(|answer| answer.is_success()).count();
    }
    victim.governed.slip_in(Method::POST, BINDINGS, &binding("zz-evil", &[])).await;
    victim.recovers().await;
    assert!(get(victim.client(), &format!("{BINDINGS}/zz-evil")).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_gives_rights_waits_for_nothing_else_that_goes() {
    const AT_ONCE: usize = 5;
    let guard = json!({"deletionGuard": {"maxObjects": AT_ONCE}});
    let mut victim = Victim::with(&rows::files(), guard).await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/roles";
    let role = |number: usize| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": format!("aa-{number}")},
            "rules": []})
    };
    let mut acts: Vec<Act> = (0..4 * AT_ONCE).map(|number| post(roles, role(number))).collect();
    acts.push(post(BINDINGS, binding("zz-evil", &[])));
    victim.in_absence(&acts).await;
    let path = format!("{BINDINGS}/zz-evil");
    // Shorter than the minute in which the guard counts.
    let deadline = Instant::now() + Duration::from_secs(40);
    while get(victim.client(), &path).await.is_some() {
        assert!(Instant::now() < deadline, "it still gives rights\n{}", victim.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let left = get(victim.client(), roles).await.unwrap()["items"].as_array().unwrap().len();
    assert!(left >= 3 * AT_ONCE, "the guard counts no more: {left} left");
}
