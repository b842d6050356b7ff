//! What controllers make from declared objects, on a real API server with real controllers: all of it is admitted, and
//! nothing else is, whoever asks for it. What gets in past admission is put right.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use hyper::Method;
use serde_json::{Value, json};
use support::bypass::{get, send};
use support::governed::Governed;
use support::{client_for, eventually, kubectl_with_input};

const SHOP: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: LimitRange
metadata: {name: limits, namespace: shop}
spec:
  limits: [{type: Container, defaultRequest: {memory: 1Mi}, default: {memory: 64Mi}}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: shop}
imagePullSecrets: [{name: registry}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  replicas: 2
  serviceName: db
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: db, image: "registry.example/db:1", volumeMounts: [{name: data, mountPath: /data}]}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: shop}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      hostNetwork: true
      tolerations: [{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 5}]
      containers: [{name: agent, image: "registry.example/agent:1", ports: [{containerPort: 9100}]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: parts, namespace: shop}
spec:
  completionMode: Indexed
  completions: 2
  parallelism: 2
  template:
    spec:
      restartPolicy: Never
      containers: [{name: part, image: "registry.example/part:1", resources: {limits: {cpu: 100m}}}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: backup, namespace: shop}
spec:
  schedule: "0 0 1 1 *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: backup, image: "registry.example/backup:1"}]
"#;

fn web(image: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: shop, annotations: {{team: shop}}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      serviceAccountName: web
      containers: [{{name: web, image: "registry.example/{image}", env: [{{name: COLOUR, value: blue}}]}}]
"#
    )
}

const PODS: &str = "/api/v1/namespaces/shop/pods";
const SETS: &str = "/apis/apps/v1/namespaces/shop/replicasets";
const JOBS: &str = "/apis/batch/v1/namespaces/shop/jobs";

async fn list(governed: &Governed, path: &str, app: &str) -> Vec<Value> {
    let path = format!("{path}?labelSelector=app%3D{app}");
    get(&governed.client, &path).await.unwrap()["items"].as_array().unwrap().clone()
}

/// The Pods of an app that run an image.
async fn running(governed: &Governed, app: &str, image: &str) -> Vec<Value> {
    let mut pods = list(governed, PODS, app).await;
    pods.retain(|pod| pod["spec"]["containers"][0]["image"] == format!("registry.example/{image}"));
    pods
}

async fn until_running(governed: &Governed, app: &str, image: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} Pods of {image}"), async || {
        let pods = running(governed, app, image).await;
        (pods.len() == count).then_some(pods)
    })
    .await
}

fn denied_children(governed: &Governed) -> f64 {
    governed.webhook_metrics().sum("gitadel_admission_reviews_total", &[("rule", "child"), ("outcome", "deny")])
}

async fn start() -> Governed {
    let governed = Governed::start(&[("shop.yaml", SHOP), ("web.yaml", &web("web:1"))]).await;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    send(&governed.client, Method::POST, "/api/v1/nodes", &node).await.unwrap();
    until_running(&governed, "web", "web:1", 2).await;
    governed
}

