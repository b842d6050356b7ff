//! A control plane governed by a real gitadel: a Git repository, and webhook and reconciler as separate processes with
//! separate identities, as in the Pod.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use gitadel::api::Enforcement;
use gitadel::demo::control_plane::guard::{Guarded, Launch, tail};
use gitadel::demo::control_plane::{ControlPlane, Options};
use gitadel::demo::ports;
use kube::{Api, Client, CustomResourceExt};
use serde_json::{Value, json};

use super::git::git;
use super::http::attempt;
use super::{Said, client, eventually, kubectl, kubectl_with_input};

pub struct Governed {
    // Dropped in this order: the children hold the directory of the control plane.
    webhook: Option<Guarded>,
    reconciler: Option<Guarded>,
    pub control_plane: ControlPlane,
    pub client: Client,
    pub repository: PathBuf,
    pub work_tree: PathBuf,
    admission_port: u16,
    pub webhook_probe: u16,
    pub reconciler_probe: u16,
    reconciler_kubeconfig: PathBuf,
    /// Where snapshot, certificates and copies of repositories are.
    pub run_directory: PathBuf,
    /// Programs that the reconciler finds before those of the system.
    pub programs: Option<PathBuf>,
    /// The ways to repositories that the reconciler takes beside https and ssh.
    pub transports: Vec<&'static str>,
    /// What the reconciler logs.
    pub log_filter: String,
}

pub const NAME: &str = "all";

impl Governed {
    /// Starts the control plane and installs gitadel's API, with a repository whose first commit is `files`.
    pub async fn prepare(files: &[(&str, &str)]) -> Self {
        Self::prepare_on(Options::default(), files).await
    }

    /// The same on a control plane with other options.
    pub async fn prepare_on(options: Options, files: &[(&str, &str)]) -> Self {
        let control_plane = ControlPlane::start(options).await.expect("the control plane");
        let client = client(&control_plane).await;
        let directory = control_plane.directory().to_owned();
        let (repository, work_tree) = (directory.join("repository.git"), directory.join("work"));
        git(&directory, &["init", "--quiet", "--bare", "--initial-branch=main", "repository.git"]);
        git(&directory, &["clone", "--quiet", "repository.git", "work"]);
        git(&work_tree, &["checkout", "--quiet", "-B", "main"]);
        let [admission_port, webhook_probe, reconciler_probe] = ports::free().unwrap();
        let governed = Self {
            webhook: None,
            reconciler: None,
            reconciler_kubeconfig: PathBuf::new(),
            run_directory: directory.join("run"),
            programs: None,
            transports: vec!["file"],
            log_filter: "info,gitadel=debug".into(),
            control_plane,
            client,
            repository,
            work_tree,
            admission_port,
            webhook_probe,
            reconciler_probe,
        };
        governed.install().await;
        governed.commit("first commit", files);
        let token = governed.control_plane.token("gitadel-system", "gitadel").await.expect("a token");
        let reconciler_kubeconfig = governed.control_plane.kubeconfig_with_token("reconciler", &token).unwrap();
        Self { reconciler_kubeconfig, ..governed }
    }

    /// As [`Self::prepare`], then runs gitadel with an Enforcement over the whole cluster and waits until it converged.
    pub async fn start(files: &[(&str, &str)]) -> Self {
        let mut governed = Self::prepare(files).await;
        governed.run();
        governed.enforce(governed.enforcement()).await;
        governed.converged().await;
        governed
    }

    async fn install(&self) {
        let definition = serde_json::to_string(&Enforcement::crd()).unwrap();
        self.apply(&definition);
        self.apply(
            &json!({"apiVersion": "v1", "kind": "List", "items": [
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gitadel-system"}},
                {"apiVersion": "v1", "kind": "ServiceAccount",
                 "metadata": {"name": "gitadel", "namespace": "gitadel-system"}},
            ]})
            .to_string(),
        );
        self.grant();
        let said =
            self.kubectl(&["wait", "--for=condition=Established", "crd/enforcements.gitadel.dev", "--timeout=20s"]);
        assert!(said.success, "{said:?}");
    }

    /// Gives gitadel its permissions.
    pub fn grant(&self) {
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "gitadel"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": "gitadel", "namespace": "gitadel-system"}]});
        self.apply(&binding.to_string());
    }

