//! Lists whose items have an identity: keyed lists and sets.

use std::cmp::Ordering;

use super::place::{Place, Step};
use super::{ListKind, SchemaNode};
use crate::document::{List, Node};

/// What makes two items of a list the same item.
#[derive(Clone, Copy)]
pub(super) enum Identity<'a> {
    /// The values of these fields; a key that an item lacks is a value of its own.
    Keys(&'a [String]),
    /// All of it.
    Whole,
}

impl<'a> Identity<'a> {
    /// Nothing for an atomic list.
    pub fn at(place: &Place<'a>, schema: Option<&'a SchemaNode>) -> Option<Self> {
        // Owners are keyed by uid in the schema; but an owner of the same uid and another kind is another owner.
        if place.is_granular_set() {
            return Some(Self::Whole);
        }
        match schema?.list.as_ref()? {
            ListKind::Atomic => None,
            ListKind::Set => Some(Self::Whole),
            ListKind::Map(keys) => Some(Self::Keys(keys)),
        }
    }

    pub fn step(self, item: Node<'a>) -> Step<'a> {
        match self {
            Self::Keys(keys) => Step::Item(item, keys),
            Self::Whole => Step::Member(item),
        }
    }

    fn compare(self, a: Node<'_>, b: Node<'_>) -> Ordering {
        match self {
            Self::Keys(keys) => keys
                .iter()
                .map(|key| a.get(key).map(Node::as_bytes).cmp(&b.get(key).map(Node::as_bytes)))
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal),
            Self::Whole => a.as_bytes().cmp(b.as_bytes()),
        }
    }
}

/// A list with an index: an attacker may send one of a hundred thousand items.
pub(super) struct Roster<'a> {
    identity: Identity<'a>,
    items: Vec<Node<'a>>,
    /// Positions in `items`, ordered by identity and then position.
    index: Vec<usize>,
}

impl<'a> Roster<'a> {
    pub fn new(list: Option<List<'a>>, identity: Identity<'a>) -> Self {
        let items: Vec<_> = list.into_iter().flat_map(List::iter).collect();
        let mut index: Vec<_> = (0..items.len()).collect();
        // Stable: of items with the same identity, the first comes first.
        index.sort_by(|a, b| identity.compare(items[*a], items[*b]));
        Self { identity, items, index }
    }

    /// In the order of the list.
    pub fn items(&self) -> &[Node<'a>] {
        &self.items
    }

    pub fn position(&self, item: Node<'_>) -> Option<usize> {
        let first = self.index.partition_point(|position| self.identity.compare(self.items[*position], item).is_lt());
        let position = *self.index.get(first)?;
        self.identity.compare(self.items[position], item).is_eq().then_some(position)
    }

    pub fn find(&self, item: Node<'_>) -> Option<Node<'a>> {
        self.position(item).map(|position| self.items[position])
    }

    /// The second of two items that are the same one.
    pub fn duplicate(&self) -> Option<Node<'a>> {
        self.index
            .windows(2)
            .find(|pair| self.identity.compare(self.items[pair[0]], self.items[pair[1]]).is_eq())
            .map(|pair| self.items[pair[1]])
    }

    /// Each item once, its first occurrence, in the order of the list.
    pub fn unique(&self) -> impl Iterator<Item = Node<'a>> {
        self.items.iter().enumerate().filter(|(at, item)| self.position(**item) == Some(*at)).map(|(_, item)| *item)
    }

    /// The items that both have stand in the order of `other`.
    pub fn keeps_order_of(&self, other: &Roster<'a>) -> bool {
        self.unique().filter_map(|item| other.position(item)).is_sorted_by(|a, b| a < b)
    }
}

/// Every item of any of the lists once.
pub(super) fn union<'a, const N: usize>(rosters: [&Roster<'a>; N]) -> Vec<Node<'a>> {
    let mut items = Vec::new();
    for (number, roster) in rosters.iter().enumerate() {
        items.extend(roster.unique().filter(|item| rosters[..number].iter().all(|r| r.position(*item).is_none())));
    }
    items
}
