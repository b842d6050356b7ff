//! The members of several maps, key by key.

use std::iter::Peekable;

use crate::document::{Map, Node};

/// Every key of any of the maps, in order, with its value in each.
pub(super) fn members<'a, const N: usize>(
    maps: [Option<Map<'a>>; N],
) -> impl Iterator<Item = (&'a str, [Option<Node<'a>>; N])> {
    let mut cursors = maps.map(|map| map.into_iter().flat_map(Map::iter).peekable());
    std::iter::from_fn(move || {
        let key = cursors.iter_mut().filter_map(|cursor| cursor.peek().map(|(key, _)| *key)).min()?;
        Some((key, cursors.each_mut().map(|cursor| take(cursor, key))))
    })
}

fn take<'a>(cursor: &mut Peekable<impl Iterator<Item = (&'a str, Node<'a>)>>, key: &str) -> Option<Node<'a>> {
    cursor.next_if(|(next, _)| *next == key).map(|(_, value)| value)
}
