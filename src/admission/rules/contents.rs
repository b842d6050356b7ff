//! What takes others along when it goes: a Namespace all that is in it, a definition all objects of its kind. It stays with
//! them, also where nobody governs it itself.
//!
//! Of the objects of a definition nobody is asked at all; those in a Namespace that is being deleted cannot be kept.

use super::{Judgement, Rule, deny, is_terminating};
use crate::admission::context::Context;
use crate::admission::denial;
use crate::admission::request::Operation;
use crate::admission::verdict::Class;
use crate::document::Node;
use crate::object::ObjectRef;
use crate::snapshot::EntryClass;

pub const RULE: Rule = Rule { name: "contents", judge };

fn judge(context: &Context<'_>) -> Judgement {
    let (request, meta) = (context.request, context.snapshot.meta());
    let deleted = request.operation == Operation::Delete && request.subresource.is_none();
    let going = request.old.is_some_and(is_terminating);
    // One that is declared, or was there before, is kept by what it is.
    let kept = context.entry.is_some_and(|entry| entry.class() != EntryClass::Retained);
    let Some(contents) = Contents::of(context).filter(|_| deleted && !going && !kept) else { return Ok(None) };
    for entry in context.snapshot.iter() {
        let entry = entry?;
        let stays = match entry.class() {
            EntryClass::Declared => true,
            // What Git had and let go is pruned, with what was in it before Git had it.
            EntryClass::Baseline => context.source.is_none(),
            EntryClass::Retained => false,
        };
        let id = entry.id();
        if stays && contents.hold(id) && meta.enforcing().any(|source| source.governs_id(id)) {
            let reason = format!(
                "must not be deleted: with it would go what Git declares or keeps, such as {id}. Remove that by a commit \
                 first."
            );
            return deny(Class::Governed, denial::other(context, reason));
        }
    }
    Ok(None)
}

/// What goes with an object.
enum Contents<'a> {
    OfNamespace(&'a str),
    OfKind { group: &'a str, kind: &'a str },
}

impl<'a> Contents<'a> {
    fn of(context: &Context<'a>) -> Option<Self> {
        match (context.id.group, context.id.kind) {
            ("", "Namespace") => Some(Self::OfNamespace(context.id.name)),
            ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                let text = |path: &[&str]| context.request.old?.at(path).and_then(Node::as_str);
                Some(Self::OfKind { group: text(&["spec", "group"])?, kind: text(&["spec", "names", "kind"])? })
            }
            _ => None,
        }
    }

    fn hold(&self, id: ObjectRef<'_>) -> bool {
        match *self {
            Self::OfNamespace(namespace) => id.namespace == namespace,
            Self::OfKind { group, kind } => (id.group, id.kind) == (group, kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::RULE;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, deployment, terminating};
    use crate::api::{Action, ClusterScope};
    use crate::snapshot::EntryClass;

    fn namespace(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    }

    /// Governs what is in namespaces and no cluster-scoped objects.
    fn world() -> World {
        World::new().source(|source| source.scope.cluster = ClusterScope::None)
    }

    #[test]
    fn a_namespace_stays_with_what_is_in_it() {
        let deleted = || Review::delete(&namespace("shop"));
        world().declare(&deployment()).expect(&[
            ("with a declared object in it", deleted(), Deny, RULE.name),
            ("with none", Review::delete(&namespace("bank")), Allow, "scope"),
            ("that goes already", Review::delete(&terminating(&namespace("shop"))), Allow, "scope"),
            ("another", Review::create(&namespace("bank")), Allow, "scope"),
        ]);
        for (class, outcome, rule) in [(EntryClass::Baseline, Deny, RULE.name), (EntryClass::Retained, Allow, "scope")]
        {
            world().entry(&deployment(), |draft| draft.class = class).expect(&[("deleted", deleted(), outcome, rule)]);
        }
        let observed = world().source(|source| source.action = Action::Observe).declare(&deployment());
        observed.expect(&[("where nothing is enforced", deleted(), Allow, "scope")]);
    }

    #[test]
    fn where_namespaces_are_governed_too() {
        let deleted = || Review::delete(&namespace("shop"));
        World::new().declare(&deployment()).expect(&[("one that nothing declares", deleted(), Deny, RULE.name)]);
        let left = World::new().entry(&namespace("shop"), |draft| draft.class = EntryClass::Retained);
        left.declare(&deployment()).expect(&[("one that left Git before them", deleted(), Deny, RULE.name)]);
        let baseline = World::new().entry(&deployment(), |draft| draft.class = EntryClass::Baseline);
        baseline.expect(&[("with what was there before", deleted(), Allow, "undeclared")]);
    }

    #[test]
    fn a_definition_stays_with_the_objects_of_its_kind() {
        let definition = |group: &str, kind: &str| {
            Review::delete(&json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": "databases.example.com"}, "spec": {"group": group, "names": {"kind": kind}}}))
        };
        let database = json!({"apiVersion": "example.com/v1", "kind": "Database",
            "metadata": {"name": "orders", "namespace": "shop"}});
        world().declare(&database).expect(&[
            ("with a declared object", definition("example.com", "Database"), Deny, RULE.name),
            ("of another kind", definition("example.com", "Table"), Allow, "scope"),
            ("of another group", definition("example.org", "Database"), Allow, "scope"),
        ]);
    }
}
