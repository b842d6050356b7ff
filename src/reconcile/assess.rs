//! What a live object is in the eyes of Git. Pure; shared by the watches, the workers and the status.

use serde_json::Value;

use crate::admission::children::{Descent, Stray};
use crate::admission::{ObjectClass, classify_object, computed, definition, endpoints, volumes};
use crate::compare::{Finding, difference, identical, mask_secret};
use crate::document::{Document, Node};
use crate::object::ObjectId;
use crate::snapshot::{EntryClass, KindInfo, SnapshotError};

use super::finalizers;
use super::going::{self, Hold};
use super::tracker::Fingerprint;
use super::world::{World, is_secret};

#[derive(Debug)]
pub enum Assessment {
    /// As Git declares it; with the fingerprint of the desired state, where nothing else is in the object.
    Converged(Option<Fingerprint>),
    /// Declared or baseline, and different.
    Drifted(Vec<Finding>),
    /// It follows from another object and is not what it has to be, which is this.
    Altered(Value),
    /// As Git declares it, and its status says what is not so: it has to be this.
    Misstated(Value),
    /// In a governed scope and unknown to Git.
    Undeclared,
    /// It belongs to a governed object, and is none of those that its template yields.
    Foreign(Vec<Finding>),
    /// The same, but it is older than what is known of that template. It is left as it was when it was seen first.
    Unproven(Vec<Finding>),
    /// Unknown to Git as well, but with it data would go: it is reported, and left to people.
    Kept,
    /// Being deleted, and held by what got in past admission.
    Held(Hold),
    /// The same, of what nobody declares and came into a closed world, unless it is known to have been declared: then its
    /// finalizers are those of whoever tidies up after it.
    Lingering(Hold),
    /// Being deleted: what becomes of it is seen when it is gone.
    Terminating,
    /// None of gitadel's business, or not decided yet.
    Free,
}

/// Judges a live object as a whole.
///
/// # Errors
/// A damaged snapshot: nothing may be concluded from it.
pub fn assess(world: &World, kind: &KindInfo, id: &ObjectId, live: Node<'_>) -> Result<Assessment, SnapshotError> {
    let terminating = live.at(&["metadata", "deletionTimestamp"]).is_some();
    let Some(entry) = world.entry(id.as_ref())? else {
        let class = classify_object(&world.snapshot, kind, live)?;
        if terminating {
            return leaving(world, kind, id, &class, live);
        }
        return Ok(match class {
            _ if !world.removes(id.as_ref()) => Assessment::Free,
            ObjectClass::Remnant | ObjectClass::Generated { .. } | ObjectClass::Child { .. }
                if is_claim_or_volume(id) =>
            {
                claim_or_volume(world, kind, id, &class, live)?
            }
            ObjectClass::Altered { .. } => {
                computed(&world.snapshot, id.as_ref(), live).map_or(Assessment::Free, Assessment::Altered)
            }
            ObjectClass::Child { owner } => child(world, id, &owner, live)?,
            class if class.is_removable() => Assessment::Undeclared,
            _ => Assessment::Free,
        });
    };
    if terminating {
        // What left Git may go, and does not come again.
        if entry.class() == EntryClass::Retained {
            return Ok(Assessment::Free);
        }
        let hold = going::of_desired(world, kind, &entry, live);
        return Ok(if hold.is_empty() { Assessment::Terminating } else { Assessment::Held(hold) });
    }
    let Some(canonical) = entry.canonical() else { return Ok(Assessment::Free) };
    let is_misstated = definition::is_definition(id.as_ref()) && definition::is_misstated(live);
    let masked: Document;
    let live = if is_secret(id.as_ref()) {
        masked = mask_secret(live, &world.mask_key);
        masked.root()
    } else {
        live
    };
    // Most objects by far, and this is told without a walk through them.
    if !is_misstated && identical(live, canonical, kind.status_subresource()) {
        return Ok(Assessment::Converged(Some(Fingerprint::of(canonical))));
    }
    let tolerance = world.tolerance(&entry);
    let findings = difference(live, canonical, &tolerance.latitude(kind));
    Ok(match findings.is_empty() {
        true if is_misstated => Assessment::Misstated(definition::corrected(live)),
        true => Assessment::Converged(None),
        false => Assessment::Drifted(findings),
    })
}

fn is_claim_or_volume(id: &ObjectId) -> bool {
    id.kind.group.is_empty() && matches!(id.kind.kind.as_str(), "PersistentVolumeClaim" | "PersistentVolume")
}

