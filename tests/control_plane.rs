//! The control plane that all other tests, and the demo, stand on: it behaves like a real cluster's, and nothing of it
//! is left behind.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use gitadel::demo::control_plane::guard::Scratch;
use gitadel::demo::control_plane::{ControlPlane, ControlPlaneError, Options};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, UserInfo};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Api, Client};
use serde_json::json;
use support::processes::processes_naming;
use support::{client, client_for, eventually, kubectl, kubectl_with_input, namespace, shared};

/// Set for the process that [`nothing_is_left_after_the_parent_was_killed`] kills.
const HOLD: &str = "GITADEL_TEST_HOLD_CONTROL_PLANE";

fn deployment() -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "example.org/web:1"}]},
            },
        },
    }))
    .unwrap()
}

async fn who_am_i(client: Client) -> UserInfo {
    let review = Api::<SelfSubjectReview>::all(client)
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .unwrap();
    review.status.unwrap().user_info.unwrap()
}

#[tokio::test]
async fn users_have_the_rights_that_rbac_gives() {
    let control_plane = shared().await;
    let nobody = client_for(control_plane, "nobody", None).await;
    let refused = Api::<ConfigMap>::default_namespaced(nobody).list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused}");

    let admin = client(control_plane).await;
    assert!(who_am_i(admin).await.groups.unwrap().contains(&"system:masters".to_owned()));
    let reader = client_for(control_plane, "alice", Some("developers")).await;
    let alice = who_am_i(reader).await;
    assert_eq!(alice.username.as_deref(), Some("alice"));
    assert!(alice.groups.unwrap().contains(&"developers".to_owned()));
}

#[tokio::test]
async fn controllers_work_under_their_own_names() {
    let control_plane = shared().await;
    let client = client(control_plane).await;
    let namespace = namespace(&client, "controllers").await;
    Api::namespaced(client.clone(), &namespace).create(&PostParams::default(), &deployment()).await.unwrap();

    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    eventually("two Pods", async || (pods.list(&ListParams::default()).await.unwrap().items.len() == 2).then_some(()))
        .await;
    let replica_sets = Api::<ReplicaSet>::namespaced(client, &namespace).list(&ListParams::default()).await.unwrap();
    assert_eq!(replica_sets.items.len(), 1);
    let owner = &replica_sets.items[0].metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.kind.as_str(), owner.name.as_str()), ("Deployment", "web"));
}

#[tokio::test]
async fn a_service_account_has_a_token_that_the_api_server_knows() {
    let control_plane = shared().await;
    let client = client(control_plane).await;
    let namespace = namespace(&client, "tokens").await;
    let account = ServiceAccount {
        metadata: ObjectMeta { name: Some("robot".into()), ..Default::default() },
        ..Default::default()
    };
    Api::namespaced(client.clone(), &namespace).create(&PostParams::default(), &account).await.unwrap();

    // The control plane's own client lives on the runtime of another test.
    let token = kubectl(control_plane.kubeconfig(), &["create", "token", "robot", "--namespace", &namespace]);
    assert!(token.success, "{}", token.stderr);
    let config = control_plane.client_config_with_token("robot", token.stdout.trim()).await.unwrap();
    let robot = who_am_i(Client::try_from(config).unwrap()).await;
    assert_eq!(robot.username, Some(format!("system:serviceaccount:{namespace}:robot")));
}

#[tokio::test]
async fn kubectl_works_with_its_kubeconfigs() {
    let control_plane = shared().await;
    let client = client(control_plane).await;
    let namespace = namespace(&client, "kubectl").await;
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "it"}, "data": {"k": "v"}});
    let apply = ["apply", "--namespace", &namespace, "--filename", "-"];

    let said = kubectl_with_input(control_plane.kubeconfig(), &apply, &manifest.to_string());
    assert!(said.success, "{}", said.stderr);
    assert_eq!(said.stdout, "configmap/it created\n");
    let stranger = control_plane.kubeconfig_for("stranger", None).unwrap();
    let said = kubectl(&stranger, &["get", "configmap", "it", "--namespace", &namespace]);
    assert!(!said.success && said.stderr.contains("User \"stranger\" cannot get resource"), "{}", said.stderr);
}

