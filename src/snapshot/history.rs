//! Templates from which children were made before, and may still be.
//!
//! A Deployment replaces its Pods one after the other, a StatefulSet may keep old ones for ever. Until the last of them is
//! gone, its controllers make Pods from the template before as well. What a template was is known from nobody but Git, so
//! it stays in the snapshot from the commit that replaced it.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::document::Node;

/// More templates than these are not kept: the oldest go.
const MOST: usize = 10;

/// What a reconciler says of the templates of one object before the present one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryDraft {
    /// The latest first.
    pub templates: Vec<Value>,
    /// What declared mutators make of a Pod of the present template, where that is something else.
    pub mutated: Option<Value>,
    /// Every template since then is here, or was given up because nothing is left of it.
    pub since: Option<Timestamp>,
}

impl HistoryDraft {
    /// The history of an object whose template was `replaced` by `present`.
    pub fn after(self, replaced: Option<Value>, present: Option<&Value>) -> Self {
        let Self { templates, mutated, since } = self;
        let mut kept: Vec<Value> = Vec::new();
        for template in replaced.into_iter().chain(templates) {
            if Some(&template) != present && !kept.contains(&template) && kept.len() < MOST {
                kept.push(template);
            }
        }
        Self { templates: kept, mutated, since }
    }

    /// The history of an object from which children are made, or were, of another template.
    pub fn with(self, found: Vec<Value>, present: Option<&Value>) -> Self {
        let mut templates = self.templates.clone();
        templates.extend(found);
        Self { templates, ..self }.after(None, present)
    }

    /// The history of an object of whose earlier templates nothing is left.
    pub fn settled(self) -> Self {
        Self { templates: Vec::new(), ..self }
    }

    pub(super) fn encode(&self, head: &mut Map<String, Value>) {
        if !self.templates.is_empty() {
            head.insert("templates".to_owned(), Value::Array(self.templates.clone()));
        }
        if let Some(mutated) = &self.mutated {
            head.insert("mutated".to_owned(), mutated.clone());
        }
        if let Some(since) = self.since {
            head.insert("since".to_owned(), since.as_second().into());
        }
    }
}

/// Puts another history into the head of an entry.
pub(super) fn replace(head: &mut Value, history: &HistoryDraft) {
    if let Some(head) = head.as_object_mut() {
        head.remove("templates");
        head.remove("mutated");
        head.remove("since");
        history.encode(head);
    }
}

/// The history of an entry.
#[derive(Clone, Copy, Debug)]
pub struct History<'a>(pub(super) Node<'a>);

impl<'a> History<'a> {
    /// The latest first.
    pub fn templates(self) -> impl Iterator<Item = Node<'a>> {
        let templates = self.0.get("templates").and_then(Node::list);
        templates.into_iter().flat_map(|templates| templates.iter())
    }

    /// What declared mutators make of a Pod of the present template, where that is something else.
    pub fn mutated(self) -> Option<Node<'a>> {
        self.0.get("mutated")
    }

    /// Every template since then is known. None: of no time can that be said.
    pub fn since(self) -> Option<Timestamp> {
        Timestamp::from_second(self.0.get("since").and_then(Node::as_i64)?).ok()
    }

    pub fn to_draft(self) -> HistoryDraft {
        HistoryDraft {
            templates: self.templates().map(Node::to_value).collect(),
            mutated: self.mutated().map(Node::to_value),
            since: self.since(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_are_kept_once_and_not_beside_the_present_one() {
        let history = HistoryDraft::default().after(Some(json!("a")), Some(&json!("b")));
        assert_eq!(history.templates, [json!("a")]);
        let history = history.after(Some(json!("b")), Some(&json!("c")));
        assert_eq!(history.templates, [json!("b"), json!("a")]);
        let back = history.clone().after(Some(json!("c")), Some(&json!("a")));
        assert_eq!(back.templates, [json!("c"), json!("b")]);
        assert_eq!(history.clone().after(Some(json!("c")), Some(&json!("c"))), history);
        let many = (0..20).fold(HistoryDraft::default(), |history, n| history.after(Some(json!(n)), None));
        assert_eq!((many.templates.len(), &many.templates[0]), (MOST, &json!(19)));
    }
}
