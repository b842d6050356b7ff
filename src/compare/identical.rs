//! The shortest comparison: does an object hold what Git declares, and not a field more?

use super::place::BOOKKEEPING;
use crate::document::{Map, Node};

/// Whether nothing but bookkeeping and status is in `live` beyond `canonical`, and nothing else than there: no allotted
/// value, no delegated one. Such an object can be told from its desired state alone.
///
/// It implies that there is no [`difference`](super::difference), whatever the latitude, and costs a comparison of bytes.
/// The converse does not hold.
pub fn identical(live: Node<'_>, canonical: Node<'_>, status_subresource: bool) -> bool {
    let (Some(live), Some(canonical)) = (live.map(), canonical.map()) else { return false };
    let judged = |name: &str| !(status_subresource && name == "status");
    same(live, canonical, judged, |name, live, canonical| {
        live == canonical
            || name == "metadata"
                && match (live.map(), canonical.map()) {
                    (Some(live), Some(canonical)) => same(
                        live,
                        canonical,
                        |name| !BOOKKEEPING.contains(&name),
                        |_, live, canonical| live == canonical,
                    ),
                    _ => false,
                }
    })
}

/// Whether two maps have the same members, but for those that are not judged.
fn same<'a>(
    live: Map<'a>,
    canonical: Map<'a>,
    judged: impl Fn(&str) -> bool,
    equal: impl Fn(&str, Node<'a>, Node<'a>) -> bool,
) -> bool {
    let members = |map: Map<'a>| map.iter().filter(|(name, _)| judged(name));
    let mut canonical = members(canonical);
    members(live).all(|(name, value)| {
        canonical.next().is_some_and(|(other, wanted)| name == other && equal(name, value, wanted))
    }) && canonical.next().is_none()
}
