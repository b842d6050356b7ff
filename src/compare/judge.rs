//! May this write happen? Only if it moves the object toward what Git declares: every place is as it was, or as Git
//! has it, or free.
//!
//! *Units.* Below a place where Git declares nothing, and in atomic lists and maps, a value changes as a whole or not
//! at all: a mixture of two states would be a third that nobody wanted. The same holds for what comes into being: where
//! there was no map, none appears but the declared one.

use serde_json::Value;

use super::members::members;
use super::place::{Freedom, Place, Step};
use super::roster::{Identity, Roster, union};
use super::unit::Sides;
use super::wanted::describes;
use super::{Fault, Finding, Latitude, SchemaNode, Segment};
use crate::document::{Map, Node, View};

/// What keeps the write `old` → `new` from being admitted; nothing if it only moves the object toward `canonical`.
pub fn judge<'a>(old: Node<'a>, new: Node<'a>, canonical: Node<'a>, latitude: &'a Latitude<'a>) -> Vec<Finding> {
    if new == old {
        return Vec::new();
    }
    Judge::new(new, latitude).run(Some(old), canonical)
}

/// What keeps `new` from being created: it has to be the declared object, but for what the server allots.
pub fn judge_create<'a>(new: Node<'a>, canonical: Node<'a>, latitude: &'a Latitude<'a>) -> Vec<Finding> {
    Judge::new(new, latitude).run(None, canonical)
}

/// The three states of one place; none where it is absent.
#[derive(Clone, Copy)]
pub(super) struct States<'a> {
    pub old: Option<Node<'a>>,
    pub new: Option<Node<'a>>,
    pub canonical: Option<Node<'a>>,
}

impl<'a> States<'a> {
    pub fn maps(self) -> [Option<Map<'a>>; 3] {
        [self.old, self.new, self.canonical].map(|node| node.and_then(Node::map))
    }

    pub fn rosters(self, identity: Identity<'a>) -> [Roster<'a>; 3] {
        [self.old, self.new, self.canonical].map(|node| Roster::new(node.and_then(Node::list), identity))
    }

    pub fn from([old, new, canonical]: [Option<Node<'a>>; 3]) -> Self {
        Self { old, new, canonical }
    }
}

fn is_of_metadata(finding: &Finding) -> bool {
    matches!(finding.path.0.first(), Some(Segment::Field(name)) if name == "metadata")
}

pub(super) struct Judge<'a> {
    pub place: Place<'a>,
    object: Node<'a>,
    findings: Vec<Finding>,
    /// Allotted values that the write drops. The server itself drops a node port when the type of the Service changes;
    /// so this is admitted together with a change beside it that Git declares, and not alone: metadata drops nothing.
    dropped: Vec<Finding>,
    /// Something governed, and not of the metadata, becomes what Git declares.
    moved: bool,
    /// The object is being created: nobody has set a free field yet, and Git's value stands.
    creating: bool,
    /// The walk is in something that comes into being, with the declared state in place of the old one.
    appearing: bool,
}

impl<'a> Judge<'a> {
    fn new(object: Node<'a>, latitude: &'a Latitude<'a>) -> Self {
        Self {
            place: Place::root(latitude),
            object,
            findings: Vec::new(),
            dropped: Vec::new(),
            moved: false,
            creating: false,
            appearing: false,
        }
    }

    fn run(mut self, old: Option<Node<'a>>, canonical: Node<'a>) -> Vec<Finding> {
        self.creating = old.is_none();
        let (new, schema) = (self.object, self.place.latitude.schema);
        // Another version of the kind is another form of the object: nothing below could be compared.
        for field in ["apiVersion", "kind"] {
            let states = States { old: None, new: new.get(field), canonical: canonical.get(field) };
            if states.new != states.canonical {
                self.within(Step::Field(field), |judge| judge.refuse(states));
                return self.findings;
            }
        }
        self.visit(States { old, new: Some(new), canonical: Some(canonical) }, schema.root());
        let moved = self.moved;
        self.findings.extend(self.dropped.extract_if(.., |finding| !moved || is_of_metadata(finding)));
        self.findings
    }

