//! What must become of an edit: from what the API server would store, without a look at how gitadel decides.

use serde_json::Value;

use crate::delegated::is_delegated;
use crate::places::escaped;

pub const REVISION: &str = "/metadata/annotations/deployment.kubernetes.io~1revision";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expected {
    /// Nothing that is governed would change.
    Unchanged,
    /// Only what is delegated to who asks would change.
    Delegated,
    Denied,
}

/// Of the object that is there, as Git declares it, and of what would be stored in its place.
pub fn expected(before: &Value, after: &Value, through_status: bool) -> (Expected, Vec<String>) {
    let mut changes = Vec::new();
    changed(Some(before), Some(after), "", &mut changes);
    let is_status = |place: &str| through_status && is_within(place, "/status");
    let is_free = |place: &str| is_bookkeeping(place) || is_last_applied(place, after) || is_back_to_git(place, after);
    changes.retain(|place| !is_status(place) && !is_free(place));
    let expected = match changes.as_slice() {
        [] => Expected::Unchanged,
        changes if changes.iter().all(|place| is_delegated(before, place, after.pointer(place))) => Expected::Delegated,
        _ => Expected::Denied,
    };
    (expected, changes)
}

/// The deepest places that differ. A list with another number of items differs as a whole. So does a map that is gone:
/// Git declares that it is there, and for much of what holds maps, absent and empty are two values (a policy's selector of
/// namespaces, say). Labels and annotations are not among it: the API server does not tell them apart.
fn changed(before: Option<&Value>, after: Option<&Value>, at: &str, found: &mut Vec<String>) {
    if before == after {
        return;
    }
    let map = |value: Option<&Value>| value.and_then(Value::as_object).filter(|members| !members.is_empty()).cloned();
    let is_map_or_absent = |value: Option<&Value>| value.is_none_or(|value| map(Some(value)).is_some());
    let goes = before.is_some() && after.is_none() && !["/metadata/annotations", "/metadata/labels"].contains(&at);
    if is_map_or_absent(before) && is_map_or_absent(after) && !goes {
        let [before, after] = [before, after].map(|value| map(value).unwrap_or_default());
        let more = after.keys().filter(|name| !before.contains_key(*name));
        for name in before.keys().chain(more) {
            changed(before.get(name), after.get(name), &format!("{at}/{}", escaped(name)), found);
        }
        return;
    }
    if let [Some(before), Some(after)] = [before, after].map(|value| value.and_then(Value::as_array))
        && before.len() == after.len()
    {
        for (index, (before, after)) in before.iter().zip(after).enumerate() {
            changed(Some(before), Some(after), &format!("{at}/{index}"), found);
        }
        return;
    }
    found.push(at.to_owned());
}

pub fn is_within(place: &str, parent: &str) -> bool {
    place.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub fn is_bookkeeping(place: &str) -> bool {
    ["generation", "managedFields", "resourceVersion"].iter().any(|name| is_within(place, &format!("/metadata/{name}")))
}

/// kubectl's note of what it applied is anybody's, as long as it is of the object in which it stands: else a plain
/// `kubectl apply` of Git's own manifest would be refused.
pub fn is_last_applied(place: &str, after: &Value) -> bool {
    let note = || {
        let note: Value = serde_json::from_str(after.pointer(place)?.as_str()?).ok()?;
        let same = |field: &str| note.pointer(field) == after.pointer(field);
        Some(["/apiVersion", "/kind", "/metadata/name", "/metadata/namespace"].into_iter().all(same))
    };
    place == "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration" && note() == Some(true)
}

/// The one thing of these objects that is not as Git declares it: a controller's note, which goes with a plain PUT of the
/// manifest. Its controller writes it again.
fn is_back_to_git(place: &str, after: &Value) -> bool {
    place == REVISION && after.pointer(place).is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config_map(name: &str, data: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "argocd", "resourceVersion": "1"},
            "data": data})
    }

    #[test]
    fn only_what_would_be_stored_counts() {
        use Expected::{Delegated, Denied, Unchanged};
        let motd = |text: &str| config_map("argocd-cm", json!({"motd": text, "url": "x"}));
        let with = |pointer: &str, value: Value| {
            let mut object = motd("a");
            crate::places::set(&mut object, pointer, value);
            object
        };
        let note = "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";
        for (what, after, wanted) in [
            ("nothing", motd("a"), Unchanged),
            ("bookkeeping", with("/metadata/resourceVersion", json!("2")), Unchanged),
            ("what is delegated", motd("b"), Delegated),
            ("what is not", with("/data/url", json!("y")), Denied),
            ("both", config_map("argocd-cm", json!({"motd": "b", "url": "y"})), Denied),
            ("a map that is gone", with("/data", Value::Null), Denied),
            ("a label", with("/metadata/labels/a", json!("")), Denied),
            ("no labels", with("/metadata/labels", json!({})), Denied),
            ("a note of itself", with(note, json!(motd("c").to_string())), Unchanged),
            ("a note of another", with(note, json!(config_map("another", json!({})).to_string())), Denied),
        ] {
            assert_eq!(expected(&motd("a"), &after, false).0, wanted, "{what}");
        }
        let counted = with("/status/count", json!(1));
        assert_eq!(expected(&motd("a"), &counted, true).0, Unchanged);
        assert_eq!(expected(&motd("a"), &counted, false).0, Denied);
    }

    #[test]
    fn lists_are_compared_in_their_order() {
        let of = |list: Value| json!({"apiVersion": "v1", "kind": "List", "metadata": {"name": "l"}, "items": list});
        let changes = |after: Value| expected(&of(json!([{"a": 1}, {"a": 2}])), &of(after), false).1;
        assert_eq!(changes(json!([{"a": 2}, {"a": 1}])), ["/items/0/a", "/items/1/a"]);
        assert_eq!(changes(json!([{"a": 1}])), ["/items"]);
    }
}
