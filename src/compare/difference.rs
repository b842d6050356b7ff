//! In what does a live object differ from what Git declares?

use serde_json::Value;

use super::members::members;
use super::place::{Place, Step};
use super::roster::{Identity, Roster, union};
use super::wanted::{Wanted, item_stays, stays, wanted};
use super::{Fault, Finding, Latitude, SchemaNode};
use crate::document::Node;

/// All that has to change for `live` to be what Git declares; nothing once it has converged.
pub fn difference<'a>(live: Node<'a>, canonical: Node<'a>, latitude: &'a Latitude<'a>) -> Vec<Finding> {
    let mut walk = Walk { place: Place::root(latitude), object: live, findings: Vec::new() };
    walk.visit(Some(live), Some(canonical), latitude.schema.root());
    walk.findings
}

struct Walk<'a> {
    place: Place<'a>,
    object: Node<'a>,
    findings: Vec<Finding>,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, live: Option<Node<'a>>, canonical: Option<Node<'a>>, schema: Option<&'a SchemaNode>) {
        if live == canonical {
            return;
        }
        match wanted(&self.place, self.object, live, canonical, schema) {
            Wanted::Ignored | Wanted::Live => {}
            Wanted::Canonical => self.differs(live, canonical),
            Wanted::Clamped(_, bounds) => {
                self.report(Fault::OutOfBounds, Some(bounds.to_value()), live.map(Node::to_value))
            }
            Wanted::Members => self.visit_members(live, canonical, schema),
            Wanted::Items(identity) => self.visit_items(live, canonical, identity, schema),
        }
    }

    fn visit_members(&mut self, live: Option<Node<'a>>, canonical: Option<Node<'a>>, schema: Option<&'a SchemaNode>) {
        // Labels are named one by one; other values that Git lacks altogether are named by their topmost place.
        let named = self.place.is_granular() && live.and_then(Node::map).is_some_and(|map| !map.is_empty());
        if canonical.is_none() && !named && !self.anything_stays(live, schema) {
            return self.differs(live, canonical);
        }
        for (name, [live, canonical]) in members([live, canonical].map(|node| node.and_then(Node::map))) {
            self.within(Step::Field(name), |walk| {
                walk.visit(live, canonical, walk.place.latitude.schema.field(schema, name));
            });
        }
    }

    fn visit_items(
        &mut self,
        live: Option<Node<'a>>,
        canonical: Option<Node<'a>>,
        identity: Identity<'a>,
        schema: Option<&'a SchemaNode>,
    ) {
        let rosters = [live, canonical].map(|node| Roster::new(node.and_then(Node::list), identity));
        let [lives, canonicals] = &rosters;
        let named = self.place.is_granular_set() && !lives.items().is_empty();
        if canonical.is_none() && !named && !self.anything_stays(live, schema) {
            return self.differs(live, canonical);
        }
        if let Some(item) = lives.duplicate() {
            self.within(identity.step(item), |walk| walk.report(Fault::Duplicate, None, Some(item.to_value())));
        }
        for item in union([lives, canonicals]) {
            match (lives.find(item), canonicals.find(item)) {
                (Some(item), None) => {
                    if !item_stays(&mut self.place, self.object, item, identity, schema) {
                        self.within(identity.step(item), |walk| walk.differs(Some(item), None));
                    }
                }
                (live, canonical) => {
                    let schema = self.place.latitude.schema.item(schema);
                    self.within(identity.step(item), |walk| walk.visit(live, canonical, schema));
                }
            }
        }
        if !lives.keeps_order_of(canonicals) {
            self.report(Fault::Reordered, canonical.map(Node::to_value), live.map(Node::to_value));
        }
    }

    fn anything_stays(&mut self, live: Option<Node<'a>>, schema: Option<&'a SchemaNode>) -> bool {
        live.is_some_and(|live| stays(&mut self.place, self.object, live, schema))
    }

    fn differs(&mut self, live: Option<Node<'a>>, canonical: Option<Node<'a>>) {
        let fault = match (live, canonical) {
            (None, _) => Fault::Removed,
            (_, None) => Fault::Undeclared,
            _ => Fault::Changed,
        };
        self.report(fault, canonical.map(Node::to_value), live.map(Node::to_value));
    }

    fn report(&mut self, fault: Fault, wanted: Option<Value>, given: Option<Value>) {
        self.findings.push(Finding { path: self.place.path(), fault, wanted, given });
    }

    fn within(&mut self, step: Step<'a>, visit: impl FnOnce(&mut Self)) {
        self.place.enter(step);
        visit(self);
        self.place.leave();
    }
}
