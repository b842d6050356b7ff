//! From an `Enforcement` as it is in the API to a source as the snapshot holds it. Pure.

use serde_json::Value;

use crate::api::{Delegation, Enforcement, GitSource};
use crate::compare::{Bounds, FreeField, PatternError};
use crate::object::GroupKind;
use crate::snapshot::{DelegatedFields, Source};

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("the spec cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("spec.delegations[{index}].fields: {source}")]
    Delegation { index: usize, source: PatternError },
    #[error("spec.delegations[{index}]: minimum {minimum} is greater than maximum {maximum}")]
    Bounds { index: usize, minimum: i64, maximum: i64 },
}

/// Reads an Enforcement. One that an older schema let in may be unreadable: that is its own problem only.
///
/// # Errors
/// See [`SettingsError`].
pub fn read(object: &Value) -> Result<Enforcement, SettingsError> {
    Ok(serde_json::from_value(object.clone())?)
}

/// The part of a source that does not depend on a commit.
///
/// # Errors
/// A delegation that cannot be understood: it could only be dropped, and its delegate would be locked out.
pub fn source(enforcement: &Enforcement) -> Result<Source, SettingsError> {
    let spec = &enforcement.spec;
    let mut delegations = Vec::with_capacity(spec.delegations.len());
    for (index, delegation) in spec.delegations.iter().enumerate() {
        delegations.push(delegated(index, delegation)?);
    }
    Ok(Source {
        name: enforcement.metadata.name.clone().unwrap_or_default(),
        spec: Some(spec.clone()),
        url: spec.source.url.clone(),
        reference: reference(&spec.source),
        commit: String::new(),
        subject: String::new(),
        scope: spec.scope.clone(),
        action: spec.action,
        undeclared_objects: spec.undeclared_objects,
        undeclared_fields: spec.undeclared_fields,
        children: spec.children,
        child_operations: spec.child_operations,
        delegations,
        deletion_guard: spec.deletion_guard.max_objects,
        baseline_recorded: false,
    })
}

fn reference(source: &GitSource) -> String {
    source.branch.as_ref().or(source.tag.as_ref()).cloned().unwrap_or_else(|| {
        source.commit.as_ref().map_or_else(|| "HEAD".to_owned(), |commit| commit.chars().take(7).collect())
    })
}

fn delegated(index: usize, delegation: &Delegation) -> Result<DelegatedFields, SettingsError> {
    if let (Some(minimum), Some(maximum)) = (delegation.minimum, delegation.maximum)
        && minimum > maximum
    {
        return Err(SettingsError::Bounds { index, minimum, maximum });
    }
    let bounded = delegation.minimum.is_some() || delegation.maximum.is_some();
    let bounds = bounded.then_some(Bounds { minimum: delegation.minimum, maximum: delegation.maximum });
    let fields = delegation
        .fields
        .iter()
        .map(|field| field.parse().map(|pattern| FreeField { pattern, bounds }))
        .collect::<Result<_, _>>()
        .map_err(|source| SettingsError::Delegation { index, source })?;
    Ok(DelegatedFields {
        user: delegation.user.clone(),
        kind: GroupKind::new(&delegation.group, &delegation.kind),
        namespace: delegation.namespace.clone(),
        name: delegation.name.clone(),
        fields,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Action;

    fn enforcement(spec: Value) -> Result<Source, SettingsError> {
        let object = json!({
            "apiVersion": "gitadel.dev/v1alpha1", "kind": "Enforcement", "metadata": {"name": "all"}, "spec": spec,
        });
        source(&read(&object)?)
    }

    #[test]
    fn defaults_are_the_safe_ones() {
        let source = enforcement(json!({"source": {"url": "file:///r", "branch": "main"}, "scope": {}})).unwrap();
        assert_eq!((source.action, source.reference.as_str()), (Action::Observe, "main"));
        assert_eq!(source.deletion_guard, 50);
        assert!(!source.baseline_recorded);
    }

    #[test]
    fn delegations_are_checked() {
        let delegation = |fields: &str, minimum: i64| {
            enforcement(json!({
                "source": {"url": "file:///r"}, "scope": {},
                "delegations": [{"user": "hpa", "group": "apps", "kind": "Deployment", "fields": [fields],
                    "minimum": minimum, "maximum": 10}],
            }))
        };
        let source = delegation("spec.replicas", 2).unwrap();
        assert_eq!(source.delegations[0].fields[0].bounds, Some(Bounds { minimum: Some(2), maximum: Some(10) }));
        assert!(matches!(delegation("spec..replicas", 2), Err(SettingsError::Delegation { index: 0, .. })));
        assert!(matches!(delegation("spec.replicas", 11), Err(SettingsError::Bounds { .. })));
        assert!(matches!(enforcement(json!({"scope": {}})), Err(SettingsError::Unreadable(_))));
    }
}
