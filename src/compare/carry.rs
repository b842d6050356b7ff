//! What to write so that a live object becomes what Git declares.

use serde_json::{Map, Value};

use super::members::members;
use super::place::{Place, Step};
use super::roster::{Identity, Roster, union};
use super::wanted::{Wanted, item_stays, wanted};
use super::{Latitude, SchemaNode};
use crate::document::Node;

/// The body of the PUT that repairs `live`: what Git declares, with the live values of all that is not Git's, and the
/// live uid and resourceVersion, so that it hits this object as it was seen or nothing.
pub fn carry<'a>(canonical: Node<'a>, live: Node<'a>, latitude: &'a Latitude<'a>) -> Value {
    let mut body = repaired(canonical, live, latitude);
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["uid", "resourceVersion"] {
            if let Some(value) = live.at(&["metadata", field]) {
                metadata.insert(field.to_owned(), value.to_value());
            }
        }
    }
    body
}

/// The repaired object without status and bookkeeping.
pub(super) fn repaired<'a>(canonical: Node<'a>, live: Node<'a>, latitude: &'a Latitude<'a>) -> Value {
    let mut merge = Merge { place: Place::root(latitude), object: live };
    merge.visit(Some(live), Some(canonical), latitude.schema.root()).unwrap_or_else(|| canonical.to_value())
}

struct Merge<'a> {
    place: Place<'a>,
    object: Node<'a>,
}

impl<'a> Merge<'a> {
    fn visit(
        &mut self,
        live: Option<Node<'a>>,
        canonical: Option<Node<'a>>,
        schema: Option<&'a SchemaNode>,
    ) -> Option<Value> {
        match wanted(&self.place, self.object, live, canonical, schema) {
            Wanted::Ignored => None,
            Wanted::Live => live.map(Node::to_value),
            Wanted::Canonical => canonical.map(Node::to_value),
            Wanted::Clamped(number, _) => Some(number.into()),
            Wanted::Members => {
                let mut merged = Map::new();
                for (name, [live, canonical]) in members([live, canonical].map(|node| node.and_then(Node::map))) {
                    let schema = self.place.latitude.schema.field(schema, name);
                    if let Some(value) = self.within(Step::Field(name), |merge| merge.visit(live, canonical, schema)) {
                        merged.insert(name.to_owned(), value);
                    }
                }
                (canonical.is_some() || !merged.is_empty()).then_some(Value::Object(merged))
            }
            Wanted::Items(identity) => {
                let merged = self.items(live, canonical, identity, schema);
                (canonical.is_some() || !merged.is_empty()).then_some(Value::Array(merged))
            }
        }
    }

    /// In the live order where that is the order of Git too, so that what others add does not make a difference; else in
    /// the order of Git.
    fn items(
        &mut self,
        live: Option<Node<'a>>,
        canonical: Option<Node<'a>>,
        identity: Identity<'a>,
        schema: Option<&'a SchemaNode>,
    ) -> Vec<Value> {
        let [lives, canonicals] = [live, canonical].map(|node| Roster::new(node.and_then(Node::list), identity));
        let complete = canonicals.items().iter().all(|item| lives.position(*item).is_some());
        let order = if complete && lives.keeps_order_of(&canonicals) {
            lives.unique().collect()
        } else {
            union([&canonicals, &lives])
        };
        let mut merged = Vec::with_capacity(order.len());
        for item in order {
            match (lives.find(item), canonicals.find(item)) {
                (Some(live), None) => {
                    if item_stays(&mut self.place, self.object, live, identity, schema) {
                        merged.push(live.to_value());
                    }
                }
                (live, canonical) => {
                    let schema = self.place.latitude.schema.item(schema);
                    merged.extend(self.within(identity.step(item), |merge| merge.visit(live, canonical, schema)));
                }
            }
        }
        merged
    }

    fn within<T>(&mut self, step: Step<'a>, visit: impl FnOnce(&mut Self) -> T) -> T {
        self.place.enter(step);
        let result = visit(self);
        self.place.leave();
        result
    }
}
