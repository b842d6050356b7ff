//! The rows, one file for each family.

mod children;
mod cluster;
mod commands;
mod deletions;
mod edits;
mod guards;
mod mutators;
pub mod settings;
mod subresources;
mod undeclared;

use super::report::Section;
use super::support::shop::{SHOP, WEB};

/// Of two revisions, so that somebody could go back to the first.
pub const FRONT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: front, namespace: shop}
spec:
  replicas: 0
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: front}}
    spec: {containers: [{name: front, image: "registry.example/front:0"}]}
"#;

/// What Git declares.
pub fn files() -> Vec<(&'static str, &'static str)> {
    vec![("shop.yaml", SHOP), ("web.yaml", WEB), ("front.yaml", FRONT), ("more.yaml", include_str!("../shop.yaml"))]
}

/// Of an Enforcement over the whole cluster but `kube-*`, with every setting as it is by default.
pub fn on_the_whole_cluster() -> Vec<Section> {
    vec![
        edits::section(),
        subresources::section(),
        deletions::section(),
        undeclared::section(),
        mutators::section(),
        commands::section(),
        children::section(),
        guards::section(),
    ]
}

/// The whole table.
pub fn all() -> Vec<Section> {
    let mut sections = on_the_whole_cluster();
    sections.extend([settings::under_strict(), settings::under_narrow()]);
    sections
}

/// Where things are.
mod at {
    pub const SETTINGS: &str = "/api/v1/namespaces/shop/configmaps/settings";
    pub const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
    pub const PASSWORD: &str = "/api/v1/namespaces/shop/secrets/password";
    pub const TOKEN: &str = "/api/v1/namespaces/shop/secrets/clerk-token";
    pub const SERVICE: &str = "/api/v1/namespaces/shop/services/web";
    pub const POLICY: &str = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/web";
    pub const AUTOSCALER: &str = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/web";
    pub const AUTOSCALER_V1: &str = "/apis/autoscaling/v1/namespaces/shop/horizontalpodautoscalers/web";
    pub const WIDGET: &str = "/apis/example.com/v1/namespaces/shop/widgets/one";
    pub const WIDGET_V1BETA1: &str = "/apis/example.com/v1beta1/namespaces/shop/widgets/one";
    pub const WIDGET_V1ALPHA1: &str = "/apis/example.com/v1alpha1/namespaces/shop/widgets/one";
    pub const NOTE: &str = "/apis/example.com/v1/notes/one";
    pub const NAMESPACE: &str = "/api/v1/namespaces/shop";
    pub const READER: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/reader";
    pub const ADMINS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/rolebindings/admins";
    pub const BARE: &str = "/api/v1/namespaces/shop/pods/bare";
    pub const DEFINITION: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com";
    pub const OLD: &str = "/api/v1/namespaces/default/configmaps/old";
    pub const OLD_READER: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/old-reader";
}
