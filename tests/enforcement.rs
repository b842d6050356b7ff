//! The whole of gitadel against a real API server: a commit becomes cluster state, direct edits are rejected, drift that
//! got in anyway is undone.

mod support;

use serde_json::{Value, json};
use support::bypass::get;
use support::governed::Governed;
use support::shop::{NAMESPACE, SHOP, WEB};
use support::{eventually, kubectl_with_input};

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Secret
metadata: {name: password, namespace: shop}
stringData: {password: correct-horse}
";

const WIDGET_READER: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: widget-reader
  labels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}
rules: [{apiGroups: [example.com], resources: [widgets], verbs: [get]}]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_becomes_state_and_edits_are_rejected() {
    let files = [("apps/shop.yaml", SHOP), ("apps/web.yaml", WEB), ("apps/service.yaml", SERVICE)];
    let governed = Governed::start(&files).await;
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
        println!("{}", governed.rejects(arguments, "Git").trim());
    }
    let commit = governed.commit("more of it", &[("apps/web.yaml", &WEB.replace("replicas: 2", "replicas: 3"))]);
    governed.notify().await;
    let took = governed.converged().await;
    println!("{commit} converged after {took:?}");
    let replicas = governed.kubectl(&["-n", "shop", "get", "deployment/web", "-o", "jsonpath={.spec.replicas}"]);
    assert_eq!(replicas.stdout, "3");

    // An aggregated role gets the rules of what it selects, and no others under anybody's name.
    governed.commit("a role that is aggregated", &[("role.yaml", WIDGET_READER)]);
    governed.notify().await;
    governed.converged().await;
    eventually("the rule in the role view", async || {
        let said = governed.kubectl(&["get", "clusterrole", "view", "-o", "jsonpath={.rules[*].resources}"]);
        said.stdout.contains("widgets").then_some(())
    })
    .await;
    let everything = json!([{"op": "add", "path": "/rules/-",
        "value": {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}}]);
    let controller = "--as=system:serviceaccount:kube-system:clusterrole-aggregation-controller";
    let patch = ["patch", "clusterrole", "view", "--type=json", "-p", &everything.to_string(), controller];
    governed.rejects(&[&patch[..], &["--as-group=system:masters"]].concat(), "no role that it selects has");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_children_of_what_was_there_come_and_go() {
    let mut governed = Governed::prepare(&[("README.md", "nothing yet")]).await;
    governed.admits(&["create", "deployment", "old", "--image=registry.example/old:1", "--replicas=2"]);
    let pods = |governed: &Governed| {
        let said = governed.kubectl(&["get", "pods", "-l", "app=old", "-o", "name"]);
        said.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let first = eventually("two Pods", async || Some(pods(&governed)).filter(|pods| pods.len() == 2)).await;
    governed.run();
    governed.enforce(governed.enforcement()).await;
    governed.converged().await;

    governed.rejects(&["scale", "deployment/old", "--replicas=5"], "baseline");
    governed.admits(&["delete", "--wait=false", &first[0]]);
    eventually("another Pod in its place", async || {
        let now = pods(&governed);
        (now.len() == 2 && !now.contains(&first[0])).then_some(())
    })
    .await;
}

const BARE: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: bare, namespace: shop, labels: {app: bare}}
spec:
  automountServiceAccountToken: false
  containers: [{name: bare, image: "registry.example/bare:1"}]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_pod_goes_where_the_scheduler_says_and_comes_again() {
    let governed = Governed::start(&[("bare.yaml", BARE)]).await;
    let uid = || governed.kubectl(&["-n", "shop", "get", "pod/bare", "-o", "jsonpath={.metadata.uid}"]).stdout;
    let node = || governed.kubectl(&["-n", "shop", "get", "pod/bare", "-o", "jsonpath={.spec.nodeName}"]).stdout;
    let bound = |user: &str, zone: &str| {
        let binding = json!({"apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": "bare", "labels": {"topology.kubernetes.io/zone": zone}},
            "target": {"kind": "Node", "name": "n1"}});
        let path = "/api/v1/namespaces/shop/pods/bare/binding";
        let arguments = ["--as", user, "--as-group=system:masters", "create", "--raw", path, "-f", "-"];
        kubectl_with_input(governed.control_plane.kubeconfig(), &arguments, &binding.to_string())
    };
    let said = bound("alice", "a");
    assert!(!said.success && said.stderr.contains("by the scheduler alone"), "{said:?}");
    let said = bound("system:kube-scheduler", "a");
    assert!(said.success, "{said:?}");
    assert_eq!(node(), "n1");

    // Neither its node nor the topology that comes with it is drift.
    let first = uid();
    governed.commit(
        "another object",
        &[("more.yaml", "{apiVersion: v1, kind: ConfigMap, metadata: {name: more, namespace: shop}}")],
    );
    governed.notify().await;
    governed.converged().await;
    let status = governed.status().await;
    assert_eq!((uid(), node(), &status["drift"]["objects"]), (first.clone(), "n1".to_owned(), &json!(0)), "{status:#}");

    governed.rejects(&["-n", "shop", "delete", "pod/bare", "--wait=false"], "must not be deleted");
    let collector = "--as=system:serviceaccount:kube-system:pod-garbage-collector";
    let collected = ["-n", "shop", "delete", "pod/bare", "--wait=false", "--grace-period=0", "--force", collector];
    governed.admits(&[&collected[..], &["--as-group=system:masters"]].concat());
    eventually("another Pod in its place", async || {
        let now = uid();
        (!now.is_empty() && now != first).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_governs_stays_with_what_git_declares_in_it() {
    let settings =
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}, data: {colour: blue}}";
    let widget = "{apiVersion: example.com/v1, kind: Widget, metadata: {name: one, namespace: shop}}";
    let mut governed = Governed::prepare(&[("settings.yaml", settings), ("widget.yaml", widget)]).await;
    governed.admits(&["create", "namespace", "shop"]);
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    let kubeconfig = governed.control_plane.kubeconfig().to_owned();
    let created = kubectl_with_input(&kubeconfig, &["create", "-f", "-"], &definition.to_string());
    assert!(created.success, "{created:?}");
    governed.run();
    governed.enforce(governed.enforcement_with(json!({"scope": {"excludedNamespaces": ["kube-*"]}}))).await;
    governed.converged().await;

    let delete = ["delete", "namespace", "shop", "--wait=false"];
    governed.rejects(&delete, "with it would go what Git declares");
    let delete_definition = ["delete", "crd", "widgets.example.com", "--wait=false"];
    governed.rejects(&delete_definition, "such as Widget.example.com shop/one");
    let other = governed.kubectl(&["create", "namespace", "other"]);
    assert!(other.success, "cluster-scoped objects are free: {other:?}");

    governed.commit("nothing", &[("settings.yaml", ""), ("widget.yaml", "")]);
    governed.notify().await;
    governed.converged().await;
    for arguments in [&delete, &delete_definition] {
        governed.admits(arguments);
    }
}

/// kube-controller-manager deletes the token of an account that is not there yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_made_before_what_may_need_it() {
    let governed = Governed::start(&[("shop/namespace.yaml", NAMESPACE)]).await;
    // More than are written at once, and in a file that comes first.
    let others: String = (0..40)
        .map(|n| format!("---\n{{apiVersion: v1, kind: ConfigMap, metadata: {{name: c-{n}, namespace: shop}}}}\n"))
        .collect();
    let account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot, namespace: shop}}";
    governed.commit("an account and more", &[("shop/a.yaml", others.as_str()), ("shop/b.yaml", account)]);
    governed.notify().await;
    governed.converged().await;
    let version = |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    let robot = version(&get(&governed.client, "/api/v1/namespaces/shop/serviceaccounts/robot").await.unwrap());
    let all = get(&governed.client, "/api/v1/namespaces/shop/configmaps").await.unwrap();
    let declared = all["items"].as_array().unwrap().iter().filter(|c| c["metadata"]["name"] != "kube-root-ca.crt");
    let versions: Vec<u64> = declared.map(version).collect();
    assert_eq!(versions.len(), 40);
    assert!(versions.iter().all(|other| robot < *other), "{robot} {versions:?}");
}
