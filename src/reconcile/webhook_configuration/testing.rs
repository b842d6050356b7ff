//! Short ways to the inputs of the tests beside this file.

use crate::compare::ListSchema;
use crate::snapshot::KindInfo;
pub use crate::snapshot::testing::source;

/// A registered kind.
pub fn kind(group: &str, kind: &str, resource: &str, version: &str, subresources: &[&str]) -> KindInfo {
    KindInfo {
        group: group.into(),
        kind: kind.into(),
        resource: resource.into(),
        version: version.into(),
        namespaced: group != "rbac.authorization.k8s.io",
        subresources: subresources.iter().map(|s| (*s).to_owned()).collect(),
        scale_paths: Default::default(),
        schema: ListSchema::default(),
        registered: true,
    }
}