    fn visit(&mut self, states: States<'a>, schema: Option<&'a SchemaNode>) {
        let States { old, new, canonical } = states;
        if new == old || self.place.is_ignored() {
            return;
        }
        if new == canonical {
            return self.note_move(old, new, schema);
        }
        match self.freedom(states) {
            Freedom::Within => return,
            Freedom::Beyond(bounds) => {
                return self.report(Fault::OutOfBounds, Some(bounds.to_value()), new.map(Node::to_value));
            }
            Freedom::None => {}
        }
        if self.place.is_last_applied() && new.is_some_and(|text| describes(text, self.object)) {
            return;
        }
        if canonical.is_none() {
            if self.place.is_open() || (old.is_none() && self.place.is_allotted()) {
                return;
            }
            if self.place.is_allotted() {
                return self.report(Fault::Allotted, old.map(Node::to_value), new.map(Node::to_value));
            }
        }
        match new.map_or(View::Null, Node::view) {
            View::Map(map) => {
                let declared = canonical.is_some_and(|node| node.map().is_some());
                // `labels: {}` where there were none is a value of its own.
                let granular = self.place.is_granular()
                    && (!map.is_empty() || declared || old.is_some_and(|node| node.map().is_some()))
                    && (declared || canonical.is_none());
                if granular || (declared && !schema.is_some_and(|node| node.atomic)) {
                    return self.visit_members(states, schema);
                }
            }
            View::List(list) => {
                let declared = canonical.is_some_and(|node| node.list().is_some());
                let granular = self.place.is_granular_set() && canonical.is_none() && !list.is_empty();
                if let Some(identity) = Identity::at(&self.place, schema)
                    && (declared || granular)
                {
                    return self.visit_items(states, identity, schema);
                }
            }
            // The last label or finalizer takes its map or list along: the API server stores no empty one.
            _ if new.is_none() && self.place.is_granular() && old.is_some_and(|node| node.map().is_some()) => {
                return self.visit_members(states, schema);
            }
            _ if new.is_none() && self.place.is_granular_set() && old.is_some_and(|node| node.list().is_some()) => {
                if let Some(identity) = Identity::at(&self.place, schema) {
                    return self.visit_items(states, identity, schema);
                }
            }
            _ => {}
        }
        self.visit_unit(states, schema);
    }

    fn visit_members(&mut self, states: States<'a>, schema: Option<&'a SchemaNode>) {
        let [old, new, canonical] = states.maps();
        // Labels and annotations do not come into being as a whole, except with the object.
        let appears = old.is_none() && !self.place.is_granular();
        let old = if appears { canonical } else { old };
        self.appear(appears, |judge| {
            for (name, states) in members([old, new, canonical]) {
                let schema = judge.place.latitude.schema.field(schema, name);
                judge.within(Step::Field(name), |judge| judge.visit(States::from(states), schema));
            }
        });
    }

    fn visit_items(&mut self, states: States<'a>, identity: Identity<'a>, schema: Option<&'a SchemaNode>) {
        let [old, new, canonical] = states.rosters(identity);
        if let Some(item) = new.duplicate() {
            return self.within(identity.step(item), |judge| {
                judge.report(Fault::Duplicate, None, Some(item.to_value()));
            });
        }
        // Where the old list holds an item twice, it cannot be said which of them became the new one.
        let exists = states.old.is_some_and(|node| node.list().is_some()) || self.place.is_granular_set();
        let appears = !exists || old.duplicate().is_some();
        let old = if appears { &canonical } else { &old };
        self.appear(appears, |judge| {
            let schema = judge.place.latitude.schema.item(schema);
            for item in union([old, &new, &canonical]) {
                let states = States { old: old.find(item), new: new.find(item), canonical: canonical.find(item) };
                judge.within(identity.step(item), |judge| judge.visit(states, schema));
            }
        });
        // An order that drifted may stay. Where it did not, what is added takes its declared place: beside items that kept
        // theirs it would make an order that neither state has.
        let drift_stays = new.keeps_order_of(old) && !old.keeps_order_of(&canonical);
        if !new.keeps_order_of(&canonical) && !drift_stays {
            self.report(Fault::Reordered, states.canonical.map(Node::to_value), states.new.map(Node::to_value));
        }
    }

