//! Several Enforcements in one cluster: whatever is wrong with one of them is told in its status, and stops no other.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use hyper::Method;
use serde_json::{Value, json};
use support::bypass::get;
use support::eventually;
use support::governed::{Governed, NAME, condition, reason};
use support::shop::{SETTINGS_PATH, SHOP};

const BANK: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: bank}
";
const MINE: &str = "/api/v1/namespaces/shop/configmaps/mine";

/// Its name comes first, so that it is dealt with before the one that is to be left in peace.
const OTHER: &str = "aaa";

impl Governed {
    /// The Enforcement whose directory is `shop/`, over the namespace `shop`.
    fn shop(&self) -> Value {
        self.of(NAME, "shop", json!({"namespaces": ["shop"]}))
    }

    fn of(&self, name: &str, path: &str, scope: Value) -> Value {
        let mut enforcement = self.enforcement();
        enforcement["metadata"]["name"] = json!(name);
        enforcement["spec"]["source"]["path"] = json!(path);
        enforcement["spec"]["scope"] = scope;
        enforcement
    }

    async fn other(&self, what: &str, holds: impl Fn(&Value) -> bool) {
        eventually(what, async || holds(&self.status_of(OTHER).await).then_some(())).await;
    }

    async fn begin_from_nothing(&mut self) {
        self.lose_volume();
        self.run();
        self.listening().await;
    }

    /// All that the Enforcement of `shop` is for, with a commit that changes the colour.
    async fn shop_is_enforced(&self, colour: &str) {
        self.commit(colour, &[("shop/shop.yaml", &SHOP.replace("blue", colour))]);
        self.notify().await;
        self.converged().await;
        assert_eq!(get(&self.client, SETTINGS_PATH).await.unwrap()["data"]["colour"], colour);
        self.rejects(&["-n", "shop", "create", "configmap", "mine"], "is not declared in Git");
        let mine = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}});
        self.slip_in(Method::POST, "/api/v1/namespaces/shop/configmaps", &mine).await;
        eventually("what is undeclared to be removed", async || get(&self.client, MINE).await.is_none().then_some(()))
            .await;
        self.obeyed().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_without_a_namespace_that_exists() {
    let mut governed = Governed::prepare(&[("shop/shop.yaml", SHOP), ("nothing/README.md", "nothing yet")]).await;
    governed.run();
    governed.enforce(governed.of(OTHER, "nothing", json!({"namespaces": ["nope"]}))).await;
    governed.enforce(governed.shop()).await;
    governed.converged().await;
    governed.shop_is_enforced("red").await;

    // Nothing is in it, and nothing comes to be there but by a commit.
    governed.other("its own convergence", |status| condition(status, "Converged") == "True").await;
    governed.rejects(&["create", "namespace", "nope"], "is not declared in Git");
    let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: nope}}";
    governed.commit("a namespace", &[("nothing/nope.yaml", namespace)]);
    eventually("the namespace", async || get(&governed.client, "/api/v1/namespaces/nope").await).await;
    governed.rejects(&["-n", "nope", "create", "configmap", "mine"], "is not declared in Git");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_of_the_baseline() {
    let mut governed = Governed::prepare(&[("shop/shop.yaml", SHOP), ("bank/bank.yaml", BANK)]).await;
    governed.run();
    governed.enforce(governed.of(OTHER, "bank", json!({"namespaces": ["bank"]}))).await;
    governed.enforce(governed.shop()).await;
    governed.converged().await;
    governed.other("convergence", |status| condition(status, "Converged") == "True").await;

    let record = format!("/api/v1/namespaces/gitadel-system/secrets/gitadel-baseline-{OTHER}-0");
    let count = async || {
        let record = get(&governed.client, &record).await.unwrap();
        record["metadata"]["annotations"]["gitadel.dev/baseline-shards"].as_str().unwrap().to_owned()
    };
    let more = json!([{"op": "replace", "path": "/metadata/annotations/gitadel.dev~1baseline-shards", "value": "2"}]);
    governed.slip_in(Method::PATCH, &record, &more).await;
    eventually("its repair", async || (count().await == "1").then_some(())).await;
    governed.shop_is_enforced("red").await;

    // A new Pod knows nothing of it: what is declared is enforced, nothing is deleted, and the rest stays as it is.
    governed.stop_reconciler();
    governed.slip_in(Method::PATCH, &record, &more).await;
    governed.begin_from_nothing().await;
    let told = |status: &Value| {
        let problems = status["problems"].to_string();
        problems.contains("BaselineNotRecorded") && problems.contains("1 of 2 Secrets are there")
    };
    governed.shop_is_enforced("green").await;
    governed.other("the damage to be told", told).await;
    governed.rejects(&["delete", "namespace", "bank", "--wait=false"], "is governed by Git");
    let frozen = "stays as it is: Enforcement \"aaa\" governs it";
    governed.rejects(&["-n", "bank", "create", "configmap", "mine"], frozen);
    let again = get(&governed.client, &record).await.unwrap();
    assert_eq!(again["metadata"]["annotations"]["gitadel.dev/baseline-shards"], "2", "and it is not recorded anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_cannot_be_read() {
    let mut governed = Governed::prepare(&[("shop/shop.yaml", SHOP)]).await;
    governed.run();
    governed.enforce(governed.of(OTHER, "missing", json!({"namespaces": ["bank"]}))).await;
    governed.enforce(governed.shop()).await;
    governed.converged().await;
    governed.other("the missing directory to be told", |status| reason(status, "SourceReady") == "PathNotFound").await;
    governed.shop_is_enforced("red").await;
    // Also by a process that never saw any of it.
    governed.begin_from_nothing().await;
    governed.shop_is_enforced("green").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_declares_out_of_its_scope_is_not_kept_for_it() {
    let victim = "{apiVersion: v1, kind: ConfigMap, metadata: {name: victim, namespace: shop}}";
    let files = [("shop/shop.yaml", SHOP), ("shop/victim.yaml", victim), ("bank/victim.yaml", victim)];
    let mut governed = Governed::prepare(&files).await;
    governed.run();
    governed.enforce(governed.of(OTHER, "bank", json!({"namespaces": ["bank"]}))).await;
    governed.enforce(governed.shop()).await;
    governed.converged().await;
    governed.other("the problem", |status| status["problems"][0]["reason"] == "OutOfScope").await;
    governed.commit("remove it", &[("shop/victim.yaml", "")]);
    governed.notify().await;
    governed.converged().await;
    assert!(get(&governed.client, "/api/v1/namespaces/shop/configmaps/victim").await.is_none(), "kept for nobody");
}
