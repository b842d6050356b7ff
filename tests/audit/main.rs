//! `gitadel audit` against a real API server with gitadel installed: what a fresh cluster is told, that each planted hole
//! is found with its subject, and that it is gone with its fix.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

use gitadel::reconcile::webhook_configuration::NAME;
use hyper::Method;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use support::bypass::{get, send};
use support::governed::Governed;
use support::shop::SHOP;
use support::{eventually, gitadel, kubectl_with_input};

const HOLES: &str = include_str!("holes.yaml");
/// What of the holes is to be mended rather than removed: Kubernetes' own.
const MENDED: [(&str, &str); 2] =
    [(", \"/metrics\"", ""), ("- apiGroup: rbac.authorization.k8s.io\n  kind: User\n  name: eve\n", "")];
const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

fn audit(kubeconfig: &Path, arguments: &[&str]) -> Output {
    gitadel().arg("audit").arg("--kubeconfig").arg(kubeconfig).args(arguments).output().unwrap()
}

/// The findings, as `id severity object: subjects`.
type Findings = BTreeSet<String>;

fn findings(report: &Value) -> Findings {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let who = |subject: &Value| {
        let namespace = subject["namespace"].as_str().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let place = subject["in"].as_str().map(|place| format!(" in {place}")).unwrap_or_default();
        format!("{} {namespace}{}{place}", text(&subject["kind"]), text(&subject["name"]))
    };
    let describe = |finding: &Value| {
        let subjects: Vec<_> = finding["subjects"].as_array().unwrap().iter().map(who).collect();
        let by_design = finding["id"] == "GA-KNOWN-002";
        let subjects = if by_design { String::new() } else { subjects.join(", ") };
        format!("{} {} {}: {subjects}", text(&finding["id"]), text(&finding["severity"]), text(&finding["object"]))
    };
    report["findings"].as_array().unwrap().iter().map(describe).collect()
}

impl Governed {
    fn audited(&self) -> Findings {
        findings(&self.report(&[]))
    }