/// With these data would go. What nobody can have let in goes only where nothing is bound to it.
fn claim_or_volume(
    world: &World,
    kind: &KindInfo,
    id: &ObjectId,
    class: &ObjectClass,
    live: Node<'_>,
) -> Result<Assessment, SnapshotError> {
    if let Some(wanted) = volumes::without_foreign_owners(&world.snapshot, id.as_ref(), live)? {
        let document = Document::from_value(&wanted);
        let tolerance = world.tolerance_of_generated(id.as_ref(), document.root());
        if !difference(live, document.root(), &tolerance.latitude(kind)).is_empty() {
            return Ok(Assessment::Altered(wanted));
        }
    }
    let came_past = || volumes::came_past_admission(&world.snapshot, id.as_ref(), live);
    Ok(match class {
        ObjectClass::Child { .. } => Assessment::Free,
        _ if volumes::may_be_removed(&world.snapshot, id.as_ref(), live)? => Assessment::Undeclared,
        ObjectClass::Remnant => Assessment::Kept,
        _ if id.kind.kind == "PersistentVolume" && came_past()? => Assessment::Kept,
        _ => Assessment::Free,
    })
}

/// Something that Git does not declare is being deleted.
fn leaving(
    world: &World,
    kind: &KindInfo,
    id: &ObjectId,
    class: &ObjectClass,
    live: Node<'_>,
) -> Result<Assessment, SnapshotError> {
    if !world.removes(id.as_ref()) {
        return Ok(Assessment::Free);
    }
    if class.is_removable() {
        let hold = going::of_undeclared(world, kind, id, live);
        if !hold.is_empty() && world.came_after_closing(id.as_ref(), live) {
            return Ok(Assessment::Lingering(hold));
        }
        let is_held = finalizers::foreign(kind, &live.to_value()).iter().any(|name| !finalizers::is_collectors(name));
        return Ok(if is_held { Assessment::Terminating } else { Assessment::Free });
    }
    let hold = going::of_follower(world, kind, id, class, live)?;
    Ok(if hold.is_empty() { Assessment::Free } else { Assessment::Held(hold) })
}