    fn apply(&self, manifest: &str) {
        let said = kubectl_with_input(self.control_plane.kubeconfig(), &["apply", "-f", "-"], manifest);
        assert!(said.success, "{said:?}");
    }

    pub fn kubectl(&self, arguments: &[&str]) -> Said {
        kubectl(self.control_plane.kubeconfig(), arguments)
    }

    /// The Enforcement of the whole cluster apart from `kube-*`.
    pub fn enforcement(&self) -> Value {
        json!({
            "apiVersion": "gitadel.dev/v1alpha1",
            "kind": "Enforcement",
            "metadata": {"name": NAME},
            "spec": {
                "source": {"url": format!("file://{}", self.repository.display()), "branch": "main", "intervalSeconds": 5},
                "scope": {"excludedNamespaces": ["kube-*"], "cluster": "All"},
                "action": "Enforce",
            },
        })
    }

    /// The same with other settings, or more of them.
    pub fn enforcement_with(&self, settings: Value) -> Value {
        let mut enforcement = self.enforcement();
        let spec = enforcement["spec"].as_object_mut().unwrap();
        spec.extend(settings.as_object().unwrap().clone());
        enforcement
    }

    pub async fn enforce(&self, enforcement: Value) {
        self.apply(&enforcement.to_string());
    }

    /// Starts both processes.
    pub fn run(&mut self) {
        self.run_webhook();
        self.run_reconciler();
    }

    pub fn run_webhook(&mut self) {
        let run = &self.run_directory;
        std::fs::create_dir_all(run.join("snapshot")).unwrap();
        std::fs::create_dir_all(run.join("tls")).unwrap();
        let launch = Launch::new("gitadel webhook", Path::new(env!("CARGO_BIN_EXE_gitadel")), &self.log("webhook"))
            .arguments(["webhook".into(), "--snapshot-dir".into(), run.join("snapshot").into_os_string()])
            .arguments(["--tls-dir".into(), run.join("tls").into_os_string()])
            .arguments([format!("--listen=127.0.0.1:{}", self.admission_port)])
            .arguments([format!("--probe-listen=127.0.0.1:{}", self.webhook_probe)])
            .arguments(["--drain=0"]);
        self.webhook = Some(Guarded::spawn(&launch, Some(self.control_plane.scratch())).unwrap());
    }

    pub fn run_reconciler(&mut self) {
        let run = &self.run_directory;
        let launch = Launch::new("gitadel reconcile", Path::new(env!("CARGO_BIN_EXE_gitadel")), &self.log("reconcile"))
            .arguments(["reconcile".into(), "--snapshot-dir".into(), run.join("snapshot").into_os_string()])
            .arguments(["--tls-dir".into(), run.join("tls").into_os_string()])
            .arguments(["--repository-dir".into(), run.join("repositories").into_os_string()])
            .arguments(self.transports.iter().map(|transport| format!("--allow-transport={transport}")))
            .arguments([format!("--webhook-url={}", self.webhook_url())])
            .arguments([format!("--serving-url=http://127.0.0.1:{}", self.webhook_probe)])
            .arguments([format!("--probe-listen=127.0.0.1:{}", self.reconciler_probe)])
            .environment("KUBECONFIG", self.reconciler_kubeconfig.clone())
            .environment("RUST_LOG", &self.log_filter)
            .environment("PATH", self.search_path());
        self.reconciler = Some(Guarded::spawn(&launch, Some(self.control_plane.scratch())).unwrap());
    }

    /// By which the API server reaches the webhook.
    pub fn webhook_url(&self) -> String {
        format!("https://127.0.0.1:{}/admit", self.admission_port)
    }

    fn search_path(&self) -> OsString {
        let known = std::env::var_os("PATH").unwrap_or_default();
        let programs = self.programs.iter().cloned().chain(std::env::split_paths(&known));
        std::env::join_paths(programs).unwrap()
    }

    pub fn stop_reconciler(&mut self) {
        if let Some(mut reconciler) = self.reconciler.take() {
            reconciler.kill();
        }
    }

