//! What a CustomResourceDefinition says of itself, and by which the API server serves its kind or does not.
//!
//! Two things that it says nobody takes back, and they can be known. That it is terminating is so where it is being deleted:
//! it takes no new objects then. That its names are accepted is so where all that it asks for are among the accepted ones:
//! the API server looks at them no more then, and without that word it serves none of its objects.

use serde_json::{Value, json};

use crate::document::Node;
use crate::object::ObjectRef;

const TERMINATING: &str = "Terminating";
const NAMES_ACCEPTED: &str = "NamesAccepted";

pub fn is_definition(id: ObjectRef<'_>) -> bool {
    (id.group, id.kind) == ("apiextensions.k8s.io", "CustomResourceDefinition")
}

/// Whether a definition says of itself what is not so.
pub fn is_misstated(definition: Node<'_>) -> bool {
    let is_deleted = definition.at(&["metadata", "deletionTimestamp"]).is_some_and(|time| !time.is_null());
    !is_deleted && (says(definition, TERMINATING) || lacks_names(definition))
}

fn lacks_names(definition: Node<'_>) -> bool {
    let accepted = definition.at(&["status", "acceptedNames"]);
    accepted.is_some() && definition.at(&["spec", "names"]) == accepted && !says(definition, NAMES_ACCEPTED)
}

fn says(definition: Node<'_>, what: &str) -> bool {
    let is_said = |condition: Node<'_>| is_of(condition, what) && text(condition, "status") == Some("True");
    conditions(definition).any(is_said)
}

fn conditions(definition: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    let conditions = definition.at(&["status", "conditions"]).and_then(Node::list);
    conditions.into_iter().flat_map(|conditions| conditions.iter())
}

fn is_of(condition: Node<'_>, kind: &str) -> bool {
    text(condition, "type") == Some(kind)
}

fn text<'a>(node: Node<'a>, key: &str) -> Option<&'a str> {
    node.get(key).and_then(Node::as_str)
}

/// A definition that says what is not so, as it has to be.
pub fn corrected(definition: Node<'_>) -> Value {
    let lacks_names = lacks_names(definition);
    let mut corrected = definition.to_value();
    let mut conditions = corrected["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.retain(|condition| condition["type"] != TERMINATING);
    if lacks_names {
        conditions.retain(|condition| condition["type"] != NAMES_ACCEPTED);
        conditions.push(json!({"type": NAMES_ACCEPTED, "status": "True", "reason": "NoConflicts",
            "message": "no conflicts found"}));
    }
    corrected["status"]["conditions"] = conditions.into();
    corrected
}

/// Whether a write to the status makes it say what is so, and nothing else.
pub fn is_correction(old: Node<'_>, new: Node<'_>) -> bool {
    let is_wrong = |condition: Node<'_>| {
        is_of(condition, TERMINATING) || (is_of(condition, NAMES_ACCEPTED) && text(condition, "status") != Some("True"))
    };
    let rest = |definition: Node<'_>| {
        let mut status = definition.get("status").map(Node::to_value).unwrap_or_default();
        status.as_object_mut().map(|status| status.remove("conditions"));
        status
    };
    let stays = |condition: Node<'_>| conditions(new).any(|other| other == condition);
    let was_there = |condition: Node<'_>| conditions(old).any(|other| other == condition);
    is_misstated(old)
        && !is_misstated(new)
        && rest(old) == rest(new)
        && conditions(old).all(|condition| is_wrong(condition) || stays(condition))
        && conditions(new)
            .all(|condition| was_there(condition) || (lacks_names(old) && is_of(condition, NAMES_ACCEPTED)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

    type Said = &'static [(&'static str, &'static str)];

    fn definition(accepted: &str, said: &[(&str, &str)]) -> Value {
        let conditions: Vec<_> = said.iter().map(|(kind, status)| json!({"type": kind, "status": status})).collect();
        json!({"metadata": {"name": "widgets.example.com"}, "spec": {"names": {"plural": "widgets"}},
            "status": {"acceptedNames": {"plural": accepted}, "conditions": conditions}})
    }

    #[test]
    fn what_is_not_so_is_told_and_put_right() {
        const NAMES: (&str, &str) = ("NamesAccepted", "True");
        const IN_FORCE: (&str, &str) = ("Established", "True");
        const ENDS: (&str, &str) = ("Terminating", "True");
        let cases: [(&str, Said, bool); 8] = [
            ("widgets", &[NAMES, IN_FORCE], false),
            ("widgets", &[NAMES, IN_FORCE, ENDS], true),
            ("widgets", &[ENDS], true),
            ("widgets", &[NAMES, ("Terminating", "False")], false),
            ("widgets", &[], true),
            ("widgets", &[("NamesAccepted", "False"), IN_FORCE], true),
            // The API server has not looked yet, or sees a conflict.
            ("", &[], false),
            ("", &[("NamesAccepted", "False")], false),
        ];
        for (accepted, said, expected) in cases {
            let document = Document::from_value(&definition(accepted, said));
            assert_eq!(is_misstated(document.root()), expected, "{accepted} {said:?}");
            if expected {
                let corrected = Document::from_value(&corrected(document.root()));
                assert!(!is_misstated(corrected.root()), "{accepted} {said:?}");
                assert!(is_correction(document.root(), corrected.root()), "{accepted} {said:?}");
                let stays = |kind| says(document.root(), kind) == says(corrected.root(), kind);
                assert!(stays("Established"), "{accepted} {said:?}");
            }
        }
        let mut deleted = definition("widgets", &[ENDS]);
        deleted["metadata"]["deletionTimestamp"] = json!("2026-11-21T12:00:00Z");
        assert!(!is_misstated(Document::from_value(&deleted).root()));
    }

    #[test]
    fn a_correction_says_nothing_else() {
        let names = ("NamesAccepted", "True");
        let doomed = definition("widgets", &[names, ("Established", "True"), ("Terminating", "True")]);
        let changed = |edit: fn(&mut Value)| {
            let mut corrected = corrected(Document::from_value(&doomed).root());
            edit(&mut corrected["status"]);
            is_correction(Document::from_value(&doomed).root(), Document::from_value(&corrected).root())
        };
        assert!(changed(|_| {}));
        assert!(!changed(|status| status["storedVersions"] = json!(["v0"])));
        assert!(!changed(|status| status["conditions"][1]["status"] = json!("False")));
        assert!(!changed(|status| status["conditions"] = json!([status["conditions"][0]])));
        assert!(!changed(|status| status["conditions"][1] = json!({"type": "Mine", "status": "True"})));
    }
}
