//! Objects that follow from a governed one, or from the cluster itself, without naming it as their controller.
//!
//! Who keeps them is in the built-in table. An empty `default` ServiceAccount holds nothing, so anybody may make it.

use super::{Judgement, Rule, admit, deny, kept};
use crate::admission::classify::ObjectClass;
use crate::admission::context::Context;
use crate::admission::denial;
use crate::admission::request::Operation;
use crate::admission::verdict::Class;
use crate::document::Node;

pub const RULE: Rule = Rule { name: "generated", judge };

fn judge(context: &Context<'_>) -> Judgement {
    let request = context.request;
    let Some(shown) = context.shown().filter(|_| context.shows_whole_object()) else { return Ok(None) };
    let (by, class) = match context.classify(request.old.unwrap_or(shown))? {
        ObjectClass::Generated { by } => (by.to_string(), Class::Generated),
        // Before the baseline is recorded it is not known what was there from the start.
        ObjectClass::Bootstrap if context.source.is_some_and(|source| source.baseline_recorded) => {
            ("the API server".to_owned(), Class::Generated)
        }
        ObjectClass::Machinery => ("the cluster itself".to_owned(), Class::Machinery),
        _ => return Ok(None),
    };
    let findings = context.states().map(|(old, new)| kept::foreign_changes(context, old, new));
    let admitted = match request.operation {
        Operation::Create => is_empty_account(context, shown) || creates(context, shown),
        Operation::Update => findings.as_ref().is_some_and(Vec::is_empty),
        Operation::Delete => class == Class::Machinery || kept::writers(context).any(|writer| writer.deletes),
        Operation::Connect => false,
    };
    if admitted {
        return admit(class);
    }
    deny(class, denial::kept_by_controller(context, &by, &findings.unwrap_or_default()))
}

fn creates(context: &Context<'_>, new: Node<'_>) -> bool {
    kept::writers(context).any(|writer| writer.creates) && is_well_formed(context, new)
}

/// `kube-root-ca.crt` holds the CA of the cluster and nothing beside it.
fn is_well_formed(context: &Context<'_>, new: Node<'_>) -> bool {
    if (context.id.group, context.id.kind, context.id.name) != ("", "ConfigMap", "kube-root-ca.crt") {
        return true;
    }
    let data = new.get("data").and_then(Node::map);
    data.is_some_and(|data| data.len() == 1 && data.get("ca.crt").is_some()) && new.get("binaryData").is_none()
}

/// A ServiceAccount that names no Secret and carries nothing.
fn is_empty_account(context: &Context<'_>, new: Node<'_>) -> bool {
    let names_only = |metadata: Node<'_>| {
        ["labels", "annotations", "finalizers", "ownerReferences"].iter().all(|field| metadata.get(field).is_none())
    };
    (context.id.group, context.id.kind, context.id.name) == ("", "ServiceAccount", "default")
        && new.get("metadata").is_some_and(names_only)
        && ["secrets", "imagePullSecrets", "automountServiceAccountToken"].iter().all(|f| new.get(f).is_none())
}
