//! What a live object is in the eyes of Git. Pure; shared by the watches, the workers and the status.

use serde_json::Value;

use crate::admission::children::{Descent, Stray};
use crate::admission::{ObjectClass, classify_object, computed, definition, endpoints, volumes};
use crate::compare::{Finding, carry, difference, identical, mask_secret};
use crate::document::{Document, Node};
use crate::object::ObjectId;
use crate::snapshot::{Entry, EntryClass, KindInfo, SnapshotError};

use super::finalizers;
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
    /// Being deleted, and held by finalizers that got in past admission.
    Held(Vec<String>),
    /// The same, of what nobody declares and came into a closed world, unless it is known to have been declared: then its
    /// finalizers are those of whoever tidies up after it.
    Lingering(Vec<String>),
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
            return going(world, kind, id, &class, live);
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
        let gone_for_good = entry.class() == EntryClass::Retained;
        return Ok(if gone_for_good { Assessment::Free } else { leaving(world, kind, &entry, live) });
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

/// Something that is declared, or of the baseline, is being deleted. It is made anew when it is gone, and until then what
/// somebody made of it counts: a RoleBinding that is being deleted still binds. So the finalizers go that a repair would take
/// away; those that Git declares or delegates are left to whoever keeps them.
fn leaving(world: &World, kind: &KindInfo, entry: &Entry<'_>, live: Node<'_>) -> Assessment {
    let Some(canonical) = entry.canonical().filter(|_| !world.doubts(entry)) else { return Assessment::Terminating };
    let repaired = carry(canonical, live, &world.tolerance(entry).latitude(kind));
    let mut foreign = finalizers::foreign(kind, &live.to_value());
    foreign.retain(|name| !finalizers::of(&repaired).any(|kept| kept == name));
    if foreign.is_empty() { Assessment::Terminating } else { Assessment::Held(foreign) }
}

/// Something that Git does not declare is being deleted. Nobody may ever take its finalizers away, and a RoleBinding that is
/// being deleted still binds. Those of a child can only have come past admission; others may be an operator's, who has to tidy
/// up after an object that left Git.
fn going(
    world: &World,
    kind: &KindInfo,
    id: &ObjectId,
    class: &ObjectClass,
    live: Node<'_>,
) -> Result<Assessment, SnapshotError> {
    if !world.removes(id.as_ref()) {
        return Ok(Assessment::Free);
    }
    let held = match class {
        ObjectClass::Child { owner } => {
            let descent = Descent::of(&world.snapshot, id.as_ref(), owner)?;
            descent.map(|descent| descent.foreign_finalizers(live)).unwrap_or_default()
        }
        class if class.is_removable() => {
            let foreign = finalizers::foreign(kind, &live.to_value());
            if foreign.is_empty() {
                return Ok(Assessment::Free);
            }
            let is_an_operators = world.leaves_finalizers(id.as_ref(), live);
            let lingers = !is_an_operators && world.came_after_closing(id.as_ref(), live);
            return Ok(if lingers { Assessment::Lingering(foreign) } else { Assessment::Terminating });
        }
        _ => Vec::new(),
    };
    Ok(if held.is_empty() { Assessment::Free } else { Assessment::Held(held) })
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
            Assessment::Held(finalizers) => (finalizers, false),
            Assessment::Lingering(finalizers) => (finalizers, true),
            Assessment::Terminating => (Vec::new(), false),
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
        let hold = || (vec![FOREIGN.to_owned()], false);
        let stays = || (Vec::new(), false);
        let delegated = delegation("operator", ("", "ConfigMap"), &format!("metadata.finalizers[={FOREIGN}]"), None);
        let world = || testing::World::new().declare(&git);
        assert_eq!(taken(&world(), &held), hold());
        assert_eq!(taken(&testing::World::new().entry(&git, |d| d.class = EntryClass::Baseline), &held), hold());
        assert_eq!(taken(&world(), &going(&["example.com/git"])), stays());
        assert_eq!(taken(&world().source(|s| s.delegations = vec![delegated]), &held), stays());
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
}
