//! gitadel's own objects on a real API server, under an Enforcement whose scope holds none of them.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use support::eventually;
use support::governed::{Governed, NAME};
use support::shop::SHOP;

fn enforcement(governed: &Governed, name: &str, namespace: &str) -> Value {
    let mut enforcement = governed.enforcement();
    enforcement["metadata"]["name"] = json!(name);
    enforcement["spec"]["scope"] = json!({"namespaces": [namespace]});
    enforcement
}

fn apply(governed: &Governed, object: &Value) -> support::Said {
    support::kubectl_with_input(governed.control_plane.kubeconfig(), &["apply", "-f", "-"], &object.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_are_kept_though_no_scope_holds_them() {
    let mut governed = Governed::prepare(&[("shop.yaml", SHOP)]).await;
    governed.run();
    governed.enforce(enforcement(&governed, NAME, "shop")).await;
    governed.converged().await;
    let named = |resource: &str, prefix: &str| {
        let said = governed.kubectl(&["-n", "gitadel-system", "get", resource, "-o", "name"]);
        said.stdout.lines().find(|name| name.contains(prefix)).map(str::to_owned)
    };
    let inventory = eventually("the inventory", async || named("configmaps", "gitadel-inventory-all")).await;
    let baseline = named("secrets", "gitadel-baseline-all").unwrap();

    let forged = r#"{"data":{"objects":"/ConfigMap/shop/victim 1a2b3c4 shop.yaml"}}"#;
    governed.rejects(&["-n", "gitadel-system", "patch", &inventory, "-p", forged], "inventory");
    governed.rejects(&["-n", "gitadel-system", "delete", &inventory], "inventory");
    governed.rejects(&["-n", "gitadel-system", "delete", &baseline], "baseline");
    governed.rejects(&["-n", "gitadel-system", "delete", "secrets", "--all"], "baseline");
    governed.rejects(&["delete", "namespace", "gitadel-system", "--wait=false"], "part of gitadel");
    governed.rejects(&["delete", "crd", "enforcements.gitadel.dev", "--wait=false"], "part of gitadel");
    let hidden = r#"{"spec":{"names":{"shortNames":["x"]}}}"#;
    let definition = "crd/enforcements.gitadel.dev";
    governed.rejects(&["patch", definition, "--type=merge", "-p", hidden], "part of gitadel");

    let observe = r#"{"spec":{"action":"Observe"}}"#;
    governed.rejects(&["patch", "enforcement/all", "--type=merge", "-p", observe], "frozen");
    governed.rejects(&["delete", "enforcement", "all"], "frozen");
    governed.rejects(&["delete", "enforcements", "--all"], "frozen");
    let said = apply(&governed, &enforcement(&governed, "aaa", "shop"));
    assert!(!said.success && said.stderr.contains("Enforcement \"all\""), "{said:?}");
    let said = apply(&governed, &enforcement(&governed, "bank", "bank"));
    assert!(said.success, "another namespace: {said:?}");

    // Nothing else is anybody's business there.
    let system = ["-n", "gitadel-system"];
    governed.admits(&[&system[..], &["create", "configmap", "mine"]].concat());
    governed.admits(&[&system[..], &["create", "secret", "generic", "mine"]].concat());
    governed.admits(&[&system[..], &["delete", "configmap/mine", "secret/mine"]].concat());
    governed.admits(&["create", "namespace", "other"]);
}
