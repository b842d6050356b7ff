//! Status that others act on is written by who keeps it, and by whom an Enforcement says.
//!
//! All other status is anybody's: nothing is decided by it, and much of it has to be written while no webhook is there.

use super::{Judgement, Rule, deny};
use crate::admission::builtin::status_keepers;
use crate::admission::classify::ObjectClass;
use crate::admission::context::Context;
use crate::admission::definition::{is_correction, is_definition, is_misstated};
use crate::admission::denial;
use crate::admission::own::is_own;
use crate::admission::verdict::Class;
use crate::compare::{Finding, FreeField, Latitude, Segment, judge as compare};
use crate::document::Node;

pub const RULE: Rule = Rule { name: "status", judge };

fn judge(context: &Context<'_>) -> Judgement {
    if context.request.subresource != Some("status") || !is_kept(context) {
        return Ok(None);
    }
    let (Some(keepers), Some((old, new))) = (status_keepers(context.id.group, context.id.kind), context.states())
    else {
        return Ok(None);
    };
    let of_definition = is_definition(context.id).then(|| word_of_definition(context, old, new));
    if let Some(judgement) = of_definition.flatten() {
        return judgement;
    }
    if keepers.iter().any(|keeper| keeper.is(&context.request.user)) {
        return Ok(None);
    }
    // Where undeclared objects may come to be, they may say of themselves what they like.
    let is_free = |class| matches!(class, ObjectClass::Undeclared | ObjectClass::Remnant | ObjectClass::OutOfScope);
    if !context.is_closed() && is_free(context.classify(old)?) {
        return Ok(None);
    }
    let findings = foreign_changes(context, old, new);
    if findings.is_empty() { Ok(None) } else { deny(class(context), denial::status(context, &findings)) }
}

/// Two things that a definition says can be known, whoever says them. To put them right is for anybody.
fn word_of_definition(context: &Context<'_>, old: Node<'_>, new: Node<'_>) -> Option<Judgement> {
    if is_misstated(new) && !is_misstated(old) {
        let reason = "is not being deleted, and its names are accepted: it is served, whoever says otherwise.";
        return Some(deny(class(context), denial::other(context, reason)));
    }
    is_correction(old, new).then_some(Ok(None))
}

fn class(context: &Context<'_>) -> Class {
    if is_own(context.id) { Class::Own } else { Class::Generated }
}

/// Whether anybody answers for the object: gitadel's own are kept wherever they are.
fn is_kept(context: &Context<'_>) -> bool {
    context.source.is_some() || (is_own(context.id) && !context.snapshot.meta().sources.is_empty())
}

