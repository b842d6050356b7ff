//! Values that change as a whole, with places in them that are free or allotted.

use super::SchemaNode;
use super::judge::{Judge, States};
use super::members::members;
use super::place::{Freedom, Step};
use super::roster::{Identity, union};
use crate::document::{Node, View};

/// Which of the states a new value is, apart from the places in it that may be anything.
#[derive(Clone, Copy)]
pub(super) struct Sides {
    pub old: bool,
    pub canonical: bool,
    /// It holds a value at a place that may be anything: reason enough for the maps around it to be there.
    occupied: bool,
}

impl Sides {
    pub fn of<'a>(judge: &mut Judge<'a>, states: States<'a>, schema: Option<&'a SchemaNode>) -> Self {
        sides(judge, states, schema)
    }

    fn and(self, other: Self) -> Self {
        Self {
            old: self.old && other.old,
            canonical: self.canonical && other.canonical,
            occupied: self.occupied || other.occupied,
        }
    }
}

fn sides<'a>(judge: &mut Judge<'a>, states: States<'a>, schema: Option<&'a SchemaNode>) -> Sides {
    let States { old, new, canonical } = states;
    let whole = Sides { old: new == old, canonical: new == canonical, occupied: false };
    let allotment = canonical.is_none() && old.is_none() && judge.place.is_allotted();
    if judge.place.is_ignored() || allotment || matches!(judge.freedom(states), Freedom::Within) {
        return Sides { old: true, canonical: true, occupied: new.is_some() };
    }
    if canonical.is_none() && judge.place.is_allotted() {
        // Frozen, and carried along when Git's state is restored around it.
        return Sides { old: whole.old, canonical: whole.old || whole.canonical, occupied: new.is_some() };
    }
    if (whole.old && whole.canonical) || !judge.place.is_above_latitude() {
        return whole;
    }
    let start = Sides { old: true, canonical: true, occupied: false };
    let (result, old_there, canonical_there) = match new.map_or(View::Null, Node::view) {
        View::Map(_) => {
            let maps = states.maps();
            let result = members(maps).fold(start, |result, (name, states)| {
                let schema = judge.place.latitude.schema.field(schema, name);
                result.and(judge.within(Step::Field(name), |judge| sides(judge, States::from(states), schema)))
            });
            (result, maps[0].is_some(), maps[2].is_some())
        }
        View::List(_) => {
            let Some(identity) = Identity::at(&judge.place, schema) else { return whole };
            let [olds, news, canonicals] = states.rosters(identity);
            if news.duplicate().is_some() {
                return whole;
            }
            let schema = judge.place.latitude.schema.item(schema);
            let mut result = union([&olds, &news, &canonicals]).into_iter().fold(start, |result, item| {
                let states = States { old: olds.find(item), new: news.find(item), canonical: canonicals.find(item) };
                result.and(judge.within(identity.step(item), |judge| sides(judge, states, schema)))
            });
            result.old &= olds.duplicate().is_none() && news.keeps_order_of(&olds);
            result.canonical &= news.keeps_order_of(&canonicals);
            let is_list = |node: Option<Node<'_>>| node.is_some_and(|node| node.list().is_some());
            (result, is_list(old), is_list(canonical))
        }
        _ => return whole,
    };
    // Where a state has nothing here, only a value that may be there accounts for the map or list around it.
    Sides {
        old: whole.old || (result.old && (old_there || (old.is_none() && result.occupied))),
        canonical: whole.canonical
            || (result.canonical && (canonical_there || (canonical.is_none() && result.occupied))),
        occupied: result.occupied,
    }
}