    /// All of it as it was, or all of it as Git has it; apart from what is free or allotted in it.
    fn visit_unit(&mut self, states: States<'a>, schema: Option<&'a SchemaNode>) {
        let sides = Sides::of(self, states, schema);
        if sides.canonical && !sides.old {
            self.moved();
        } else if !sides.old {
            self.refuse(states);
        }
    }

    /// `new` is what Git declares and not what was there. Whether that is all of a change, or only drops what the
    /// server allotted.
    fn note_move(&mut self, old: Option<Node<'a>>, new: Option<Node<'a>>, schema: Option<&'a SchemaNode>) {
        if self.moved || new == old || self.place.is_ignored() || matches!(self.place.freedom(new), Freedom::Within) {
            return;
        }
        if new.is_none() && self.place.is_allotted() {
            return self.dropped.push(self.finding(Fault::Allotted, old.map(Node::to_value), None));
        }
        if !self.place.is_above_allotted() {
            self.moved();
            return;
        }
        let states = States { old, new, canonical: None };
        if let Some(old) = old.and_then(Node::map) {
            for (name, [old, new]) in members([Some(old), new.and_then(Node::map)]) {
                let schema = self.place.latitude.schema.field(schema, name);
                self.within(Step::Field(name), |judge| judge.note_move(old, new, schema));
            }
        } else if old.is_some_and(|node| node.list().is_some())
            && let Some(identity) = Identity::at(&self.place, schema)
        {
            let [old, new, _] = states.rosters(identity);
            let schema = self.place.latitude.schema.item(schema);
            for item in union([&old, &new]) {
                // An item that goes takes what was allotted to it along.
                let (old, new) = (old.find(item), new.find(item));
                let gone = new.is_none() && !self.place.within(identity.step(item), |place| place.is_allotted());
                if gone {
                    self.moved();
                } else {
                    self.within(identity.step(item), |judge| judge.note_move(old, new, schema));
                }
            }
            if !new.keeps_order_of(&old) {
                self.moved();
            }
        } else {
            self.moved();
        }
    }

    fn moved(&mut self) {
        self.moved |= !self.place.is_of_metadata();
    }

    fn refuse(&mut self, states: States<'a>) {
        let fault = match (states.new, states.canonical) {
            (None, _) if !self.appearing && !self.creating => Fault::Removed,
            (_, None) => Fault::Undeclared,
            _ => Fault::Changed,
        };
        self.report(fault, states.canonical.map(Node::to_value), states.new.map(Node::to_value));
    }

    fn report(&mut self, fault: Fault, wanted: Option<Value>, given: Option<Value>) {
        self.findings.push(self.finding(fault, wanted, given));
    }

    fn finding(&self, fault: Fault, wanted: Option<Value>, given: Option<Value>) -> Finding {
        Finding { path: self.place.path(), fault, wanted, given }
    }

    /// A free field that Git declares too is Git's on creation and the delegate's afterwards.
    pub(super) fn freedom(&self, states: States<'a>) -> Freedom {
        if self.creating && states.canonical.is_some() { Freedom::None } else { self.place.freedom(states.new) }
    }

    pub(super) fn within<T>(&mut self, step: Step<'a>, visit: impl FnOnce(&mut Self) -> T) -> T {
        self.place.enter(step);
        let result = visit(self);
        self.place.leave();
        result
    }

    fn appear(&mut self, appears: bool, visit: impl FnOnce(&mut Self)) {
        let before = self.appearing;
        self.appearing |= appears;
        visit(self);
        self.appearing = before;
    }
}
