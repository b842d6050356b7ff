//! From the masked desired state of a Secret, which is all that gitadel keeps, back to one that can be written. Pure.

use serde_json::Value;
use thiserror::Error;

use crate::compare::{MaskKey, mask_secret};
use crate::document::Document;
use crate::reconcile::canonicalise::fold_secret_data;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum UnmaskError {
    #[error("the Secret's key {0} is in the desired state, but not in the manifest: canonicalise the Secret anew")]
    Missing(String),
    #[error("the manifest is not the one that the Secret's desired state was made from: canonicalise the Secret anew")]
    Mismatch,
}

/// Puts the values of a manifest, `stringData` included, into the masked canonical form that was made from it.
///
/// # Errors
/// The masks are not those of the manifest's values. No message holds a value.
pub fn unmask_secret(masked: &Value, declared: &Value, key: &MaskKey) -> Result<Value, UnmaskError> {
    let mut declared = declared.clone();
    if let Some(members) = declared.as_object_mut() {
        fold_secret_data(members);
    }
    let mut secret = masked.clone();
    let values = declared.get("data");
    for (name, value) in secret.get_mut("data").and_then(Value::as_object_mut).into_iter().flatten() {
        *value = values.and_then(|data| data.get(name)).cloned().ok_or_else(|| UnmaskError::Missing(name.clone()))?;
    }
    // The proof that these are the values meant: masked again, they give the same.
    let again = mask_secret(Document::from_value(&secret).root(), key);
    if again.root() == Document::from_value(masked).root() { Ok(secret) } else { Err(UnmaskError::Mismatch) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(password: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}, "type": "Opaque",
            "data": {"password": password}})
    }

    #[test]
    fn values_come_back_only_from_the_manifest_that_was_masked() {
        let key = MaskKey::random().unwrap();
        let masked = mask_secret(Document::from_value(&secret("c2VjcmV0")).root(), &key).root().to_value();
        assert!(!masked.to_string().contains("c2VjcmV0"));
        assert_eq!(unmask_secret(&masked, &secret("c2VjcmV0"), &key), Ok(secret("c2VjcmV0")));
        assert_eq!(unmask_secret(&masked, &secret("b3RoZXI="), &key), Err(UnmaskError::Mismatch));
        let plain = json!({"metadata": {"name": "s", "namespace": "n"}, "stringData": {"password": "secret"}});
        assert_eq!(unmask_secret(&masked, &plain, &key), Ok(secret("c2VjcmV0")));
        let without = json!({"metadata": {"name": "s", "namespace": "n"}});
        assert_eq!(unmask_secret(&masked, &without, &key), Err(UnmaskError::Missing("password".into())));
    }
}
