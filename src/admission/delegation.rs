//! Objects that Git leaves to somebody as a whole.
//!
//! A delegation names fields. Whoever makes an object says all that is in it, so a field of it is not enough: an
//! autoscaler that sets `spec.replicas` makes no Deployments.

use serde_json::json;

use super::builtin;
use crate::compare::{FreeField, Latitude, ListSchema, judge_create};
use crate::document::{Document, Node};
use crate::object::ObjectRef;
use crate::snapshot::{DelegatedFields, KindInfo, Snapshot};

/// Whether these fields are all that the object says. Metadata is not asked: names, labels and owners come with an object,
/// and in one that is there they are changed by whom they are delegated to.
pub fn holds_whole<'a>(
    delegations: impl Iterator<Item = &'a DelegatedFields>,
    kind: Option<&KindInfo>,
    object: Node<'_>,
) -> bool {
    let free: Vec<FreeField> = delegations.flat_map(|delegation| delegation.fields.iter().cloned()).collect();
    if free.is_empty() {
        return false;
    }
    let member = |name| object.get(name).map(Node::to_value);
    let nothing = Document::from_value(&json!({
        "apiVersion": member("apiVersion"), "kind": member("kind"), "metadata": member("metadata"),
    }));
    let unknown = ListSchema::default();
    let latitude = Latitude {
        schema: kind.map_or(&unknown, |kind| &kind.schema),
        status_subresource: kind.is_some_and(KindInfo::status_subresource),
        allotted: kind.map_or(&[], |kind| builtin::allotted(&kind.group, &kind.kind)),
        free: &free,
        undeclared_fields: false,
    };
    judge_create(object, nothing.root(), &latitude).is_empty()
}

/// Whether an Enforcement leaves an object like this one to a single user.
pub fn is_left_to_somebody(snapshot: &Snapshot, id: ObjectRef<'_>, object: Node<'_>) -> bool {
    let kind = snapshot.kind(id.group, id.kind);
    snapshot.meta().answering(id).any(|source| {
        let covering = || source.delegations.iter().filter(|d| d.covers(id.group, id.kind, id.namespace, id.name));
        covering().any(|one| holds_whole(covering().filter(|other| other.user == one.user), kind, object))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::testing::{World, delegation, deployment, with};

    #[test]
    fn all_of_an_object_or_not() {
        let world = World::new();
        let kind = world.meta.kinds.iter().find(|kind| kind.kind == "Deployment");
        let field = |field: &str, bounds| delegation("operator", ("apps", "Deployment"), field, bounds);
        let labelled = with(&deployment(), "/metadata/labels", json!({"app": "web"}));
        let owned = with(&labelled, "/status", json!({"replicas": 2}));
        let small = with(
            &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}),
            "/spec",
            json!({"replicas": 2}),
        );
        let bare = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}});
        for (object, fields, whole) in [
            (&owned, vec![field("spec", None)], true),
            (&owned, vec![field("spec.replicas", None), field("spec.template", None)], true),
            (&owned, vec![field("spec.replicas", None)], false),
            (&owned, vec![field("spec.template", None)], false),
            (&owned, Vec::new(), false),
            (&small, vec![field("spec.replicas", Some((1, 3)))], true),
            (&small, vec![field("spec.replicas", Some((3, 5)))], false),
            (&bare, vec![field("spec.replicas", None)], true),
        ] {
            let document = Document::from_value(object);
            assert_eq!(holds_whole(fields.iter(), kind, document.root()), whole, "{object} {fields:?}");
        }
    }
}
