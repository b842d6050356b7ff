//! The whole of gitadel against a real API server: a commit becomes cluster state, direct edits are rejected, drift that
//! got in anyway is undone.

mod support;

use support::eventually;
use support::governed::Governed;

const SHOP: &str = r#"
apiVersion: v1
kind: Namespace
metadata:
  name: shop
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  labels: {app: web}
spec:
  replicas: 2
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
        - name: web
          image: registry.example/web:1
          ports: [{containerPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {colour: blue}
---
apiVersion: v1
kind: Secret
metadata: {name: password, namespace: shop}
stringData: {password: correct-horse}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_becomes_state_and_edits_are_rejected() {
    let governed = Governed::start(&[("apps/shop.yaml", SHOP)]).await;
    let said = governed.kubectl(&["-n", "shop", "get", "deploy,svc,cm,secret", "-o", "name"]);
    assert!(said.stdout.contains("deployment.apps/web"), "{said:?}");

    let rejected: &[&[&str]] = &[
        &["-n", "shop", "scale", "deployment/web", "--replicas=5"],
        &["-n", "shop", "set", "image", "deployment/web", "web=registry.example/web:2"],
        &["-n", "shop", "delete", "deployment/web", "--wait=false"],
        &["-n", "shop", "create", "configmap", "mine", "--from-literal=a=b"],
        &["-n", "shop", "label", "deployment/web", "mine=yes"],
        &["-n", "shop", "annotate", "configmap/settings", "mine=yes"],
        &["create", "namespace", "mine"],
        &["delete", "namespace", "shop", "--wait=false"],
        &["create", "clusterrolebinding", "mine", "--clusterrole=cluster-admin", "--user=me"],
        &["delete", "clusterrole", "view", "--wait=false"],
    ];
    for arguments in rejected {
        let said = governed.kubectl(arguments);
        assert!(!said.success && said.stderr.contains("Git"), "{arguments:?}: {said:?}");
        println!("{}", said.stderr.trim());
    }
    let commit = governed.commit("more of it", &[("apps/shop.yaml", &SHOP.replace("replicas: 2", "replicas: 3"))]);
    governed.notify().await;
    let took = governed.converged().await;
    println!("{commit} converged after {took:?}");
    let replicas = governed.kubectl(&["-n", "shop", "get", "deployment/web", "-o", "jsonpath={.spec.replicas}"]);
    assert_eq!(replicas.stdout, "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_children_of_what_was_there_come_and_go() {
    let mut governed = Governed::prepare(&[("README.md", "nothing yet")]).await;
    let created = governed.kubectl(&["create", "deployment", "old", "--image=registry.example/old:1", "--replicas=2"]);
    assert!(created.success, "{created:?}");
    let pods = |governed: &Governed| {
        let said = governed.kubectl(&["get", "pods", "-l", "app=old", "-o", "name"]);
        said.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let first = eventually("two Pods", async || Some(pods(&governed)).filter(|pods| pods.len() == 2)).await;
    governed.run();
    governed.enforce(governed.enforcement()).await;
    governed.converged().await;

    let frozen = governed.kubectl(&["scale", "deployment/old", "--replicas=5"]);
    assert!(!frozen.success && frozen.stderr.contains("baseline"), "{frozen:?}");
    let deleted = governed.kubectl(&["delete", "--wait=false", &first[0]]);
    assert!(deleted.success, "{deleted:?}");
    eventually("another Pod in its place", async || {
        let now = pods(&governed);
        (now.len() == 2 && !now.contains(&first[0])).then_some(())
    })
    .await;
}
