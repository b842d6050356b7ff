//! What Git or the baseline declares is deleted only where it has to go: to be made anew as it should be, or since its
//! time is over.

use jiff::{SignedDuration, Timestamp};

use super::{is_version_of, kept_by_delegates};
use crate::admission::builtin;
use crate::admission::context::Context;
use crate::admission::denial;
use crate::admission::immutable::is_beyond_repair;
use crate::admission::rules::{Judgement, admit, deny};
use crate::admission::verdict::Class;
use crate::compare::{Latitude, difference};
use crate::document::Node;
use crate::snapshot::{Entry, EntryClass};

pub(super) fn judge(context: &Context<'_>, entry: Entry<'_>, old: Option<Node<'_>>) -> Judgement {
    let findings = match (entry.canonical(), old) {
        (Some(canonical), Some(live)) if is_version_of(entry, live) => {
            // What delegates keep is no reason to delete it, whoever asks.
            let free = kept_by_delegates(context, canonical);
            difference(live, canonical, &Latitude { free: &free, ..context.latitude() })
        }
        _ => Vec::new(),
    };
    // Where it has to go before it can be known what it becomes, there is nothing to compare with.
    let recreated = || entry.recreate() && (entry.canonical().is_none() || !findings.is_empty());
    // It came past admission: what cannot change was never admitted otherwise.
    let is_misplaced = || {
        let is_doubted = context.snapshot.meta().doubted.contains(&context.id.to_owned());
        !is_doubted && old.is_some_and(|live| is_beyond_repair(context.id, live, &findings))
    };
    let both = entry.canonical().zip(old);
    let expired = || both.is_some_and(|(canonical, live)| is_expired_job(context, canonical, live));
    // It makes such an object anew itself, if it wants it.
    let dropped = || {
        let drops = |object| builtin::drops_flow_control(&context.request.user, context.id, object);
        both.is_some_and(|(canonical, live)| drops(canonical) && drops(live))
    };
    // gitadel makes a Pod anew that Git declares, as a controller does; where it ran it could not stay.
    let cleared = || (context.id.group, context.id.kind) == ("", "Pod") && builtin::clears_nodes(&context.request.user);
    let goes = [entry.class() == EntryClass::Retained, recreated(), is_misplaced(), expired(), dropped(), cleared()];
    if goes.contains(&true) {
        return admit(Class::Governed);
    }
    deny(Class::Governed, denial::deletion(context, entry))
}

