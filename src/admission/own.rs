//! Names of gitadel's own objects.
//!
//! The inventory says what was applied from Git, so that pruning needs no marker on objects that anybody could forge; the
//! baseline says what was there before. Both are written in shards, since one object has a limit of about a mebibyte.

use std::fmt;

use crate::api::{ClusterScope, GROUP, KindSelector, MANAGER, SYSTEM_NAMESPACE, Scope};
use crate::document::Node;
use crate::object::ObjectRef;

/// ConfigMaps `gitadel-inventory-<enforcement>-<shard>`.
pub const INVENTORY_PREFIX: &str = "gitadel-inventory-";
/// Secrets `gitadel-baseline-<enforcement>-<n>`.
pub const BASELINE_PREFIX: &str = "gitadel-baseline-";
/// Label of such a ConfigMap that names the Enforcement.
pub const INVENTORY_LABEL: &str = "gitadel.dev/inventory-of";
/// Label of both that names who keeps them.
pub const MANAGER_LABEL: &str = "app.kubernetes.io/managed-by";
/// Label of a Secret of the baseline that names the Enforcement.
pub const BASELINE_LABEL: &str = "gitadel.dev/baseline-of";
/// Its annotation that says how many there are, so that a lost one is noticed.
pub const BASELINE_COUNT: &str = "gitadel.dev/baseline-shards";
/// The key of an inventory shard's `data` that lists objects, one in each line.
pub const INVENTORY_KEY: &str = "objects";

/// The object that is only ever rejected: see the rule `canary`. A ConfigMap, or a ClusterRole where only cluster-scoped
/// kinds are enforced.
pub const CANARY_NAME: &str = "gitadel-canary";
/// Annotation of a canary: the Enforcement whose undeclared objects must be rejected as well.
pub const CANARY_CLOSED: &str = "gitadel.dev/closed";

/// Whether an object is a canary. One that got through is gitadel's own doing, and no drift to speak of.
pub fn is_canary(id: ObjectRef<'_>) -> bool {
    matches!((id.group, id.kind), ("", "ConfigMap") | ("rbac.authorization.k8s.io", "ClusterRole"))
        && id.name == CANARY_NAME
}

/// The Enforcement in the name of a Secret that holds a part of a baseline.
pub fn baseline_of(shard: &str) -> Option<&str> {
    let (enforcement, number) = shard.strip_prefix(BASELINE_PREFIX)?.rsplit_once('-')?;
    let is_number = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    (is_number && !enforcement.is_empty()).then_some(enforcement)
}

/// The Enforcement in the name of a ConfigMap that holds a part of an inventory. A label says nothing: it can be taken off.
pub fn inventory_of(shard: &str) -> Option<&str> {
    let (enforcement, digits) = shard.strip_prefix(INVENTORY_PREFIX)?.rsplit_once("-x")?;
    (digits.bytes().all(|digit| digit.is_ascii_hexdigit()) && !enforcement.is_empty()).then_some(enforcement)
}

const DEFINITION: (&str, &str) = ("apiextensions.k8s.io", "CustomResourceDefinition");
const ENFORCEMENT: (&str, &str) = (GROUP, "Enforcement");

/// Records in gitadel's namespace, and what gitadel cannot live without.
pub fn is_own(id: ObjectRef<'_>) -> bool {
    match (id.group, id.kind) {
        ("", "ConfigMap") => id.namespace == SYSTEM_NAMESPACE && id.name.starts_with(INVENTORY_PREFIX),
        ("", "Secret") => id.namespace == SYSTEM_NAMESPACE && id.name.starts_with(BASELINE_PREFIX),
        ("", "Namespace") => id.name == SYSTEM_NAMESPACE,
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => id.name == MANAGER,
        kind => kind == DEFINITION && id.name.strip_suffix(GROUP).is_some_and(|plural| plural.ends_with('.')),
    }
}

/// Whether an object is gitadel's namespace or one of its definitions: frozen and put back like anything that was there,
/// and declared by an installation from Git.
pub fn is_installation(id: ObjectRef<'_>) -> bool {
    is_own(id) && matches!(id.kind, "Namespace" | "CustomResourceDefinition")
}

pub fn is_enforcement(id: ObjectRef<'_>) -> bool {
    (id.group, id.kind) == ENFORCEMENT
}

/// The least scope that holds gitadel's own objects and the Enforcements.
pub fn own_scope() -> Scope {
    let listed = |(group, kind): (&str, &str)| KindSelector { group: group.to_owned(), kind: kind.to_owned() };
    Scope {
        namespaces: Some(vec![SYSTEM_NAMESPACE.to_owned()]),
        cluster: ClusterScope::Listed,
        cluster_kinds: vec![listed(ENFORCEMENT), listed(DEFINITION)],
        ..Scope::default()
    }
}

/// What [`Meta::baseline_shards`](crate::snapshot::Meta::baseline_shards) holds for a shard: the BLAKE3 digest, as
/// hexadecimal, of its `data` as JSON with sorted keys.
pub fn baseline_digest(data: Option<Node<'_>>) -> String {
    let text = data.map(|data| data.to_value().to_string()).unwrap_or_default();
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// A line of an inventory shard: `group/kind/namespace/name commit file`, group and namespace empty where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InventoryLine<'a> {
    pub id: ObjectRef<'a>,
    pub commit: &'a str,
    pub file: &'a str,
}

impl<'a> InventoryLine<'a> {
    /// None: this is no such line.
    pub fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.splitn(3, ' ');
        let (id, commit, file) = (words.next()?, words.next()?, words.next()?);
        let mut parts = id.splitn(4, '/');
        let (group, kind, namespace, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if kind.is_empty() || name.is_empty() || commit.is_empty() {
            return None;
        }
        Some(Self { id: ObjectRef { group, kind, namespace, name }, commit, file })
    }
}

impl fmt::Display for InventoryLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, commit, file } = self;
        write!(f, "{}/{}/{}/{} {commit} {file}", id.group, id.kind, id.namespace, id.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_printed_alike() {
        for line in [
            "apps/Deployment/shop/web 1a2b3c4 apps/web.yaml",
            "/ConfigMap/shop/settings 1a2b3c4 a file with spaces.yaml",
            "rbac.authorization.k8s.io/ClusterRole//system:reader 1a2b3c4 roles.yaml",
        ] {
            assert_eq!(InventoryLine::parse(line).unwrap().to_string(), line);
        }
    }

    #[test]
    fn a_shard_is_known_by_its_name() {
        for (name, enforcement) in [
            ("gitadel-inventory-all-x", Some("all")),
            ("gitadel-inventory-all-x3f", Some("all")),
            ("gitadel-inventory-all-x1-x", Some("all-x1")),
            ("gitadel-inventory-all-7", None),
            ("gitadel-inventory-all-xyz", None),
            ("gitadel-inventory--x", None),
            ("mine-x", None),
        ] {
            assert_eq!(inventory_of(name), enforcement, "{name}");
        }
    }

    #[test]
    fn other_lines_are_none() {
        for line in ["", "apps/Deployment/shop/web", "apps/Deployment/web 1a2b3c4 f", "apps//shop/web 1a2b3c4 f"] {
            assert_eq!(InventoryLine::parse(line), None, "{line}");
        }
    }
}
