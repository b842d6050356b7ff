//! A repair as a JSON Patch, for people to read: in findings, Events and the log.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation};

use super::Latitude;
use super::carry::repaired;
use super::members::members;
use super::place::{Place, Step};
use crate::document::{Document, Node};

/// What the repair of `live` changes. A list that differs is replaced as a whole, since an index says nothing to a
/// reader; a value that Git lacks is removed at its topmost place, since removing what is in it would leave `{}`.
pub fn json_patch<'a>(live: Node<'a>, canonical: Node<'a>, latitude: &'a Latitude<'a>) -> Patch {
    let target = Document::from_value(&repaired(canonical, live, latitude));
    let mut diff = Diff { place: Place::root(latitude), pointer: PointerBuf::new(), operations: Vec::new() };
    diff.visit(Some(live), Some(target.root()));
    Patch(diff.operations)
}

struct Diff<'a> {
    place: Place<'a>,
    pointer: PointerBuf,
    operations: Vec<PatchOperation>,
}

impl<'a> Diff<'a> {
    fn visit(&mut self, live: Option<Node<'a>>, target: Option<Node<'a>>) {
        if live == target || self.place.is_ignored() {
            return;
        }
        let path = self.pointer.clone();
        match (live, target) {
            (Some(live), Some(target)) => {
                let (Some(a), Some(b)) = (live.map(), target.map()) else {
                    let value = target.to_value();
                    return self.operations.push(PatchOperation::Replace(ReplaceOperation { path, value }));
                };
                for (name, [live, target]) in members([Some(a), Some(b)]) {
                    self.place.enter(Step::Field(name));
                    self.pointer.push_back(name);
                    self.visit(live, target);
                    self.pointer.pop_back();
                    self.place.leave();
                }
            }
            (None, Some(target)) => {
                let value = target.to_value();
                self.operations.push(PatchOperation::Add(AddOperation { path, value }));
            }
            (_, None) => self.operations.push(PatchOperation::Remove(RemoveOperation { path })),
        }
    }
}
