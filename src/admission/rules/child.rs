//! Objects whose chain of controllers ends in a governed object: made and removed by their controller, and held to what
//! their owner's template yields whoever writes them.
//!
//! They come and go with their owner. A Pod may be deleted by anybody where the Enforcement allows it: its controller makes
//! it anew. One that is not what the template yields may be mended or deleted by everybody.

use super::{Judgement, Rule, admit, deny, kept};
use crate::admission::children::{Descent, Stray};
use crate::admission::classify::ObjectClass;
use crate::admission::context::Context;
use crate::admission::denial::{self, Keeper};
use crate::admission::endpoints;
use crate::admission::request::Operation;
use crate::admission::verdict::Class;
use crate::compare::{Finding, Latitude, judge as compare};
use crate::document::{Document, Node};
use crate::object::ObjectId;

pub const RULE: Rule = Rule { name: "child", judge };

fn judge(context: &Context<'_>) -> Judgement {
    let request = context.request;
    if !context.shows_whole_object() {
        return Ok(None);
    }
    let owner_in = |object: Option<Node<'_>>| match object.map(|object| context.classify(object)).transpose()? {
        Some(ObjectClass::Child { owner }) => Ok(Some(owner)),
        _ => Ok(None),
    };
    // Adoption and release: one of both states is a child's.
    let owner = match owner_in(request.old)? {
        None => owner_in(request.object)?,
        owner => owner,
    };
    owner.map_or(Ok(None), |owner| by_owner(context, &owner))
}

fn by_owner(context: &Context<'_>, owner: &ObjectId) -> Judgement {
    let descent = Descent::of(context.snapshot, context.id, owner)?;
    match context.request.operation {
        Operation::Create => create(context, owner, descent.as_ref()),
        Operation::Update => update(context, owner, descent.as_ref()),
        Operation::Delete => delete(context, owner, descent.as_ref()),
        Operation::Connect => refuse(context, owner),
    }
}

fn refuse(context: &Context<'_>, owner: &ObjectId) -> Judgement {
    deny(Class::Child, denial::kept_by_controller(context, &Keeper::Owner(owner), &[]))
}

fn create(context: &Context<'_>, owner: &ObjectId, descent: Option<&Descent<'_>>) -> Judgement {
    let Some(new) = context.request.object else { return Ok(None) };
    if kept::is_delegate(context) {
        return admit(Class::Child);
    }
    let is_made_here = !is_of_another_node(context, owner);
    if !is_made_here || !kept::writers_of_child(context).any(|writer| writer.creates) {
        return refuse(context, owner);
    }
    let free = context.delegated(new);
    let latitude = Latitude { free: &free, ..context.latitude() };
    let mut findings = descent.and_then(|descent| descent.judge_creation(new, &latitude)).unwrap_or_default();
    findings.extend(descent.and_then(|descent| descent.excess(None, new)));
    if findings.is_empty() {
        return admit(Class::Child);
    }
    deny(Class::Child, denial::not_of_template(context, owner, &findings))
}

fn update(context: &Context<'_>, owner: &ObjectId, descent: Option<&Descent<'_>>) -> Judgement {
    let Some((old, new)) = context.states() else { return Ok(None) };
    let foreign = kept::foreign_changes(context, old, new, kept::writers_of_child(context))?;
    if !foreign.is_empty() && !is_redirected(context, old, new) && !kept::is_freed(context, old, new)? {
        // Whoever writes, the child may become what its owner's template yields.
        match descent.and_then(|descent| away(context, descent, old, new)) {
            None => return deny(Class::Child, denial::kept_by_controller(context, &Keeper::Owner(owner), &foreign)),
            Some(away) if away.is_empty() => {}
            Some(away) => return deny(Class::Child, denial::not_of_template(context, owner, &away)),
        }
    }
    // Who keeps a child may let it go, but makes nothing else of it that nobody would look at again.
    if !matches!(context.classify(new)?, ObjectClass::Child { .. }) {
        let more = context.changes(old, new, kept::release());
        if !more.is_empty() {
            return deny(Class::Child, denial::kept_by_controller(context, &Keeper::Owner(owner), &more));
        }
    }
    match descent.and_then(|descent| descent.excess(Some(old), new)) {
        Some(excess) => deny(Class::Child, denial::not_of_template(context, owner, &[excess])),
        None => admit(Class::Child),
    }
}

