//! May this write happen?

use super::{Fault, Finding, Latitude, Path};
use crate::document::Node;

/// What keeps the write `old` → `new` from being admitted; nothing if it only moves the object toward `canonical`.
pub fn judge(old: Node<'_>, new: Node<'_>, canonical: Node<'_>, _latitude: &Latitude<'_>) -> Vec<Finding> {
    if new == old || new == canonical { Vec::new() } else { vec![whole(new, canonical)] }
}

/// What keeps `new` from being created.
pub fn judge_create(new: Node<'_>, canonical: Node<'_>, _latitude: &Latitude<'_>) -> Vec<Finding> {
    if new == canonical { Vec::new() } else { vec![whole(new, canonical)] }
}

fn whole(given: Node<'_>, wanted: Node<'_>) -> Finding {
    Finding {
        path: Path::default(),
        fault: Fault::Changed,
        wanted: Some(wanted.to_value()),
        given: Some(given.to_value()),
    }
}