#[tokio::test]
async fn components_can_be_restarted_and_all_is_gone_after_the_end() {
    let start = Instant::now();
    let mut control_plane = ControlPlane::start(Options::default()).await.unwrap();
    println!("ready after {:.1} s", start.elapsed().as_secs_f64());
    let directory = control_plane.directory().to_owned();
    let running = processes_naming(&directory);
    for component in ["etcd", "kube-apiserver", "kube-controller-manager"] {
        assert!(running.iter().any(|line| line.contains(component)), "{component}: {running:?}");
    }

    let accounts = Api::<ServiceAccount>::namespaced(control_plane.client(), "default");
    let before = accounts.get("default").await.unwrap().metadata.uid;
    let token = control_plane.token("default", "default").await.unwrap();
    let start = Instant::now();
    control_plane.restart_apiserver().await.unwrap();
    println!("API server restarted in {:.1} s", start.elapsed().as_secs_f64());
    assert_eq!(accounts.get("default").await.unwrap().metadata.uid, before, "the data are the same");
    let kubeconfig = control_plane.kubeconfig_with_token("old", &token).unwrap();
    assert!(kubectl(&kubeconfig, &["auth", "whoami"]).success, "tokens stay valid");

    control_plane.stop_controller_manager();
    let deployments = Api::<Deployment>::namespaced(control_plane.client(), "default");
    deployments.create(&PostParams::default(), &deployment()).await.unwrap();
    let running = processes_naming(&directory);
    assert!(!running.iter().any(|line| line.contains("kube-controller-manager")), "{running:?}");
    assert!(deployments.get("web").await.unwrap().status.unwrap_or_default().observed_generation.is_none());
    control_plane.start_controller_manager().await.unwrap();
    eventually("the deployment controller", async || deployments.get("web").await.unwrap().status?.observed_generation)
        .await;

    let start = Instant::now();
    control_plane.stop().await;
    println!("gone after {:.2} s", start.elapsed().as_secs_f64());
    assert!(!directory.exists());
    assert_eq!(processes_naming(&directory), Vec::<String>::new());
}

#[tokio::test]
async fn a_flag_that_the_api_server_does_not_know_is_told() {
    let options = Options { apiserver_flags: vec!["--no-such-flag".into()], ..Options::default() };
    match ControlPlane::start(options).await {
        Err(ControlPlaneError::Ended { component, tail, .. }) => {
            assert_eq!(component, "kube-apiserver");
            assert!(tail.contains("unknown flag: --no-such-flag"), "{tail}");
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("started"),
    }
}

/// The parent of [`nothing_is_left_after_the_parent_was_killed`]: that test runs this binary again, with only this test
/// in it, since no other program of the package starts a control plane and then waits to be killed.
#[tokio::test]
async fn hold_a_control_plane_if_asked_to() {
    if std::env::var_os(HOLD).is_some() {
        let _control_plane = ControlPlane::start(Options::default()).await.unwrap();
        println!("{HOLD}");
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn nothing_is_left_after_the_parent_was_killed() {
    // The binaries may have to be built first, for which the wait below would be too short.
    shared().await;
    let scratch = Scratch::temporary().unwrap();
    let output = scratch.path().join("output");
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hold_a_control_plane_if_asked_to", "--nocapture"])
        .env(HOLD, "yes")
        .env("TMPDIR", scratch.path())
        .stdin(Stdio::null())
        .stdout(fs::File::create(&output).unwrap())
        .spawn()
        .unwrap();
    eventually("the parent's control plane", async || {
        assert_eq!(parent.try_wait().unwrap(), None, "{}", fs::read_to_string(&output).unwrap());
        fs::read_to_string(&output).unwrap().contains(HOLD).then_some(())
    })
    .await;
    let inner: PathBuf = fs::read_dir(scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_dir())
        .expect("the control plane's directory");
    assert!(processes_naming(&inner).len() >= 3);

    parent.kill().unwrap();
    parent.wait().unwrap();
    eventually("the end of all processes", async || processes_naming(&inner).is_empty().then_some(())).await;
    eventually("the removal of the directory", async || (!inner.exists()).then_some(())).await;
}
