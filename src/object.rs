//! Who an object is, apart from what is in it.
//!
//! A version is no part of an identity: `apps/v1` and `apps/v1beta1` of one Deployment are one object, and gitadel
//! must never let somebody slip past a rule by naming another version.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of object in its API group (`""` is the core group).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupKind {
    pub group: String,
    pub kind: String,
}

impl GroupKind {
    pub fn new(group: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { group: group.into(), kind: kind.into() }
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

/// One object of a cluster. `namespace` is empty for cluster-scoped objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectId {
    #[serde(flatten)]
    pub kind: GroupKind,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub name: String,
}

impl ObjectId {
    pub fn new(
        group: impl Into<String>,
        kind: impl Into<String>,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self { kind: GroupKind::new(group, kind), namespace: namespace.into(), name: name.into() }
    }

    pub fn as_ref(&self) -> ObjectRef<'_> {
        ObjectRef { group: &self.kind.group, kind: &self.kind.kind, namespace: &self.namespace, name: &self.name }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// A borrowed [`ObjectId`], for look-ups that must not allocate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef<'a> {
    pub group: &'a str,
    pub kind: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
}

impl ObjectRef<'_> {
    pub fn to_owned(self) -> ObjectId {
        ObjectId::new(self.group, self.kind, self.namespace, self.name)
    }
}

impl fmt::Display for ObjectRef<'_> {
    /// `Deployment.apps shop/web`, `Namespace shop`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        f.write_str(" ")?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_group_namespace_and_name_where_there_are_any() {
        assert_eq!(ObjectId::new("apps", "Deployment", "shop", "web").to_string(), "Deployment.apps shop/web");
        assert_eq!(ObjectId::new("", "Namespace", "", "shop").to_string(), "Namespace shop");
    }
}
