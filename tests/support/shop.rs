//! What most tests declare: a namespace with settings, and beside it a Deployment.

use super::bypass::get;
use super::eventually;
use super::governed::Governed;

pub const NAMESPACE: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
";

pub const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {colour: blue}
";
pub const SETTINGS_PATH: &str = "/api/v1/namespaces/shop/configmaps/settings";

/// With a map or list for every kind of edit.
pub const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  labels: {app: web}
  annotations: {team: shop}
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
          env:
            - {name: COLOUR, value: blue}
            - {name: SIZE, value: big}
";
pub const WEB_PATH: &str = "/apis/apps/v1/namespaces/shop/deployments/web";

impl Governed {
    pub async fn replica_sets(&self) -> Vec<serde_json::Value> {
        let list = get(&self.client, "/apis/apps/v1/namespaces/shop/replicasets").await.unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// Waits until the API server asks the webhook again, after a write past it: the configuration is back before that.
    pub async fn obeyed(&self) {
        let probe = ["-n", "shop", "annotate", "--overwrite", "configmap/settings", "probe=yes", "--dry-run=server"];
        eventually("a refusal", async || {
            let said = self.kubectl(&probe);
            (!said.success && said.stderr.contains("gitadel.dev")).then_some(())
        })
        .await;
    }
}
