//! The second opinion: which of a live object's additions come from the server itself, at creation. Pure.

use serde_json::Value;

use super::place;
use crate::compare::{Path, Segment};

/// Takes over into `body` what the live object has at the given places, where Git says nothing and a new object would
/// get the very same. Says whether there was anything.
pub fn adopt_created_defaults<'p>(
    body: &mut Value,
    paths: impl Iterator<Item = &'p Path>,
    declared: &Value,
    live: &Value,
    fresh: &Value,
) -> bool {
    let mut adopted = false;
    for path in paths {
        let Some(value) = place::get(live, path) else { continue };
        if place::get(declared, path).is_some() || place::get(fresh, path) != Some(value) {
            continue;
        }
        if place::set(body, &path.0, value.clone()) {
            adopted = true;
            keep_order(body, path, fresh);
        }
    }
    adopted
}

/// An item that was put into a list stands where a new object has it.
fn keep_order(body: &mut Value, path: &Path, fresh: &Value) {
    let Some((last @ (Segment::Item(_) | Segment::Member(_)), list)) = path.0.split_last() else { return };
    let list = Path(list.to_vec());
    let (Some(items), Some(model)) = (place::get(body, &list).cloned(), place::get(fresh, &list)) else { return };
    let mut items = items;
    place::order_like(&mut items, model, last);
    place::set(body, &list.0, items);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(segments: &[&str]) -> Path {
        Path(segments.iter().map(|segment| Segment::Field((*segment).into())).collect())
    }

    #[test]
    fn only_what_a_new_object_would_get_is_adopted() {
        let declared = json!({"spec": {"rules": []}});
        let live = json!({"spec": {"rules": [], "ingressClassName": "nginx", "foreign": "x", "other": "changed"}});
        let fresh = json!({"spec": {"rules": [], "ingressClassName": "nginx", "other": "default"}});
        let mut body = declared.clone();
        let paths = [path(&["spec", "ingressClassName"]), path(&["spec", "foreign"]), path(&["spec", "other"])];
        assert!(adopt_created_defaults(&mut body, paths.iter(), &declared, &live, &fresh));
        assert_eq!(body, json!({"spec": {"rules": [], "ingressClassName": "nginx"}}));
    }

    #[test]
    fn what_git_declares_stays_gits() {
        let declared = json!({"spec": {"image": "git"}});
        let other = json!({"spec": {"image": "mirror"}});
        let mut body = declared.clone();
        assert!(!adopt_created_defaults(&mut body, [path(&["spec", "image"])].iter(), &declared, &other, &other));
        assert_eq!(body, declared);
    }

    #[test]
    fn an_injected_item_stands_where_the_mutator_puts_it() {
        let declared = json!({"containers": [{"name": "web"}]});
        let fresh = json!({"containers": [{"name": "proxy", "image": "p"}, {"name": "web", "image": "w"}]});
        let injected =
            Path(vec![Segment::Field("containers".into()), Segment::Item(vec![("name".into(), "proxy".into())])]);
        let mut body = declared.clone();
        assert!(adopt_created_defaults(&mut body, [injected].iter(), &declared, &fresh, &fresh));
        assert_eq!(body, json!({"containers": [{"name": "proxy", "image": "p"}, {"name": "web"}]}));
    }
}
