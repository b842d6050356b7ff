//! What keeps an object that is being deleted from going. Until it is gone it counts: a RoleBinding that is being deleted
//! still binds, and nothing is made in its place.

use super::finalizers;
use super::world::World;
use crate::admission::children::Descent;
use crate::admission::{ObjectClass, grace};
use crate::compare::carry;
use crate::document::Node;
use crate::object::ObjectId;
use crate::snapshot::{Entry, EntryClass, KindInfo, SnapshotError};

/// What must not keep an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// To be taken away.
    pub finalizers: Vec<String>,
    /// The seconds that a Pod has, where it was given more.
    pub grace: Option<i64>,
    /// Of a Namespace: what anybody may have in it is let go as well.
    pub contents: bool,
}

impl Hold {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What holds an object that is declared, or of the baseline. The finalizers go that a repair would take away; those that Git
/// declares or delegates are left to whoever keeps them.
pub fn of_desired(world: &World, kind: &KindInfo, entry: &Entry<'_>, live: Node<'_>) -> Hold {
    let Some(canonical) = entry.canonical().filter(|_| !world.doubts(entry)) else { return Hold::default() };
    let repaired = carry(canonical, live, &world.tolerance(entry).latitude(kind));
    let mut finalizers = finalizers::foreign(kind, &live.to_value());
    finalizers.retain(|name| finalizers::is_collectors(name) || !finalizers::of(&repaired).any(|kept| kept == name));
    let contents = (kind.group.as_str(), kind.kind.as_str()) == ("", "Namespace");
    Hold { finalizers, grace: excess(kind, live, grace::of(canonical)), contents }
}

/// What holds something that follows from what is declared, or recorded. A child's finalizers can only have come past
/// admission, where neither its template nor a component of Kubernetes has them. What depends on it is not waited for, unless
/// that is how its owner goes, which left Git.
pub fn of_follower(
    world: &World,
    kind: &KindInfo,
    id: &ObjectId,
    class: &ObjectClass,
    live: Node<'_>,
) -> Result<Hold, SnapshotError> {
    let mut hold = Hold::default();
    let (ObjectClass::Child { owner: origin }
    | ObjectClass::Generated { by: origin }
    | ObjectClass::Altered { by: origin }) = class
    else {
        return Ok(hold);
    };
    if let ObjectClass::Child { owner } = class {
        let descent = Descent::of(&world.snapshot, id.as_ref(), owner)?;
        hold.finalizers = descent.map(|descent| descent.foreign_finalizers(live)).unwrap_or_default();
        let most = grace::of_child(&world.snapshot, id.as_ref(), owner)?;
        hold.grace = excess(kind, live, most.unwrap_or_else(|| grace::of(live)));
    }
    hold.finalizers.retain(|name| !finalizers::is_collectors(name));
    let origin = world.entry(origin.as_ref())?;
    if origin.is_none_or(|origin| origin.class() != EntryClass::Retained) {
        let foreign = finalizers::foreign(kind, &live.to_value()).into_iter();
        hold.finalizers.extend(foreign.filter(|name| finalizers::is_collectors(name)));
    }
    Ok(hold)
}

/// What holds something that Git does not declare, and that came past admission. Where such objects are left to an operator,
/// finalizers may be his, who has to tidy up.
pub fn of_undeclared(world: &World, kind: &KindInfo, id: &ObjectId, live: Node<'_>) -> Hold {
    let mut finalizers = finalizers::foreign(kind, &live.to_value());
    if world.leaves_finalizers(id.as_ref(), live) {
        finalizers.retain(|name| finalizers::is_collectors(name));
    }
    let grace = excess(kind, live, grace::DEFAULT.min(grace::of(live)));
    Hold { finalizers, grace, contents: false }
}

/// What a Pod has to be given, where it has more.
fn excess(kind: &KindInfo, live: Node<'_>, most: i64) -> Option<i64> {
    let given = live.at(&["metadata", "deletionGracePeriodSeconds"]).and_then(Node::as_i64)?;
    // With no time at all it is forgotten at once, while its kubelet still lets it run.
    let most = most.max(1);
    ((kind.group.as_str(), kind.kind.as_str()) == ("", "Pod") && given > most).then_some(most)
}