/// Whether a slice is kept from leading to what is no Pod of its Service, and nothing else.
fn is_redirected(context: &Context<'_>, old: Node<'_>, new: Node<'_>) -> bool {
    endpoints::redirected(context.snapshot, context.id, old).is_some_and(|redirected| {
        compare(old, new, Document::from_value(&redirected).root(), &context.latitude()).is_empty()
    })
}

/// What of a change does not lead to what the template yields.
fn away(context: &Context<'_>, descent: &Descent<'_>, old: Node<'_>, new: Node<'_>) -> Option<Vec<Finding>> {
    let free = kept::free_fields(context, old, kept::writers_of_child(context));
    descent.judge_change(old, new, &Latitude { free: &free, ..context.latitude() })
}

fn delete(context: &Context<'_>, owner: &ObjectId, descent: Option<&Descent<'_>>) -> Judgement {
    let is_foreign = || {
        let stray = descent.zip(context.request.old).and_then(|(descent, old)| descent.strays(old));
        matches!(stray, Some(Stray::Foreign { .. }))
    };
    let may_go = deletes_pod(context)
        || kept::deletes(context, kept::writers_of_child(context))?
        || kept::is_delegate(context)
        || is_foreign();
    if may_go { admit(Class::Child) } else { refuse(context, owner) }
}

/// A kubelet shows what runs on its own node.
fn is_of_another_node(context: &Context<'_>, owner: &ObjectId) -> bool {
    let node = context.request.user.name.strip_prefix("system:node:");
    (owner.kind.group.as_str(), owner.kind.kind.as_str()) == ("", "Node") && node != Some(owner.name.as_str())
}