    /// Asks the reconciler to end; [`Self::reconciler_exit`] tells when it has.
    pub fn terminate_reconciler(&mut self) {
        self.reconciler.as_mut().unwrap().terminate().unwrap();
    }

    pub fn reconciler_exit(&mut self) -> Option<ExitStatus> {
        self.reconciler.as_mut().unwrap().exited().unwrap()
    }

    pub fn stop_webhook(&mut self) {
        if let Some(mut webhook) = self.webhook.take() {
            webhook.kill();
        }
    }

    /// As when a Pod is gone: both processes end, and nothing is left of what they knew.
    pub fn lose_volume(&mut self) {
        self.stop_reconciler();
        self.stop_webhook();
        std::fs::remove_dir_all(&self.run_directory).unwrap();
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.control_plane.logs().join(format!("gitadel-{name}.log"))
    }

    /// What a process logged under a message.
    pub fn log_records(&self, name: &str, message: &str) -> Vec<Value> {
        let log = std::fs::read_to_string(self.log(name)).unwrap();
        let records = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.filter(|record| record["message"] == message).collect()
    }

    /// Writes files, commits and pushes; an empty content removes a file. Returns the commit.
    pub fn commit(&self, subject: &str, files: &[(&str, &str)]) -> String {
        for (path, content) in files {
            let path = self.work_tree.join(path);
            if content.is_empty() {
                std::fs::remove_file(&path).unwrap();
                continue;
            }
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, content).unwrap();
        }
        git(&self.work_tree, &["add", "--all"]);
        git(&self.work_tree, &["commit", "--quiet", "--allow-empty", "-m", subject]);
        git(&self.work_tree, &["push", "--quiet", "origin", "HEAD:main"]);
        git(&self.work_tree, &["rev-parse", "HEAD"])
    }

    /// Waits until the reconciler's probes answer.
    pub async fn listening(&self) {
        let address = format!("127.0.0.1:{}", self.reconciler_probe);
        eventually("the reconciler to listen", async || tokio::net::TcpStream::connect(&address).await.ok()).await;
    }

    /// Tells the reconciler of a push, as a hook of the repository would.
    pub async fn notify(&self) {
        self.listening().await;
        // A process that has only begun does not know its Enforcements yet.
        let path = format!("/notify/{NAME}");
        eventually("the notification to be taken", async || attempt("POST", self.reconciler_probe, &path).ok()).await;
    }

    pub async fn status(&self) -> Value {
        self.status_of(NAME).await
    }

    pub async fn status_of(&self, enforcement: &str) -> Value {
        let api: Api<Enforcement> = Api::all(self.client.clone());
        let enforcement = api.get_opt(enforcement).await.unwrap();
        enforcement.and_then(|e| e.status).map_or(Value::Null, |status| serde_json::to_value(status).unwrap())
    }

    /// Waits until the newest commit is in force and the cluster is what it declares.
    pub async fn converged(&self) -> Duration {
        let commit = git(&self.work_tree, &["rev-parse", "HEAD"]);
        self.until("convergence", Duration::from_secs(90), |status| {
            status["commit"]["id"] == *commit
                && condition(status, "Converged") == "True"
                && condition(status, "Enforcing") == "True"
        })
        .await
    }

    pub async fn until(&self, what: &str, limit: Duration, holds: impl Fn(&Value) -> bool) -> Duration {
        let start = Instant::now();
        loop {
            let status = self.status().await;
            if holds(&status) {
                return start.elapsed();
            }
            if start.elapsed() > limit {
                panic!(
                    "waited {limit:?} for {what}; the status is {status:#}\nreconciler:\n{}\nwebhook:\n{}",
                    tail(&self.log("reconcile"), 60),
                    tail(&self.log("webhook"), 20)
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

pub fn condition<'a>(status: &'a Value, kind: &str) -> &'a str {
    of_condition(status, kind, "status")
}

pub fn reason<'a>(status: &'a Value, kind: &str) -> &'a str {
    of_condition(status, kind, "reason")
}

pub fn message<'a>(status: &'a Value, kind: &str) -> &'a str {
    of_condition(status, kind, "message")
}

fn of_condition<'a>(status: &'a Value, kind: &str, field: &str) -> &'a str {
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|c| c["type"] == kind).and_then(|c| c[field].as_str()).unwrap_or_default()
}
