//! In what does a live object differ from what Git declares?

use super::{Fault, Finding, Latitude, Path};
use crate::document::Node;

/// All that has to change for `live` to be what Git declares; nothing once it has converged.
pub fn difference(live: Node<'_>, canonical: Node<'_>, _latitude: &Latitude<'_>) -> Vec<Finding> {
    if live == canonical {
        return Vec::new();
    }
    let (wanted, given) = (Some(canonical.to_value()), Some(live.to_value()));
    vec![Finding { path: Path::default(), fault: Fault::Changed, wanted, given }]
}