fn deletes_pod(context: &Context<'_>) -> bool {
    (context.id.group, context.id.kind) == ("", "Pod") && context.forbidding(|operations| operations.delete).is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::RULE;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{
        Review, World, config_map, controller, delegation, deployment, owned, pod, replica_set, with, without,
    };
    use crate::api::Permission;

    #[test]
    fn children_are_made_by_their_controller() {
        let create = |object: &Value, name: &str| Review::create(object).by(&controller(name));
        let foreign = owned(&pod(), ("apps/v1", "ReplicaSet", "other-5d4f8c"));
        World::new().declare(&deployment()).expect(&[
            ("a ReplicaSet", create(&replica_set(), "deployment-controller"), Allow, RULE.name),
            ("a Pod", create(&pod(), "replicaset-controller"), Allow, RULE.name),
            (
                "without accounts of their own",
                Review::create(&pod()).by("system:kube-controller-manager"),
                Allow,
                RULE.name,
            ),
            ("a Pod by a person", Review::create(&pod()), Deny, RULE.name),
            ("a Pod by another controller", create(&pod(), "job-controller"), Deny, RULE.name),
            ("a Pod of nobody", create(&foreign, "replicaset-controller"), Deny, "undeclared"),
        ]);
    }

    #[test]
    fn the_last_finalizer_of_a_pod_is_its_controllers_to_remove() {
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once", "namespace": "shop"}});
        let done = owned(&pod(), ("batch/v1", "Job", "once"));
        let tracked = with(&done, "/metadata/finalizers", json!(["batch.kubernetes.io/job-tracking"]));
        let held = with(&done, "/metadata/finalizers", json!(["example.com/hold"]));
        let by = |review: Review| review.by(&controller("job-controller"));
        World::new().declare(&job).expect(&[
            ("its own", by(Review::update(&tracked, &done)), Allow, RULE.name),
            ("another's", by(Review::update(&held, &done)), Deny, RULE.name),
            ("by a person", Review::update(&tracked, &done), Deny, RULE.name),
        ]);
    }

    #[test]
    fn who_makes_objects_without_a_controller_makes_no_children() {
        let settings = owned(&config_map("settings"), ("example.com/v1", "Database", "orders"));
        let database = json!({"apiVersion": "example.com/v1", "kind": "Database", "metadata": {"name": "orders", "namespace": "shop"}});
        let delegated = delegation("operator", ("", "ConfigMap"), "data", None);
        let world = World::new().declare(&database).source(|source| source.delegations = vec![delegated]);
        let changed = with(&settings, "/data/a", json!("2"));
        let publisher = controller("root-ca-cert-publisher");
        world.expect(&[
            ("by the operator", Review::create(&settings).by("operator"), Allow, RULE.name),
            ("by a publisher of certificates", Review::create(&settings).by(&publisher), Deny, RULE.name),
            ("by the API server", Review::update(&settings, &changed).by("system:apiserver"), Deny, RULE.name),
        ]);
    }

    #[test]
    fn an_operator_need_not_say_that_the_owner_is_the_controller() {
        let secret = |owner: (&str, &str, &str)| {
            let bare = json!({"apiVersion": "v1", "kind": "Secret", "data": {"key": "YQ=="},
                "metadata": {"name": "members", "namespace": "shop"}});
            without(&owned(&bare, owner), "/metadata/ownerReferences/0/controller")
        };
        let known = secret(("apps/v1", "Deployment", "web"));
        let denied = with(&known, "/metadata/ownerReferences/0/controller", json!(false));
        let mut two = secret(("v1", "ConfigMap", "unknown"));
        let second = known["metadata"]["ownerReferences"][0].clone();
        two["metadata"]["ownerReferences"].as_array_mut().unwrap().push(second);
        let node = secret(("v1", "Node", "n1"));
        let recreated = with(&known, "/metadata/ownerReferences/0/uid", json!("d-0"));
        let by = |review: Review| review.by("operator");
        let delegated = |field| delegation("operator", ("", "Secret"), field, None);
        let world = |field| {
            let world = World::new().entry(&deployment(), |draft| draft.uid = Some("d-1".into()));
            world.source(|source| source.delegations = vec![delegated(field)])
        };
        world("data").expect(&[
            ("an owner", by(Review::create(&known)), Allow, RULE.name),
            ("an owner that is no controller", by(Review::create(&denied)), Allow, RULE.name),
            ("one of two", by(Review::create(&two)), Allow, RULE.name),
            ("a Pod, by its name", by(Review::create(&secret(("v1", "Pod", "web-5d4f8c-x7k2p")))), Allow, RULE.name),
            ("removed", by(Review::delete(&known)), Allow, RULE.name),
            ("collected", Review::delete(&known).by(&controller("generic-garbage-collector")), Allow, RULE.name),
            ("changed", by(Review::update(&known, &with(&known, "/data/key", json!("Yg==")))), Allow, RULE.name),
            ("set free", by(Review::update(&known, &without(&known, "/metadata/ownerReferences"))), Deny, RULE.name),
            ("by another", Review::create(&known), Deny, RULE.name),
            ("removed by another", Review::delete(&known), Deny, RULE.name),
            ("of nobody", by(Review::create(&secret(("apps/v1", "Deployment", "other")))), Deny, "undeclared"),
            ("of a node", by(Review::create(&node)), Deny, "undeclared"),
            ("of one that was there before", by(Review::create(&recreated)), Deny, "undeclared"),
            (
                "a controller that is unknown counts before an owner",
                by(Review::create(&with(&two, "/metadata/ownerReferences/0/controller", json!(true)))),
                Deny,
                "undeclared",
            ),
        ]);
        world("data[other]").expect(&[("not left to anybody", by(Review::create(&known)), Deny, "undeclared")]);
        World::new().declare(&deployment()).expect(&[(
            "not delegated",
            by(Review::create(&known)),
            Deny,
            "undeclared",
        )]);
    }

    #[test]
    fn a_node_has_mirrors_and_no_other_pods() {
        let pod = owned(&without(&pod(), "/metadata/ownerReferences"), ("v1", "Node", "n1"));
        let pod = with(&pod, "/metadata/namespace", json!("kube-system"));
        let pod = with(&pod, "/spec/nodeName", json!("n1"));
        let mirror = with(&pod, "/metadata/annotations", json!({"kubernetes.io/config.mirror": "digest"}));
        let elsewhere = with(&mirror, "/metadata/namespace", json!("shop"));
        World::new().source(|source| source.scope.excluded_namespaces = Some(Vec::new())).expect(&[
            ("a mirror", Review::create(&mirror).by_node("n1"), Allow, RULE.name),
            ("a mirror by another node", Review::create(&mirror).by_node("n2"), Deny, RULE.name),
            ("a mirror by a person", Review::create(&mirror), Deny, RULE.name),
            ("a mirror among the Pods of others", Review::create(&elsewhere).by_node("n1"), Deny, "undeclared"),
            ("a Pod that would be started", Review::create(&pod).by_node("n1"), Deny, "undeclared"),
        ]);
    }

    #[test]
    fn an_owner_of_another_uid_is_another_owner() {
        World::new().entry(&deployment(), |draft| draft.uid = Some("d-2".into())).expect(&[(
            "a ReplicaSet",
            Review::create(&replica_set()).by(&controller("deployment-controller")),
            Deny,
            "undeclared",
        )]);
    }

    #[test]
    fn a_child_is_changed_where_its_controller_does() {
        let scaled = with(&replica_set(), "/spec/replicas", json!(0));
        let image = with(&pod(), "/spec/containers/0/image", json!("evil:1"));
        let orphan = without(&pod(), "/metadata/ownerReferences");
        let update = |old: &Value, new: &Value, name: &str| Review::update(old, new).by(&controller(name));
        World::new().declare(&deployment()).expect(&[
            ("scaled", update(&replica_set(), &scaled, "deployment-controller"), Allow, RULE.name),
            ("scaled by a person", Review::update(&replica_set(), &scaled), Deny, RULE.name),
            ("no change", Review::update(&pod(), &pod()), Allow, RULE.name),
            ("an image by the controller", update(&pod(), &image, "replicaset-controller"), Deny, RULE.name),
            ("released", update(&pod(), &orphan, "replicaset-controller"), Allow, RULE.name),
            ("adopted", update(&orphan, &pod(), "replicaset-controller"), Allow, RULE.name),
            ("released by a person", Review::update(&pod(), &orphan), Deny, RULE.name),
        ]);
    }

    #[test]
    fn a_pod_may_be_deleted_and_a_replica_set_may_not() {
        let world = World::new().declare(&deployment());
        world.expect(&[
            ("a Pod", Review::delete(&pod()), Allow, RULE.name),
            ("a ReplicaSet", Review::delete(&replica_set()), Deny, RULE.name),
            (
                "by its controller",
                Review::delete(&replica_set()).by(&controller("deployment-controller")),
                Allow,
                RULE.name,
            ),
            (
                "by the collector",
                Review::delete(&replica_set()).by(&controller("generic-garbage-collector")),
                Allow,
                RULE.name,
            ),
        ]);
        let world = world.source(|source| source.child_operations.delete = Permission::Deny);
        world.expect(&[
            ("a Pod", Review::delete(&pod()), Deny, RULE.name),
            ("by its kubelet", Review::delete(&pod()).by_node("n1"), Allow, RULE.name),
        ]);
    }

    #[test]
    fn once_the_owner_left_git_its_children_may_go() {
        World::new().expect(&[("a ReplicaSet", Review::delete(&replica_set()), Allow, "undeclared")]);
    }

    #[test]
    fn a_job_of_a_cron_job_and_its_pods() {
        let cron =
            json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "backup", "namespace": "shop"}});
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "backup-29384720", "namespace": "shop"}});
        let job = owned(&job, ("batch/v1", "CronJob", "backup"));
        let of_job = owned(&pod(), ("batch/v1", "Job", "backup-29384720"));
        let of_other = owned(&pod(), ("batch/v1", "Job", "backup-manual"));
        World::new().declare(&cron).expect(&[
            ("the Job", Review::create(&job).by(&controller("cronjob-controller")), Allow, RULE.name),
            ("its Pod", Review::create(&of_job).by(&controller("job-controller")), Allow, RULE.name),
            ("a Pod of no run", Review::create(&of_other).by(&controller("job-controller")), Deny, "undeclared"),
        ]);
    }

    #[test]
    fn children_of_an_operator_need_a_delegation() {
        let database = json!({"apiVersion": "example.com/v1", "kind": "Database", "metadata": {"name": "orders", "namespace": "shop"}});
        let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "orders-db", "namespace": "shop"},
            "spec": {"replicas": 1}});
        let set = owned(&set, ("example.com/v1", "Database", "orders"));
        let grown = with(&set, "/spec/replicas", json!(3));
        let world = World::new().declare(&database);
        world.expect(&[("undelegated", Review::create(&set).by("operator"), Deny, "undeclared")]);
        let delegated = |field: &str| {
            let fields = vec![delegation("operator", ("apps", "StatefulSet"), field, None)];
            World::new().declare(&database).source(|source| source.delegations = fields)
        };
        let labelled = with(&set, "/metadata/labels", json!({"a": "b"}));
        delegated("spec").expect(&[
            ("delegated", Review::create(&set).by("operator"), Allow, RULE.name),
            ("its field", Review::update(&set, &grown).by("operator"), Allow, RULE.name),
            ("another field", Review::update(&set, &labelled).by("operator"), Deny, RULE.name),
            ("deleted", Review::delete(&set).by("operator"), Allow, RULE.name),
            ("somebody else", Review::create(&set), Deny, RULE.name),
        ]);
        // Who may set a field of it makes nothing of that kind.
        delegated("spec.template").expect(&[
            ("a field alone", Review::create(&set).by("operator"), Deny, "undeclared"),
            ("changed", Review::update(&set, &grown).by("operator"), Deny, "undeclared"),
        ]);
    }
}