fn child(world: &World, id: &ObjectId, owner: &ObjectId, live: Node<'_>) -> Result<Assessment, SnapshotError> {
    if let Some(redirected) = endpoints::redirected(&world.snapshot, id.as_ref(), live) {
        return Ok(Assessment::Altered(redirected));
    }
    let stray = Descent::of(&world.snapshot, id.as_ref(), owner)?.and_then(|descent| descent.strays(live));
    Ok(match stray {
        None => Assessment::Free,
        Some(Stray::Labelled { wanted }) => Assessment::Altered(wanted),
        Some(Stray::Foreign { findings }) => Assessment::Foreign(findings),
        Some(Stray::Unproven { findings }) => Assessment::Unproven(findings),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::admission::testing::{self, config_map, delegation, terminating, with, without};

    const FOREIGN: &str = "example.com/hold";

    /// The finalizers that are taken away, by what nobody declares or by anything else; none where all of them stay.
    fn taken(world: &testing::World, live: &Value) -> (Vec<String>, bool) {
        let kind = world.meta.kinds.iter().find(|kind| kind.kind == live["kind"]).unwrap();
        let world = World::new(Arc::new(world.snapshot()), Arc::default(), Arc::default()).unwrap();
        let text = |key: &str| live["metadata"][key].as_str().unwrap_or_default();
        let id = ObjectId::new(&kind.group, &kind.kind, text("namespace"), text("name"));
        match assess(&world, kind, &id, Document::from_value(live).root()).unwrap() {
            Assessment::Held(hold) => (hold.finalizers, false),
            Assessment::Lingering(hold) => (hold.finalizers, true),
            Assessment::Terminating | Assessment::Free => (Vec::new(), false),
            other => panic!("{other:?}"),
        }
    }

    fn going(finalizers: &[&str]) -> Value {
        with(&terminating(&config_map("c")), "/metadata/finalizers", json!(finalizers))
    }

    #[test]
    fn what_is_declared_loses_the_finalizers_that_a_repair_would_take() {
        let git = with(&config_map("c"), "/metadata/finalizers", json!(["example.com/git"]));
        let held = going(&[FOREIGN, "example.com/git", "foregroundDeletion"]);
        let hold = || (vec![FOREIGN.to_owned(), "foregroundDeletion".to_owned()], false);
        let waits = || (vec!["foregroundDeletion".to_owned()], false);
        let stays = || (Vec::new(), false);
        let delegated = delegation("operator", ("", "ConfigMap"), &format!("metadata.finalizers[={FOREIGN}]"), None);
        let world = || testing::World::new().declare(&git);
        assert_eq!(taken(&world(), &held), hold());
        assert_eq!(taken(&testing::World::new().entry(&git, |d| d.class = EntryClass::Baseline), &held), hold());
        assert_eq!(taken(&world(), &going(&["example.com/git"])), stays());
        assert_eq!(taken(&world().source(|s| s.delegations = vec![delegated]), &held), waits());
    }

    #[test]
    fn what_nobody_declares_loses_them_where_it_came_into_a_closed_world() {
        let closed = |at: &str| {
            let at = at.parse().unwrap();
            testing::World::new().meta(|meta| _ = meta.closed_since.insert("all".into(), at))
        };
        let made = with(&going(&[FOREIGN]), "/metadata/creationTimestamp", json!("2026-11-21T12:00:00Z"));
        let before = || closed("2026-11-21T11:00:00Z");
        let stays = (Vec::new(), false);
        assert_eq!(taken(&before(), &made), (vec![FOREIGN.to_owned()], true));
        assert_eq!(taken(&closed("2026-11-21T12:00:00.5Z"), &made), stays, "in the same second");
        assert_eq!(taken(&before(), &without(&made, "/metadata/creationTimestamp")), stays);
        let fields =
            ["metadata.finalizers", "data"].map(|field| delegation("operator", ("", "ConfigMap"), field, None));
        for field in fields {
            assert_eq!(taken(&before().source(|s| s.delegations = vec![field.clone()]), &made), stays, "{field:?}");
        }
    }

    #[test]
    fn what_follows_waits_for_nothing_but_where_its_owner_left_git() {
        let web = testing::deployment();
        let pod = with(&terminating(&testing::pod()), "/metadata/finalizers", json!(["foregroundDeletion"]));
        let world = |class| testing::World::new().entry(&web, |draft| draft.class = class);
        assert_eq!(taken(&world(EntryClass::Declared), &pod), (vec!["foregroundDeletion".to_owned()], false));
        assert_eq!(taken(&world(EntryClass::Retained), &pod), (Vec::new(), false));
    }

    /// The seconds that a Pod is given, of so many that it was deleted with.
    fn given(world: &testing::World, pod: &Value, asked: i64) -> Option<i64> {
        let kind = world.meta.kinds.iter().find(|kind| kind.kind == "Pod").unwrap();
        let world = World::new(Arc::new(world.snapshot()), Arc::default(), Arc::default()).unwrap();
        let live = with(&terminating(pod), "/metadata/deletionGracePeriodSeconds", json!(asked));
        let id = ObjectId::new("", "Pod", "shop", pod["metadata"]["name"].as_str().unwrap());
        match assess(&world, kind, &id, Document::from_value(&live).root()).unwrap() {
            Assessment::Held(hold) | Assessment::Lingering(hold) => hold.grace,
            _ => None,
        }
    }

    #[test]
    fn a_pod_has_no_more_time_than_git_gives_it() {
        const GRACE: &str = "/spec/terminationGracePeriodSeconds";
        let seconds = |object: &Value, at: &str, seconds: i64| with(object, at, json!(seconds));
        let web = seconds(&testing::deployment(), "/spec/template/spec/terminationGracePeriodSeconds", 60);
        let child = seconds(&testing::pod(), GRACE, 60);
        let declared = testing::World::new().declare(&web);
        assert_eq!([60, 61].map(|asked| given(&declared, &child, asked)), [None, Some(60)]);
        let altered = seconds(&child, GRACE, 900);
        assert_eq!(given(&declared, &altered, 900), Some(60), "whatever it asks for itself");

        let bare = without(&testing::pod(), "/metadata/ownerReferences");
        let declared = testing::World::new().declare(&seconds(&bare, GRACE, 0));
        assert_eq!([1, 900].map(|asked| given(&declared, &bare, asked)), [None, Some(1)], "never at once");

        let at = "2026-11-21T11:00:00Z".parse().unwrap();
        let closed = testing::World::new().meta(|meta| _ = meta.closed_since.insert("all".into(), at));
        let evil = with(&seconds(&bare, GRACE, 900), "/metadata/creationTimestamp", json!("2026-11-21T12:00:00Z"));
        assert_eq!(given(&closed, &evil, 900), Some(30));
        assert_eq!(given(&closed, &seconds(&evil, GRACE, 5), 20), Some(5));
        let before = with(&evil, "/metadata/creationTimestamp", json!("2026-11-21T10:00:00Z"));
        assert_eq!(given(&closed, &before, 900), None);
    }
}