    fn report(&self, arguments: &[&str]) -> Value {
        let output = audit(self.control_plane.kubeconfig(), &[&["-o", "json"], arguments].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    fn exit_code(&self, arguments: &[&str]) -> Option<i32> {
        audit(self.control_plane.kubeconfig(), arguments).status.code()
    }
}

fn set(findings: &[&str]) -> Findings {
    findings.iter().map(|finding| (*finding).to_owned()).collect()
}

/// With the Enforcement of the tests: the whole cluster apart from `kube-*`, from a directory.
const FRESH: &[&str] = &[
    "GA-ADM-007 high ValidatingWebhookConfiguration gitadel: ",
    "GA-API-001 info : ",
    "GA-KNOWN-001 info : Group system:masters",
    "GA-KNOWN-002 info : ",
    "GA-KNOWN-004 info : ServiceAccount gitadel-system/gitadel",
    "GA-SCOPE-002 high Namespace kube-node-lease, kube-public, kube-system: ",
    "GA-SCOPE-003 medium excludedNamespaces kube-*: ",
    "GA-SCOPE-009 low Enforcement all: ",
    "GA-SCOPE-013 medium Enforcement all: ",
    "GA-SCOPE-014 low Enforcement all: ",
    "GA-SYS-002 info Deployment gitadel-system/gitadel: ",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_hole_is_found_with_who_has_it_and_gone_when_closed() {
    let governed = Governed::start(&[("shop.yaml", SHOP)]).await;
    assert_eq!(governed.audited(), set(FRESH), "a fresh cluster");
    exit_codes(&governed);

    governed.commit("holes", &[("holes.yaml", HOLES)]);
    governed.notify().await;
    governed.converged().await;
    let planted = [
        "GA-ADM-010 medium MutatingWebhookConfiguration injector: ",
        "GA-API-020 high APIService v1.orders.example.com: ",
        "GA-RBAC-002 critical ClusterRole certificates: ServiceAccount shop/injector",
        "GA-RBAC-005 critical ClusterRole impersonator: User mallory, Group support",
        "GA-RBAC-008 critical ClusterRole node-tools: Group developers",
        "GA-RBAC-014 medium ClusterRole system:kube-scheduler: User eve",
        "GA-RBAC-015 high ClusterRole debugger: User trent in gitadel-system",
        "GA-RBAC-030 high ClusterRole system:public-info-viewer: ",
        "GA-RBAC-031 medium ClusterRoleBinding system:kube-scheduler: User eve",
        "GA-RBAC-032 medium ClusterRole node-tools: ",
    ];
    // The API server and the controllers take a moment to put together what is aggregated.
    let expected: Findings = set(FRESH).union(&set(&planted)).cloned().collect();
    eventually_found(&governed, &expected).await;

    let mended = MENDED.iter().fold(HOLES.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    let own = mended.split_once("# A role and a binding of Kubernetes itself").unwrap().1;
    let own = own.split_once('\n').unwrap().1;
    governed.commit("close them", &[("holes.yaml", own)]);
    governed.notify().await;
    governed.converged().await;
    eventually_found(&governed, &set(FRESH)).await;

    past_git(&governed).await;
}

async fn eventually_found(governed: &Governed, expected: &Findings) {
    let mut last = Findings::new();
    let found = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        loop {
            last = governed.audited();
            if last == *expected {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    });
    if found.await.is_err() {
        let more: Vec<_> = last.difference(expected).collect();
        let less: Vec<_> = expected.difference(&last).collect();
        panic!("not expected: {more:#?}\nmissing: {less:#?}");
    }
}

fn exit_codes(governed: &Governed) {
    assert_eq!(governed.exit_code(&[]), Some(1), "there is a high one");
    assert_eq!(governed.exit_code(&["--fail-on", "high", "--severity", "critical"]), Some(1));
    assert_eq!(governed.exit_code(&["--fail-on", "critical"]), Some(0));
    assert_eq!(governed.exit_code(&["--context", "none"]), Some(2));
    assert_eq!(governed.exit_code(&["--severity", "none"]), Some(2));
    assert_eq!(audit(Path::new("/nowhere"), &[]).status.code(), Some(2));

    let table = audit(governed.control_plane.kubeconfig(), &["--severity", "medium"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.starts_with("SEVERITY  ID            FINDING\nhigh      GA-ADM-007    Nothing rejects"), "{table}");
    assert!(table.ends_with("\n0 critical, 2 high, 2 medium, 0 low, 0 info\n"), "{table}");
    assert!(table.lines().all(|line| line.len() <= 120), "{table}");

    let report = governed.report(&[]);
    assert_eq!((&report["complete"], &report["summary"]["high"]), (&json!(true), &json!(2)));
    assert_eq!(report, governed.report(&[]), "two runs over one cluster are alike");
}

/// What no Enforcement holds: `kube-system`.
async fn past_git(governed: &Governed) {
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "debug", "namespace": "kube-system"},
         "spec": {"containers": [{"name": "x", "image": "x", "securityContext": {"privileged": true}}], "hostPID": true}},
        {"apiVersion": "v1", "kind": "Pod",
         "metadata": {"name": "kube-apiserver-n1", "namespace": "kube-system", "labels": {"component": "kube-apiserver"},
                      "annotations": {"kubernetes.io/config.mirror": "x"}},
         "spec": {"nodeName": "n1", "containers": [{"name": "x", "image": "x", "command": ["kube-apiserver",
            "--authorization-mode=Node,RBAC,Webhook", "--enable-admission-plugins=NodeRestriction", "--anonymous-auth=false",
            "--disable-admission-plugins=ValidatingAdmissionWebhook"]}]}},
        {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
         "metadata": {"name": "forever", "namespace": "kube-system",
                      "annotations": {"kubernetes.io/service-account.name": "generic-garbage-collector"}}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
         "metadata": {"name": "addons", "namespace": "kube-system"},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:controller:job-controller"},
         "subjects": [{"kind": "ServiceAccount", "namespace": "shop", "name": "addons"}]},
    ]})
    .to_string();
    let kubeconfig = governed.control_plane.kubeconfig();
    let said = kubectl_with_input(kubeconfig, &["create", "-f", "-"], &objects);
    assert!(said.success, "{said:?}");
    let planted = [
        "GA-API-002 critical Pod kube-system/kube-apiserver-n1: ",
        "GA-API-006 medium Pod kube-system/kube-apiserver-n1: ",
        "GA-API-008 low Pod kube-system/kube-apiserver-n1: ",
        "GA-KNOWN-005 info Pod kube-system/kube-apiserver-n1: ",
        "GA-POD-001 high Pod kube-system/debug: ServiceAccount kube-system/default",
        "GA-RBAC-021 critical ClusterRole system:controller:job-controller: ServiceAccount shop/addons in kube-system",
        "GA-SYS-006 critical Secret kube-system/forever: ServiceAccount kube-system/generic-garbage-collector",
    ];
    let mut expected: Findings = set(FRESH).union(&set(&planted)).cloned().collect();
    expected.remove("GA-API-001 info : ");
    eventually_found(governed, &expected).await;

