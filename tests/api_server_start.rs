//! An API server that starts makes its own roles and bindings again, and ends itself half a minute later where it cannot.
//! Enforcement must not keep it from that, whatever was in the cluster when it began.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use support::bypass::get;
use support::eventually;
use support::governed::Governed;

/// Nobody's: the way to take a right away for good that the API server gives.
const TAKEN_AWAY: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: system:public-info-viewer
  labels: {kubernetes.io/bootstrapping: rbac-defaults}
  annotations: {rbac.authorization.kubernetes.io/autoupdate: \"false\"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:public-info-viewer}
";
const KINDS: [&str; 4] = ["clusterroles", "clusterrolebindings", "roles", "rolebindings"];
const BOOTSTRAPPING: &str = "kubernetes.io/bootstrapping=rbac-defaults";

impl Governed {
    async fn made_by_api_server(&self) -> BTreeSet<String> {
        let mut made = BTreeSet::new();
        for kind in KINDS {
            let path = format!("/apis/rbac.authorization.k8s.io/v1/{kind}?labelSelector={BOOTSTRAPPING}");
            let list = get(&self.client, &path).await.unwrap();
            let text = |object: &Value, field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            let objects = list["items"].as_array().unwrap();
            made.extend(objects.iter().map(|o| format!("{kind} {}/{}", text(o, "namespace"), text(o, "name"))));
        }
        made
    }

    async fn rules_of(&self, role: &str) -> usize {
        let role = get(&self.client, &format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{role}")).await;
        role.and_then(|role| role["rules"].as_array().map(Vec::len)).unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_makes_what_it_has_lost() {
    let mut governed = Governed::prepare(&[("binding.yaml", TAKEN_AWAY)]).await;
    let (made, rules) = (governed.made_by_api_server().await, governed.rules_of("view").await);
    assert!(made.len() > 100 && rules > 5, "{made:?}");
    for kind in KINDS {
        // The reconciler's rights are those of this role.
        let but_one = "--field-selector=metadata.name!=cluster-admin";
        let said =
            governed.kubectl(&["delete", kind, "--all-namespaces", "-l", BOOTSTRAPPING, but_one, "--wait=false"]);
        assert!(said.success, "{said:?}");
    }
    assert!(governed.made_by_api_server().await.iter().all(|left| left.ends_with("/cluster-admin")));
    let mut enforcement = governed.enforcement();
    enforcement["spec"]["scope"]["excludedNamespaces"] = Value::Array(Vec::new());
    governed.run();
    governed.enforce(enforcement).await;
    governed.converged().await;

    governed.control_plane.restart_apiserver().await.unwrap();
    eventually("its roles and bindings", async || {
        let all = governed.made_by_api_server().await == made && governed.rules_of("view").await == rules;
        all.then_some(())
    })
    .await;
    governed.converged().await;
    assert_eq!(governed.made_by_api_server().await, made, "what it has made is no drift");
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:public-info-viewer";
    assert!(get(&governed.client, path).await.unwrap()["subjects"].is_null(), "Git gives it to nobody");
    let said = governed.kubectl(&["delete", "clusterrolebinding", "system:basic-user"]);
    assert!(!said.success && said.stderr.contains("the API server"), "{said:?}");
}
