//! What was there before: what becomes of it when Git declares it, and how it goes.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use serde_json::{Value, json};
use support::bypass::{get, send};
use support::eventually;
use support::governed::Governed;

const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
";
const BINDING: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: dangerous}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: everybody}]
";
const DANGEROUS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/dangerous";
const LIMIT: Duration = Duration::from_secs(60);
const RECORD: &str = "/api/v1/namespaces/gitadel-system/secrets/gitadel-baseline-all-0";

impl Governed {
    async fn recorded(&self) -> String {
        let record = get(&self.client, RECORD).await.unwrap_or_default();
        let text = STANDARD.decode(record["data"]["objects"].as_str().unwrap_or_default()).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// Waits until the record says as much.
    async fn records(&self, name: &str, holds: bool) {
        eventually("the record", async || {
            let text = self.recorded().await;
            (!text.is_empty() && text.contains(name) == holds).then_some(())
        })
        .await;
    }

    async fn goes_on(&self, subject: &str) {
        self.commit(subject, &[]);
        self.notify().await;
        self.converged().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_git_declared_and_removed_does_not_come_back() {
    let mut governed = Governed::prepare(&[("shop.yaml", SHOP)]).await;
    let said = governed.kubectl(&[
        "create",
        "clusterrolebinding",
        "dangerous",
        "--clusterrole=cluster-admin",
        "--group=everybody",
    ]);
    assert!(said.success, "{said:?}");
    governed.run();
    governed.enforce(governed.enforcement()).await;
    governed.converged().await;
    let baseline = async || governed.status().await["objects"]["baseline"].as_u64().unwrap();
    let before = baseline().await;
    assert!(governed.recorded().await.contains("\"dangerous\""));

    governed.commit("declare", &[("binding.yaml", BINDING)]);
    governed.notify().await;
    governed.converged().await;
    governed.records("\"dangerous\"", false).await;
    // What is left of the record is proven, and put back, as the whole of it was.
    let record = governed.recorded().await;
    governed.stop_reconciler();
    governed.slip_in(Method::DELETE, RECORD, &Value::Null).await;
    governed.run_reconciler();
    eventually("the record", async || (governed.recorded().await == record).then_some(())).await;

    governed.commit("remove", &[("binding.yaml", "")]);
    governed.notify().await;
    governed.converged().await;
    assert!(get(&governed.client, DANGEROUS).await.is_none());
    assert_eq!(governed.status().await["objects"]["baseline"].as_u64(), Some(before - 1));

    // The next process, also one that remembers nothing.
    governed.stop_reconciler();
    governed.run_reconciler();
    governed.goes_on("one").await;
    assert!(get(&governed.client, DANGEROUS).await.is_none(), "made again by the next process");
    governed.stop_reconciler();
    governed.stop_webhook();
    std::fs::remove_dir_all(&governed.run_directory).unwrap();
    governed.run();
    governed.goes_on("two").await;
    assert!(get(&governed.client, DANGEROUS).await.is_none(), "made again from the record");
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "dangerous"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}});
    let path = DANGEROUS.trim_end_matches("/dangerous");
    let again = send(&governed.client, Method::POST, path, &binding).await.unwrap_err().to_string();
    assert!(again.contains("is not declared in Git"), "{again}");
}

impl Governed {
    fn creates(&self, name: &str) -> support::Said {
        self.kubectl(&["-n", "default", "create", "configmap", name])
    }

    async fn has(&self, name: &str) -> bool {
        get(&self.client, &format!("/api/v1/namespaces/default/configmaps/{name}")).await.is_some()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_while_it_was_only_observed_joins_the_baseline() {
    let mut governed = Governed::prepare(&[("shop.yaml", SHOP)]).await;
    for name in ["stays", "goes"] {
        assert!(governed.creates(name).success);
    }
    let mut enforcement = governed.enforcement();
    governed.commit("it enforces", &[("enforcement.yaml", &enforcement.to_string())]);
    governed.run();
    governed.enforce(enforcement.clone()).await;
    governed.converged().await;
    assert!(!governed.creates("late").success);
    enforcement["spec"]["action"] = json!("Warn");
    governed.commit("it warns", &[("enforcement.yaml", &enforcement.to_string())]);
    governed.notify().await;
    eventually("it to warn only", async || governed.creates("late").success.then_some(())).await;
    let said = governed.kubectl(&["-n", "default", "delete", "configmap", "goes"]);
    assert!(said.success, "{said:?}");
    eventually("the record to go", async || get(&governed.client, RECORD).await.is_none().then_some(())).await;
    // Also a process that did not see the beginning of that.
    governed.stop_reconciler();
    governed.run_reconciler();
    governed.listening().await;
    enforcement["spec"]["action"] = json!("Enforce");
    governed.commit("it enforces again", &[("enforcement.yaml", &enforcement.to_string())]);
    governed.notify().await;
    governed.enforce(enforcement).await;
    governed.converged().await;
    governed.records("\"late\"", true).await;
    assert!(governed.has("late").await && governed.has("stays").await, "they were there when enforcement began");
    assert!(!governed.has("goes").await, "nothing is made again that was not there then");
    let said = governed.kubectl(&["-n", "default", "delete", "configmap", "late"]);
    assert!(!said.success && said.stderr.contains("baseline"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_git_has_observe_does_not_enforce_by_an_edit() {
    let mut governed = Governed::prepare(&[("shop.yaml", SHOP)]).await;
    let mut observing = governed.enforcement();
    observing["spec"]["action"] = json!("Observe");
    governed.commit("it observes", &[("enforcement.yaml", &observing.to_string())]);
    governed.run();
    governed.enforce(observing).await;
    governed.until("the commit to be observed", LIMIT, |status| status["objects"]["declared"] == 2).await;
    assert!(governed.creates("late").success);
    let enforce = r#"{"spec":{"action":"Enforce"}}"#;
    let said = governed.kubectl(&["patch", "enforcement/all", "--type=merge", "-p", enforce]);
    assert!(said.success, "{said:?}");
    let ignored = "Git does not have it enforce: its spec counts as Git declares it";
    eventually("the edit to be seen", async || (!governed.log_records("reconcile", ignored).is_empty()).then_some(()))
        .await;
    governed.commit("go on", &[]);
    let commit = governed.commit("and on", &[]);
    governed.notify().await;
    governed.until("the commit to be observed", LIMIT, |status| status["commit"]["id"] == *commit).await;
    assert!(governed.has("late").await);
    assert!(governed.creates("later").success);
    assert_eq!(governed.reconciler_metrics().sum("gitadel_applies_total", &[]), 0.0, "nothing is written");
}
