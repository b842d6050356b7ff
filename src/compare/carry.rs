//! What to write so that a live object becomes what Git declares.

use serde_json::Value;

use super::Latitude;
use crate::document::Node;

/// The body of the PUT that repairs `live`: what Git declares, with the live values of all that is not Git's.
pub fn carry(canonical: Node<'_>, live: Node<'_>, _latitude: &Latitude<'_>) -> Value {
    let mut body = canonical.to_value();
    for field in ["uid", "resourceVersion"] {
        if let (Some(value), Some(metadata)) =
            (live.at(&["metadata", field]), body.get_mut("metadata").and_then(Value::as_object_mut))
        {
            metadata.insert(field.to_owned(), value.to_value());
        }
    }
    body
}

/// What the repair of `live` changes, for people to read.
pub fn json_patch(live: Node<'_>, canonical: Node<'_>, latitude: &Latitude<'_>) -> json_patch::Patch {
    json_patch::diff(&live.to_value(), &carry(canonical, live, latitude))
}
