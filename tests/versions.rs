//! Kinds that the API server serves in several versions, of which Git may use any.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use hyper::Method;
use serde_json::{Value, json};
use support::bypass::{get, send};
use support::eventually;
use support::governed::Governed;
use support::shop::NAMESPACE;

const AUTOSCALERS: &str = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers";

fn v1(maximum: u32) -> String {
    format!(
        "
apiVersion: autoscaling/v1
kind: HorizontalPodAutoscaler
metadata: {{name: first, namespace: shop}}
spec:
  maxReplicas: {maximum}
  targetCPUUtilizationPercentage: 70
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: first}}
"
    )
}

const V2: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: second, namespace: shop}
spec:
  maxReplicas: 3
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: second}
  metrics: [{type: Resource, resource: {name: memory, target: {type: Utilization, averageUtilization: 60}}}]
";

const NOT_SERVED: &str = "
apiVersion: apps/v1beta1
kind: Deployment
metadata: {name: old, namespace: shop}
";

impl Governed {
    async fn autoscaler(&self, name: &str) -> Option<Value> {
        get(&self.client, &format!("{AUTOSCALERS}/{name}")).await
    }

    fn drift(&self) -> f64 {
        self.reconciler_metrics().sum("gitadel_drift_detected_total", &[])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_object_is_of_the_version_in_which_git_has_it() {
    let mut governed = Governed::prepare(&[("shop.yaml", NAMESPACE)]).await;
    // One that was there before, seen in the version that the API server prefers.
    let there = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "there"},
        "spec": {"maxReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "there"}}});
    send(&governed.client, Method::POST, &AUTOSCALERS.replace("shop", "default"), &there).await.unwrap();
    governed.run();
    governed.enforce(governed.enforcement()).await;
    governed.converged().await;
    governed.commit("the older version", &[("first.yaml", &v1(5))]);
    governed.notify().await;
    governed.converged().await;
    governed.commit("the newer one", &[("second.yaml", V2)]);
    governed.notify().await;
    governed.converged().await;
    assert_eq!(governed.autoscaler("first").await.unwrap()["spec"]["maxReplicas"], 5);
    assert_eq!(governed.autoscaler("second").await.unwrap()["spec"]["maxReplicas"], 3);
    governed.commit("a change", &[("first.yaml", &v1(6)), ("second.yaml", &V2.replace("60", "61"))]);
    governed.notify().await;
    governed.converged().await;
    let now = governed.autoscaler("second").await.unwrap();
    assert_eq!(now["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 61);
    assert_eq!(governed.drift(), 0.0, "nobody changed anything but Git");

    // Edits are judged and undone in whatever version they come.
    for version in ["v1", "v2"] {
        for name in ["first", "second"] {
            let resource = format!("horizontalpodautoscalers.{version}.autoscaling/{name}");
            let edit = r#"{"spec":{"maxReplicas":9}}"#;
            let said = governed.kubectl(&["-n", "shop", "patch", &resource, "--type=merge", "-p", edit]);
            assert!(!said.success && said.stderr.contains("governed by Git"), "{resource}: {said:?}");
        }
    }
    let more = json!([{"op": "replace", "path": "/spec/maxReplicas", "value": 9}]);
    for (name, declared) in [("first", 6), ("second", 3)] {
        governed.slip_in(Method::PATCH, &format!("{AUTOSCALERS}/{name}"), &more).await;
        eventually("the repair", async || {
            (governed.autoscaler(name).await?["spec"]["maxReplicas"] == declared).then_some(())
        })
        .await;
    }
    governed.converged().await;

    governed.commit("a version of long ago", &[("old.yaml", NOT_SERVED)]);
    governed.notify().await;
    let problem = eventually("the problem", async || {
        let status = governed.status().await;
        let problem = status["problems"][0].clone();
        problem["reason"].is_string().then_some(problem)
    })
    .await;
    assert_eq!(problem["reason"], "UnknownKind", "{problem}");
    assert!(problem["message"].as_str().unwrap().contains("but in apps/v1:"), "{problem}");
}