/// Whether a Job has ended so long ago that Git wants it gone.
fn is_expired_job(context: &Context<'_>, canonical: Node<'_>, live: Node<'_>) -> bool {
    if (context.id.group, context.id.kind) != ("batch", "Job") {
        return false;
    }
    let Some(lifetime) = canonical.at(&["spec", "ttlSecondsAfterFinished"]).and_then(Node::as_i64) else {
        return false;
    };
    let conditions = live.at(&["status", "conditions"]).and_then(Node::list);
    conditions.into_iter().flat_map(|conditions| conditions.iter()).any(|condition| {
        let text = |key| condition.get(key).and_then(Node::as_str).unwrap_or_default();
        matches!(text("type"), "Complete" | "Failed")
            && text("status") == "True"
            && text("lastTransitionTime")
                .parse::<Timestamp>()
                .is_ok_and(|end| context.now.duration_since(end) >= SignedDuration::from_secs(lifetime))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::RULE;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, config_map, controller, deployment, pod, with, without};
    use crate::snapshot::{EntryClass, EntryDraft};

    fn drifted() -> Value {
        with(&deployment(), "/spec/replicas", json!(5))
    }

    #[test]
    fn git_may_ask_for_recreation_of_what_differs() {
        World::new().entry(&deployment(), |draft| draft.recreate = true).expect(&[
            ("one that differs", Review::delete(&drifted()), Allow, RULE.name),
            ("one that does not", Review::delete(&deployment()), Deny, RULE.name),
            (
                "but for what controllers write",
                Review::delete(&with(
                    &deployment(),
                    "/metadata/annotations",
                    json!({"deployment.kubernetes.io/revision": "7"}),
                )),
                Deny,
                RULE.name,
            ),
        ]);
        let unknown = |draft: &mut EntryDraft| {
            draft.recreate = true;
            draft.canonical = None;
        };
        World::new().entry(&deployment(), unknown).expect(&[
            ("one that must go first", Review::delete(&deployment()), Allow, RULE.name),
            ("and is not changed till then", Review::update(&deployment(), &drifted()), Deny, RULE.name),
        ]);
    }

    #[test]
    fn what_cannot_be_mended_may_go() {
        let git = config_map("settings");
        let sealed = with(&git, "/immutable", json!(true));
        let painted = with(&git, "/data/a", json!("2"));
        for class in [EntryClass::Declared, EntryClass::Baseline] {
            World::new().entry(&git, |draft| draft.class = class).expect(&[
                ("sealed past admission", Review::delete(&sealed), Allow, RULE.name),
                ("otherwise altered", Review::delete(&painted), Deny, RULE.name),
                ("as it is", Review::delete(&git), Deny, RULE.name),
            ]);
        }
        let doubted = World::new().entry(&git, |draft| draft.class = EntryClass::Baseline).meta(|meta| {
            let id = crate::object::ObjectId::new("", "ConfigMap", "shop", "settings");
            meta.doubted.insert(id);
        });
        doubted.expect(&[("where nobody knows what it was", Review::delete(&sealed), Deny, RULE.name)]);
        World::new().declare(&sealed).expect(&[("sealed by Git", Review::delete(&sealed), Deny, RULE.name)]);
    }

    #[test]
    fn a_pod_goes_where_it_cannot_stay() {
        let bare = without(&pod(), "/metadata/ownerReferences");
        let deleted = |name: &str| Review::delete(&bare).by(&controller(name));
        for class in [EntryClass::Declared, EntryClass::Baseline] {
            World::new().entry(&bare, |draft| draft.class = class).expect(&[
                ("its node fails", deleted("node-controller"), Allow, RULE.name),
                ("it is over", deleted("pod-garbage-collector"), Allow, RULE.name),
                ("preempted", Review::delete(&bare).by("system:kube-scheduler"), Allow, RULE.name),
                ("by the collector of what has no owner", deleted("generic-garbage-collector"), Deny, RULE.name),
                ("by a person", Review::delete(&bare), Deny, RULE.name),
            ]);
        }
        let settings = config_map("settings");
        let cleared = Review::delete(&settings).by(&controller("node-controller"));
        World::new().declare(&settings).expect(&[("anything but a Pod", cleared, Deny, RULE.name)]);
    }

    #[test]
    fn a_job_goes_when_its_time_is_over() {
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once", "namespace": "shop"},
            "spec": {"ttlSecondsAfterFinished": 60}});
        let ended = |at: &str| {
            with(
                &job,
                "/status",
                json!({"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": at}]}),
            )
        };
        World::new().declare(&job).expect(&[
            ("an hour after", Review::delete(&ended("2026-11-21T11:00:00Z")), Allow, RULE.name),
            ("a second after", Review::delete(&ended("2026-11-21T11:59:59Z")), Deny, RULE.name),
            ("while it runs", Review::delete(&job), Deny, RULE.name),
        ]);
        World::new().declare(&without(&job, "/spec/ttlSecondsAfterFinished")).expect(&[(
            "for ever",
            Review::delete(&ended("2026-11-21T11:00:00Z")),
            Deny,
            RULE.name,
        )]);
    }

    #[test]
    fn flow_control_that_the_api_server_does_not_have_any_more() {
        let schema = |name: &str, looked_after: &str| {
            json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": name,
                "annotations": {"apf.kubernetes.io/autoupdate-spec": looked_after}}})
        };
        let deleted = |object: &Value| Review::delete(object).by("system:apiserver");
        let (dropped, kept, own) = (schema("old", "true"), schema("probes", "true"), schema("mine", "false"));
        let world = [&dropped, &kept, &own]
            .into_iter()
            .fold(World::new(), |world, object| world.entry(object, |draft| draft.class = EntryClass::Baseline));
        world.expect(&[
            ("one of an older version", deleted(&dropped), Allow, RULE.name),
            ("by a person", Review::delete(&dropped), Deny, RULE.name),
            ("one that it has", deleted(&kept), Deny, RULE.name),
            ("one that it does not look after", deleted(&own), Deny, RULE.name),
            ("one that was made to look like it", deleted(&schema("mine", "true")), Deny, RULE.name),
        ]);
    }
}