/// What the kubelet would say.
async fn ready(governed: &Governed, pod: &Value) {
    let path = format!("{PODS}/{}/status", pod["metadata"]["name"].as_str().unwrap());
    let status = json!([{"op": "add", "path": "/status", "value": {
        "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}]);
    match send(&governed.client, Method::PATCH, &path, &status).await {
        // It was replaced meanwhile.
        Err(kube::Error::Api(answer)) if answer.code == 404 => {}
        other => _ = other.unwrap(),
    }
}

/// Deletes one of two Pods of an image, and waits until its controller has made another.
async fn replaced(governed: &Governed, image: &str) {
    let pods = until_running(governed, "web", image, 2).await;
    let gone = pods[0]["metadata"]["name"].as_str().unwrap();
    governed.admits(&["-n", "shop", "delete", "pod", gone]);
    eventually(&format!("another Pod of {image}"), async || {
        let pods = running(governed, "web", image).await;
        (pods.len() == 2 && pods.iter().all(|pod| pod["metadata"]["name"] != gone)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_that_is_under_way_when_gitadel_begins_goes_on() {
    let mut governed = Governed::prepare(&[("shop.yaml", SHOP), ("web.yaml", &web("web:1"))]).await;
    governed.admits(&["create", "namespace", "shop"]);
    let said = kubectl_with_input(governed.control_plane.kubeconfig(), &["apply", "-f", "-"], &web("web:0"));
    assert!(said.success, "{said:?}");
    // The account comes with Git.
    governed.admits(&["-n", "shop", "create", "serviceaccount", "web"]);
    until_running(&governed, "web", "web:0", 2).await;

    governed.run();
    governed.enforce(governed.enforcement()).await;
    governed.converged().await;
    until_running(&governed, "web", "web:1", 1).await;
    replaced(&governed, "web:0").await;

    governed.lose_volume();
    governed.run();
    governed.round_is_over().await;
    replaced(&governed, "web:0").await;
    let removed = governed.log_records("reconcile", "undeclared object removed");
    assert!(removed.is_empty(), "{removed:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_makes_what_the_templates_yield_and_is_never_denied() {
    let governed = start().await;
    for (app, image, count) in [("db", "db:1", 2), ("agent", "agent:1", 1)] {
        until_running(&governed, app, image, count).await;
    }
    eventually("the parts", async || {
        let pods = get(&governed.client, PODS).await.unwrap()["items"].as_array().unwrap().clone();
        (pods.iter().filter(|pod| pod["metadata"]["labels"]["job-name"] == "parts").count() == 2).then_some(())
    })
    .await;

    governed.commit("a new image", &[("web.yaml", &web("web:2"))]);
    governed.notify().await;
    until_running(&governed, "web", "web:2", 1).await;
    // The new Pod is not ready, so the old ones stay; and one that goes comes again.
    let old = until_running(&governed, "web", "web:1", 2).await;
    replaced(&governed, "web:1").await;

    // Until the last of them is replaced.
    let stray = json!({"metadata": old[0]["metadata"], "spec": old[0]["spec"], "apiVersion": "v1", "kind": "Pod"});
    eventually("the end of the rollout", async || {
        for pod in list(&governed, PODS, "web").await {
            ready(&governed, &pod).await;
        }
        let deployment = get(&governed.client, "/apis/apps/v1/namespaces/shop/deployments/web").await.unwrap();
        let status = &deployment["status"];
        let done = status["updatedReplicas"] == 2 && status["replicas"] == 2 && status["availableReplicas"] == 2;
        done.then_some(())
    })
    .await;
    assert_eq!(denied_children(&governed), 0.0, "a controller was denied");

    let controller = client_for(
        &governed.control_plane,
        "system:serviceaccount:kube-system:replicaset-controller",
        Some("system:masters"),
    )
    .await;
    let mut stray = stray;
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generateName"] {
        stray["metadata"].as_object_mut().unwrap().remove(field);
    }
    eventually("the old template to be forgotten", async || {
        let error = send(&controller, Method::POST, &format!("{PODS}?dryRun=All"), &stray).await.err()?.to_string();
        error.contains("whose template yields another: spec.containers[name=web].image").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_controller_runs_nothing_but_what_git_declares() {
    let governed = start().await;
    let pod = &until_running(&governed, "web", "web:1", 2).await[0];
    let set = &list(&governed, SETS, "web").await[0];
    let job_owner = get(&governed.client, "/apis/batch/v1/namespaces/shop/cronjobs/backup").await.unwrap();

    let clean = |object: &Value, name: &str| {
        let mut clean = object.clone();
        let metadata = clean["metadata"].as_object_mut().unwrap();
        metadata.retain(|field, _| ["labels", "annotations", "ownerReferences", "namespace"].contains(&field.as_str()));
        metadata.insert("name".into(), name.into());
        clean["status"] = Value::Null;
        clean
    };
    let set_name = set["metadata"]["name"].as_str().unwrap();
    let twin = clean(pod, &format!("{set_name}-twin1"));
    let mut unbound = twin;
    unbound["spec"].as_object_mut().unwrap().remove("nodeName");
    (unbound["apiVersion"], unbound["kind"]) = ("v1".into(), "Pod".into());
    let job = json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "backup-29384720", "ownerReferences": [{"apiVersion": "batch/v1", "kind": "CronJob",
            "name": "backup", "uid": job_owner["metadata"]["uid"], "controller": true}]},
        "spec": job_owner["spec"]["jobTemplate"]["spec"]});
    let secret = json!({"name": "all", "secret": {"secretName": "registry"}});
    let sidecar = json!({"name": "sidecar", "image": "registry.example/miner:1"});

    let cases: [(&str, &str, &str, &Value, &str, Value); 14] = [
        ("another image", "replicaset", PODS, &unbound, "/spec/containers/0/image", json!("registry.example/miner:1")),
        ("another command", "replicaset", PODS, &unbound, "/spec/containers/0/command", json!(["sh"])),
        ("another variable", "replicaset", PODS, &unbound, "/spec/containers/0/env/0/value", json!("red")),
        ("a sidecar", "replicaset", PODS, &unbound, "/spec/containers/1", sidecar.clone()),
        ("an init container", "replicaset", PODS, &unbound, "/spec/initContainers", json!([sidecar])),
        ("a Secret", "replicaset", PODS, &unbound, "/spec/volumes/1", secret),
        ("the host's network", "replicaset", PODS, &unbound, "/spec/hostNetwork", json!(true)),
        ("a chosen node", "replicaset", PODS, &unbound, "/spec/nodeName", json!("n1")),
        ("another account", "replicaset", PODS, &unbound, "/spec/serviceAccountName", json!("default")),
        ("a label", "replicaset", PODS, &unbound, "/metadata/labels/role", json!("admin")),
        ("a finalizer", "replicaset", PODS, &unbound, "/metadata/finalizers", json!(["example.com/hold"])),
        (
            "a ReplicaSet of another image",
            "deployment",
            SETS,
            &clean(set, "web-6d4cf56db6"),
            "/spec/template/spec/containers/0/image",
            json!("registry.example/miner:1"),
        ),
        (
            "more replicas than declared",
            "deployment",
            SETS,
            &{
                let mut set = clean(set, "web-6d4cf56db6");
                for pointer in ["/metadata/labels", "/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
                    set.pointer_mut(pointer).unwrap()["pod-template-hash"] = json!("6d4cf56db6");
                }
                set
            },
            "/spec/replicas",
            json!(50),
        ),
        (
            "a Job of another image",
            "cronjob",
            JOBS,
            &job,
            "/spec/template/spec/containers/0/image",
            json!("registry.example/miner:1"),
        ),
    ];
    for (what, controller, path, object, pointer, value) in cases {
        let user = format!("system:serviceaccount:kube-system:{controller}-controller");
        let client = client_for(&governed.control_plane, &user, Some("system:masters")).await;
        let dry_run = format!("{path}?dryRun=All");
        if what != "a ReplicaSet of another image" {
            let twin = send(&client, Method::POST, &dry_run, object).await;
            let as_declared =
                if pointer == "/spec/replicas" { Ok(()) } else { twin.map(|_| ()).map_err(|e| e.to_string()) };
            assert_eq!(as_declared, Ok(()), "{what}: the one that Git declares");
        }
        let mut forged = object.clone();
        place(&mut forged, pointer, value);
        let error = send(&client, Method::POST, &dry_run, &forged).await.err().map(|error| error.to_string());
        assert!(error.as_deref().is_some_and(|e| e.contains("whose template yields another")), "{what}: {error:?}");
    }
    // Only its controller makes even an exact one.
    let said = kubectl_with_input(
        governed.control_plane.kubeconfig(),
        &["-n", "shop", "create", "--dry-run=server", "-f", "-"],
        &unbound.to_string(),
    );
    assert!(said.stderr.contains("only its controller creates it"), "{said:?}");
}

const MUTATOR: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: sidecars}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  matchConditions: [{name: web, expression: "object.metadata.?labels['app'].orValue('') == 'web'"}]
  reinvocationPolicy: Never
  mutations:
  - patchType: JSONPatch
    jsonPatch:
      expression: >-
        [JSONPatch{op: "add", path: "/spec/containers/-", value: Object.spec.containers{name: "proxy",
        image: "registry.example/proxy:1", env: [Object.spec.containers.env{name: "OWNER",
        value: object.metadata.ownerReferences[0].name}]}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: sidecars}
spec: {policyName: sidecars}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_mutator_adds_what_it_adds_and_nobody_else_does() {
    let governed = start().await;
    governed.commit("sidecars", &[("mutator.yaml", MUTATOR)]);
    governed.notify().await;
    governed.converged().await;
    let old = until_running(&governed, "web", "web:1", 2).await;
    let has_proxy = |pod: &Value| pod["spec"]["containers"][1]["image"] == "registry.example/proxy:1";
    assert!(!old.iter().any(has_proxy), "Pods from before stay as they are");
    // The API server obeys a new policy some moments after it was made.
    let new = eventually("a Pod with what the mutator adds", async || {
        replaced(&governed, "web:1").await;
        running(&governed, "web", "web:1").await.into_iter().find(has_proxy)
    })
    .await;
    assert_eq!(new["spec"]["containers"][1]["env"][0]["value"], new["metadata"]["ownerReferences"][0]["name"]);

    let path = format!("{PODS}/{}", new["metadata"]["name"].as_str().unwrap());
    let miner = json!([{"op": "replace", "path": "/spec/containers/1/image", "value": "registry.example/miner:1"}]);
    let error = send(&governed.client, Method::PATCH, &path, &miner).await.unwrap_err().to_string();
    assert!(error.contains("whose template yields another: spec.containers[name=proxy]"), "{error}");
    governed.slip_in(Method::PATCH, &path, &miner).await;
    eventually("the altered Pod to go", async || get(&governed.client, &path).await.is_none().then_some(())).await;
    until_running(&governed, "web", "web:1", 2).await;
}

/// Sets a value; the place above it is there, or is made.
fn place(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for step in pointer.split('/').skip(1) {
        at = match step.parse::<usize>() {
            Ok(index) => {
                let items = at.as_array_mut().unwrap();
                if items.len() == index {
                    items.push(Value::Null);
                }
                &mut items[index]
            }
            Err(_) => &mut at[step],
        };
    }
    *at = value;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_that_were_altered_past_admission_are_put_right() {
    let governed = start().await;
    let client = &governed.client;
    let pods = until_running(&governed, "web", "web:1", 2).await;
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    let (first, second) = (format!("{PODS}/{}", name(&pods[0])), format!("{PODS}/{}", name(&pods[1])));

    // What a Pod runs can only be put right by another Pod.
    let miner = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "registry.example/miner:1"}]);
    governed.slip_in(Method::PATCH, &first, &miner).await;
    eventually("the altered Pod to go", async || get(client, &first).await.is_none().then_some(())).await;
    until_running(&governed, "web", "web:1", 2).await;

    let label = json!([{"op": "add", "path": "/metadata/labels/role", "value": "admin"},
        {"op": "add", "path": "/metadata/finalizers", "value": ["example.com/hold"]}]);
    let set = format!("{SETS}/{}", name(&list(&governed, SETS, "web").await[0]));
    for path in [&second, &set] {
        governed.slip_in(Method::PATCH, path, &label).await;
        eventually(&format!("the metadata of {path}"), async || {
            let live = get(client, path).await.expect("it stays");
            let metadata = &live["metadata"];
            (metadata["labels"]["role"].is_null() && metadata["finalizers"].is_null()).then_some(())
        })
        .await;
    }

    // Nobody would ever take that finalizer away.
    let held = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "registry.example/miner:1"},
        {"op": "add", "path": "/metadata/finalizers", "value": ["example.com/hold"]}]);
    governed.slip_in(Method::PATCH, &second, &held).await;
    eventually("the altered Pod to go in spite of its finalizer", async || {
        get(client, &second).await.is_none().then_some(())
    })
    .await;

    // A run that the CronJob never made.
    let owner = get(client, "/apis/batch/v1/namespaces/shop/cronjobs/backup").await.unwrap();
    let forged = json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "backup-1", "ownerReferences": [{"apiVersion": "batch/v1", "kind": "CronJob",
            "name": "backup", "uid": owner["metadata"]["uid"], "controller": true}]},
        "spec": {"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "backup", "image": "registry.example/miner:1"}]}}}});
    governed.slip_in(Method::POST, JOBS, &forged).await;
    let job = format!("{JOBS}/backup-1");
    eventually("the forged Job to go", async || get(client, &job).await.is_none().then_some(())).await;
    eventually("its Pods to go", async || {
        let pods = get(client, PODS).await.unwrap();
        let left =
            pods["items"].as_array().unwrap().iter().any(|pod| pod["metadata"]["labels"]["job-name"] == "backup-1");
        (!left).then_some(())
    })
    .await;
    governed.converged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_status_ends_no_rollout() {
    let governed = start().await;
    governed.commit("another image", &[("web.yaml", &web("web:2"))]);
    governed.notify().await;
    until_running(&governed, "web", "web:2", 1).await;

    // Without a node, no Pod of the new template is ever ready: those of the old one stay.
    let old = until_running(&governed, "web", "web:1", 2).await;
    let said = "its status says that its rollout is over, its children do not";
    eventually("a look at what the status says", async || {
        let path = "/apis/apps/v1/namespaces/shop/deployments/web";
        let generation = get(&governed.client, path).await?["metadata"]["generation"].clone();
        let over = json!([{"op": "replace", "path": "/status", "value": {"observedGeneration": generation,
            "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}}]);
        // The Deployment's controller writes it, too.
        let _ = send(&governed.client, Method::PATCH, &format!("{path}/status"), &over).await;
        (!governed.log_records("reconcile", said).is_empty()).then_some(())
    })
    .await;
    for pod in &old {
        ready(&governed, pod).await;
    }
    replaced(&governed, "web:1").await;
}
