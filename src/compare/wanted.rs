//! What a place of a live object has to become: the one decision behind both the difference and the repair.

use std::borrow::Cow;

use serde::Deserialize;

use super::place::{Freedom, Place, Step};
use super::roster::Identity;
use super::{Bounds, SchemaNode};
use crate::document::Node;

pub(super) enum Wanted<'a> {
    /// Not judged, and not written.
    Ignored,
    /// It stays as it is.
    Live,
    /// It becomes what Git declares, as a whole.
    Canonical,
    /// A delegated number beyond its bounds, where Git declares none: the nearest one within.
    Clamped(i64, Bounds),
    /// Member by member.
    Members,
    /// Item by item.
    Items(Identity<'a>),
}

/// What `live` at this place has to become.
pub(super) fn wanted<'a>(
    place: &Place<'a>,
    object: Node<'_>,
    live: Option<Node<'a>>,
    canonical: Option<Node<'a>>,
    schema: Option<&'a SchemaNode>,
) -> Wanted<'a> {
    if place.is_ignored() {
        return Wanted::Ignored;
    }
    let Some(value) = live else { return Wanted::Canonical };
    if live == canonical {
        return Wanted::Canonical;
    }
    match place.freedom(live) {
        Freedom::Within => return Wanted::Live,
        Freedom::Beyond(bounds) => {
            return match (canonical, value.as_i64()) {
                (None, Some(number)) => Wanted::Clamped(bounds.nearest(number), bounds),
                _ => Wanted::Canonical,
            };
        }
        Freedom::None => {}
    }
    if place.is_last_applied() && describes(value, object) {
        return Wanted::Live;
    }
    if canonical.is_none() && (place.is_allotted() || place.is_open()) {
        return Wanted::Live;
    }
    if value.map().is_some() {
        let declared = canonical.is_some_and(|node| node.map().is_some());
        let granular = declared && !schema.is_some_and(|node| node.atomic);
        let mergeable = declared || canonical.is_none();
        if granular || (mergeable && (place.is_granular() || place.is_above_latitude())) {
            return Wanted::Members;
        }
    } else if value.list().is_some()
        && let Some(identity) = Identity::at(place, schema)
    {
        let declared = canonical.is_some_and(|node| node.list().is_some());
        if declared || (canonical.is_none() && (place.is_granular_set() || place.is_above_latitude())) {
            return Wanted::Items(identity);
        }
    }
    Wanted::Canonical
}

/// Whether anything of a live value stays where Git declares nothing.
pub(super) fn stays<'a>(
    place: &mut Place<'a>,
    object: Node<'_>,
    live: Node<'a>,
    schema: Option<&'a SchemaNode>,
) -> bool {
    match wanted(place, object, Some(live), None, schema) {
        Wanted::Live | Wanted::Clamped(..) => true,
        Wanted::Ignored | Wanted::Canonical => false,
        Wanted::Members => live.map().is_some_and(|map| {
            map.iter().any(|(name, member)| {
                let schema = place.latitude.schema.field(schema, name);
                place.within(Step::Field(name), |place| stays(place, object, member, schema))
            })
        }),
        Wanted::Items(identity) => {
            live.list().is_some_and(|list| list.iter().any(|item| item_stays(place, object, item, identity, schema)))
        }
    }
}

/// An item that Git does not declare stays as a whole or not at all: what is left of it would have no keys.
pub(super) fn item_stays<'a>(
    place: &mut Place<'a>,
    object: Node<'_>,
    item: Node<'a>,
    identity: Identity<'a>,
    schema: Option<&'a SchemaNode>,
) -> bool {
    let schema = place.latitude.schema.item(schema);
    place.within(identity.step(item), |place| matches!(wanted(place, object, Some(item), None, schema), Wanted::Live))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described<'t> {
    #[serde(borrow)]
    api_version: Cow<'t, str>,
    #[serde(borrow)]
    kind: Cow<'t, str>,
    #[serde(borrow)]
    metadata: DescribedMetadata<'t>,
}

#[derive(Deserialize)]
struct DescribedMetadata<'t> {
    #[serde(borrow)]
    name: Cow<'t, str>,
    #[serde(borrow)]
    namespace: Option<Cow<'t, str>>,
}

/// The text is a manifest of this object. Its version may be another one of the same group.
pub(super) fn describes(text: Node<'_>, object: Node<'_>) -> bool {
    let Some(described) = text.as_str().and_then(|text| serde_json::from_str::<Described<'_>>(text).ok()) else {
        return false;
    };
    let group = |version: &str| version.split_once('/').map(|(group, _)| group.to_owned());
    let of = |path: &[&str]| object.at(path).and_then(Node::as_str);
    of(&["apiVersion"]).is_some_and(|version| group(version) == group(&described.api_version))
        && of(&["kind"]) == Some(&*described.kind)
        && of(&["metadata", "name"]) == Some(&*described.metadata.name)
        // A manifest may leave its namespace to the context.
        && described.metadata.namespace.is_none_or(|namespace| of(&["metadata", "namespace"]) == Some(&*namespace))
}