/// What is written to the status beyond the fields that are delegated to who asks.
fn foreign_changes(context: &Context<'_>, old: Node<'_>, new: Node<'_>) -> Vec<Finding> {
    let free: Vec<FreeField> = context.delegations().flat_map(|delegation| delegation.fields.iter().cloned()).collect();
    let latitude = Latitude {
        free: &free,
        allotted: &[],
        undeclared_fields: false,
        status_subresource: false,
        ..context.latitude()
    };
    let of_status =
        |finding: &Finding| matches!(finding.path.0.first(), Some(Segment::Field(name)) if name == "status");
    compare(old, new, old, &latitude).into_iter().filter(of_status).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::RULE;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, controller, delegation, terminating, with};
    use crate::api::Undeclared;

    fn object(api_version: &str, kind: &str) -> Value {
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "shop"}, "spec": {}})
    }

    fn saying(object: &Value, status: Value) -> Review {
        Review::update(object, &with(object, "/status", status)).through("status")
    }

    #[test]
    fn what_others_act_on_is_written_by_who_keeps_it() {
        let (cron, job) = (object("batch/v1", "CronJob"), object("batch/v1", "Job"));
        let ran = || saying(&cron, json!({"lastScheduleTime": "2036-01-01T00:00:00Z"}));
        let failed = || saying(&job, json!({"conditions": [{"type": "FailureTarget", "status": "True"}]}));
        let labelled = with(&with(&cron, "/status", json!({"active": []})), "/metadata/labels", json!({"a": "b"}));
        World::new().declare(&cron).declare(&job).expect(&[
            ("a CronJob that ran", ran(), Deny, RULE.name),
            ("said by its controller", ran().by(&controller("cronjob-controller")), Allow, "machinery"),
            ("said by another", ran().by(&controller("job-controller")), Deny, RULE.name),
            ("said without accounts of their own", ran().by("system:kube-controller-manager"), Allow, "machinery"),
            ("a Job that is to fail", failed(), Deny, RULE.name),
            ("nothing new", Review::update(&cron, &cron).through("status"), Allow, "machinery"),
            (
                "a label, by who keeps the status",
                Review::update(&cron, &labelled).through("status").by(&controller("cronjob-controller")),
                Deny,
                "declared",
            ),
            ("of a Pod", saying(&object("v1", "Pod"), json!({"phase": "Running"})), Allow, "machinery"),
        ]);
    }

    #[test]
    fn an_enforcement_says_who_else_keeps_it() {
        let service = object("v1", "Service");
        let led = || saying(&service, json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}})).by("balancer");
        let healthy = || saying(&service, json!({"conditions": []})).by("balancer");
        let world = || World::new().declare(&service);
        world().expect(&[("not delegated", led(), Deny, RULE.name)]);
        let delegated = delegation("balancer", ("", "Service"), "status.loadBalancer", None);
        world()
            .source(|source| source.delegations = vec![delegated])
            .expect(&[("delegated", led(), Allow, "machinery"), ("another field", healthy(), Deny, RULE.name)]);
    }

    #[test]
    fn where_objects_are_free_so_is_their_status() {
        let job = object("batch/v1", "Job");
        let elsewhere = with(&job, "/metadata/namespace", json!("kube-system"));
        let failed = |job: &Value| saying(job, json!({"conditions": []}));
        World::new().expect(&[
            ("undeclared", failed(&job), Deny, RULE.name),
            ("out of scope", failed(&elsewhere), Allow, "scope"),
        ]);
        let open = World::new().source(|source| source.undeclared_objects = Undeclared::Allow);
        open.expect(&[("undeclared, and allowed", failed(&job), Allow, "machinery")]);
    }

    #[test]
    fn a_definition_says_that_it_ends_when_it_is_deleted() {
        let definition = |name: &str| {
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": name}, "spec": {}, "status": {"conditions": [{"type": "Established", "status": "True"}]}})
        };
        let ends = |definition: &Value| {
            let said = ["Established", "Terminating"].map(|kind| json!({"type": kind, "status": "True"}));
            with(definition, "/status/conditions", json!(said))
        };
        let (own, other) = (definition("enforcements.gitadel.dev"), definition("widgets.example.com"));
        let through = |old: &Value, new: &Value| Review::update(old, new).through("status");
        for (object, then) in [(&own, "own"), (&other, "machinery")] {
            let doomed = ends(object);
            let silent = with(object, "/status", json!({}));
            let deleted = terminating(&with(object, "/metadata/finalizers", json!(["x.y/z"])));
            World::new().declare(&other).expect(&[
                ("that it ends", through(object, &doomed), Deny, RULE.name),
                ("said by the API server", through(object, &doomed).by("system:apiserver"), Deny, RULE.name),
                (
                    "of one that is deleted",
                    through(&deleted, &ends(&deleted)).by("system:apiserver"),
                    Allow,
                    "machinery",
                ),
                ("by a person", through(&deleted, &ends(&deleted)), Deny, RULE.name),
                ("taken back", through(&doomed, object), Allow, then),
                ("and more", through(&doomed, &silent), Deny, RULE.name),
            ]);
        }
    }
}