    let said = kubectl_with_input(kubeconfig, &["delete", "--force", "-f", "-"], &objects);
    assert!(said.success, "{said:?}");
    eventually_found(governed, &set(FRESH)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admission_that_is_not_in_force_is_told() {
    let mut governed = Governed::start(&[("shop.yaml", SHOP)]).await;
    let own = "ValidatingWebhookConfiguration gitadel: ";
    let with = |more: &[String]| set(FRESH).union(&more.iter().cloned().collect()).cloned().collect::<Findings>();

    governed.stop_webhook();
    eventually_found(&governed, &with(&["GA-ADM-005 high : ".into()])).await;
    governed.run_webhook();
    eventually_found(&governed, &set(FRESH)).await;

    // Nobody puts it back.
    governed.stop_reconciler();
    let path = format!("{CONFIGURATIONS}/{NAME}");
    let good = get(&governed.client, &path).await.unwrap();
    let elsewhere =
        json!([{"op": "replace", "path": "/webhooks/0/clientConfig/url", "value": "https://mallory.example/x"}]);
    let ignored = json!([{"op": "replace", "path": "/webhooks/1/failurePolicy", "value": "Ignore"}]);
    for (edit, id) in [(elsewhere, "GA-ADM-002"), (ignored, "GA-ADM-003")] {
        send(&governed.client, Method::PATCH, &path, &edit).await.unwrap();
        eventually("the finding", async || governed.audited().contains(&format!("{id} critical {own}")).then_some(()))
            .await;
        let restored = json!([{"op": "replace", "path": "/webhooks", "value": good["webhooks"]}]);
        send(&governed.client, Method::PATCH, &path, &restored).await.unwrap();
        eventually_found(&governed, &set(FRESH)).await;
    }

    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(governed.client.clone());
    configurations.delete(NAME, &DeleteParams::default()).await.unwrap();
    let mut expected = with(&[format!("GA-ADM-001 critical {own}"), "GA-ADM-004 critical : ".into()]);
    expected.remove(&format!("GA-ADM-007 high {own}"));
    expected.insert(format!("GA-ADM-008 info {own}"));
    eventually_found(&governed, &expected).await;
    governed.run_reconciler();
    eventually_found(&governed, &set(FRESH)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_caller_may_not_see_is_told() {
    let rights = std::fs::read_to_string("examples/audit-rbac.yaml").unwrap();
    let governed = Governed::start(&[("shop.yaml", SHOP), ("audit.yaml", &rights)]).await;

    let nobody = governed.control_plane.kubeconfig_for("nobody", None).unwrap();
    let output = audit(&nobody, &["--severity", "critical"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    for what in ["ClusterRoleBindings", "Pods", "Enforcements", "Secrets", "validatingadmissionpolicies"] {
        assert!(told.contains(&format!("Could not look at {what}")), "{what}: {told}");
    }

    // With the rights of the example all is seen but Secrets.
    let auditor = governed.control_plane.kubeconfig_for("carol", Some("gitadel-auditors")).unwrap();
    let output = audit(&auditor, &["-o", "json"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["complete"], json!(false));
    let mut expected = set(FRESH);
    expected.remove("GA-ADM-007 high ValidatingWebhookConfiguration gitadel: ");
    expected.insert("GA-ADM-008 info ValidatingWebhookConfiguration gitadel: ".into());
    expected.insert("GA-READ-001 medium Secrets with tokens of service accounts (their metadata): ".into());
    assert_eq!(findings(&report), expected);
    assert_eq!(audit(&auditor, &["--allow-incomplete"]).status.code(), Some(1));
    assert_eq!(audit(&auditor, &["--allow-incomplete", "--fail-on", "critical"]).status.code(), Some(0));
}
