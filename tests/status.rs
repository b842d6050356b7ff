//! What gitadel says of what it cannot bring about, or may not: in the status, in Events, and to whoever writes.

mod support;

use std::time::Duration;

use hyper::Method;
use serde_json::json;
use support::eventually;
use support::governed::{Governed, condition, message, reason};
use support::shop::SHOP;

const ELSEWHERE: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: elsewhere, namespace: kube-public}}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_is_what_is() {
    let governed = Governed::start(&[("shop.yaml", SHOP)]).await;
    let refused = SHOP.replace("colour: blue", "colour: 5");
    let commit = governed.commit("the colour is a number", &[("shop.yaml", &refused), ("elsewhere.yaml", ELSEWHERE)]);
    governed.notify().await;
    eventually("both problems", async || {
        let status = governed.status().await;
        let both = status["problems"].as_array().is_some_and(|problems| problems.len() == 2);
        (both && status["commit"]["id"] == *commit).then_some(())
    })
    .await;
    let status = governed.status().await;
    // What lies out of scope counts as failed, but not as declared: nothing that is declared failed on its account.
    let objects = json!({"declared": 2, "applied": 1, "failed": 2, "baseline": status["objects"]["baseline"]});
    assert_eq!(status["objects"], objects, "{status:#}");
    let degraded = message(&status, "Degraded");
    assert!(degraded.contains("ConfigMap ") && degraded.contains(".yaml:"), "{degraded}");

    let patch = ["-n", "shop", "patch", "configmap/settings", "-p", r#"{"data":{"colour":"red"}}"#];
    let said = governed.rejects(&patch, r#"data.colour must be "blue", not "red". That is the last state"#);
    let short = &commit[..7];
    let cited = format!("the one declared now (shop.yaml:6 at main@{short}, \"the colour is a number\") could not: ");
    assert!(said.contains(&cited), "{said}");

    governed.commit("the colour is a name", &[("shop.yaml", SHOP), ("elsewhere.yaml", "")]);
    governed.notify().await;
    governed.converged().await;
    let before = governed.status().await;
    let forged = json!({"status": {"seenCommit": "evil", "conditions": [],
        "drift": {"objects": 77, "reverted": 7, "lastRevertedAt": "2020-01-01T00:00:00Z"},
        "problems": [{"reason": "Evil", "message": "nothing is well"}]}});
    let forge = ["patch", "enforcement", "all", "--subresource=status", "--type=merge", "-p", &forged.to_string()];
    let said = governed.kubectl(&forge);
    assert!(said.success, "a status is free, and nothing is read back from it: {said:?}");
    eventually("the status as it was", async || (governed.status().await == before).then_some(())).await;
    assert_eq!(condition(&before, "Converged"), "True");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guard_against_deletions_says_that_it_holds_back() {
    let mut governed = Governed::prepare(&[("README.md", "nothing")]).await;
    governed.run();
    governed.enforce(governed.enforcement_with(json!({"deletionGuard": {"maxObjects": 1}}))).await;
    governed.converged().await;

    // What appears before its eyes, in a closed world, goes however much it is: nobody's commit can have meant it.
    governed.stop_reconciler();
    for name in ["one", "two", "three"] {
        let foreign = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        governed.slip_in(Method::POST, "/api/v1/namespaces/default/configmaps", &foreign).await;
    }
    governed.run_reconciler();
    eventually("the guard in the status", async || {
        let status = governed.status().await;
        let said = message(&status, "Degraded");
        (said.contains("maxObjects (1)") && said.contains("left for now: 2, such as ConfigMap default/")).then_some(())
    })
    .await;
    assert_eq!(reason(&governed.status().await, "Converged"), "Problems");
    let events = ["get", "events", "--all-namespaces", "-o", "jsonpath={.items[*].reason}"];
    eventually("an Event", async || governed.kubectl(&events).stdout.contains("DeletionGuard").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_is_gone_does_not_count_as_enforcing() {
    let mut governed = Governed::start(&[("shop.yaml", SHOP)]).await;
    governed.stop_webhook();
    let limit = Duration::from_secs(60);
    governed.until("the loss", limit, |status| reason(status, "Enforcing") == "WebhookUnreachable").await;
    governed.rejects(&["create", "configmap", "mine", "--from-literal=a=b"], "failed calling webhook");
    governed.run_webhook();
    governed.until("its return", limit, |status| condition(status, "Enforcing") == "True").await;
}
