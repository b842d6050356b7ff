//! Objects that follow from a governed one, or from the cluster itself, without naming it as their controller.
//!
//! Who keeps them is in the built-in table, or delegated: a volume's provisioner and a device's driver are no part of
//! Kubernetes. Where it can be computed what the object has to be, anybody may make it that, and nobody another thing.

use std::mem::discriminant;

use super::{Judgement, Rule, admit, deny, kept};
use crate::admission::classify::ObjectClass;
use crate::admission::context::Context;
use crate::admission::denial::{self, Keeper};
use crate::admission::generated::ClaimOfSet;
use crate::admission::request::Operation;
use crate::admission::verdict::Class;
use crate::admission::{children, computed, generated, volumes};
use crate::compare::{Finding, Latitude, judge as compare, judge_create};
use crate::document::{Document, Node};
use crate::object::ObjectId;
use crate::snapshot::SnapshotError;

pub const RULE: Rule = Rule { name: "generated", judge };

fn judge(context: &Context<'_>) -> Judgement {
    let request = context.request;
    let Some(shown) = context.shown().filter(|_| context.shows_whole_object()) else { return Ok(None) };
    let found = context.classify(request.old.unwrap_or(shown))?;
    let (keeper, class) = match &found {
        ObjectClass::Generated { by } | ObjectClass::Altered { by } => {
            if let Some(judgement) = as_computed(context, by, shown) {
                return judgement;
            }
            (Keeper::Origin(by), Class::Generated)
        }
        // In an open world they are like all that is not declared; and before the baseline is recorded it is not known
        // what was there from the start.
        ObjectClass::Bootstrap if context.is_closed() => (Keeper::Component("the API server"), Class::Generated),
        ObjectClass::Machinery if context.is_closed() => (Keeper::Component("the cluster itself"), Class::Machinery),
        _ => return Ok(None),
    };
    let mut findings = Vec::new();
    let admitted = match request.operation {
        Operation::Create => {
            let is_delegate = kept::is_delegate(context);
            if !is_delegate {
                findings = claim_findings(context, shown)?;
            }
            let is_volume = (context.id.group, context.id.kind) == ("", "PersistentVolume");
            let is_known = !is_volume || generated::is_provisioned_in_tree(shown);
            is_delegate || (is_known && findings.is_empty() && kept::writers(context).any(|writer| writer.creates))
        }
        Operation::Update => {
            let Some((old, new)) = context.states() else { return Ok(None) };
            findings = if volumes::may_be_removed(context.snapshot, context.id, old)? {
                // It goes, so nothing is bound to it.
                context.changes(old, new, &[])
            } else {
                kept::foreign_changes(context, old, new, kept::writers(context))?
            };
            if !findings.is_empty() && kept::is_freed(context, old, new)? {
                return admit(class);
            }
            // Who keeps an object makes nothing else of it: an API service of a CRD stays one.
            if findings.is_empty() && discriminant(&context.classify(new)?) != discriminant(&found) {
                findings = context.changes(old, new, &[]);
            }
            findings.is_empty()
        }
        Operation::Delete => {
            class == Class::Machinery
                || kept::deletes(context, kept::writers(context))?
                || generated::is_outgrown(context.snapshot, context.id)?
                || volumes::may_be_removed(context.snapshot, context.id, shown)?
                || kept::is_delegate(context)
        }
        Operation::Connect => false,
    };
    if admitted { admit(class) } else { deny(class, denial::kept_by_controller(context, &keeper, &findings)) }
}

/// In what a claim of a StatefulSet's replica differs from its template.
fn claim_findings(context: &Context<'_>, shown: Node<'_>) -> Result<Vec<Finding>, SnapshotError> {
    let (snapshot, id) = (context.snapshot, context.id);
    let claim = generated::set_of_claim(snapshot, id)?;
    Ok(claim.map_or_else(Vec::new, |ClaimOfSet { set, template, .. }| {
        children::judge_claim_of_set(snapshot, &set, template, shown, &context.latitude())
    }))
}

/// Where the state can be computed, anybody may bring it about and nobody another one. What was altered may go: it is made
/// anew.
fn as_computed(context: &Context<'_>, by: &ObjectId, shown: Node<'_>) -> Option<Judgement> {
    let (request, snapshot, id) = (context.request, context.snapshot, context.id);
    // What is not known is what the one says who keeps it, and stays as it is for everybody else.
    let is_keeper = || kept::writers(context).any(|writer| writer.creates);
    let believed = match request.old {
        Some(old) if computed::is_believed(snapshot, id) && !is_keeper() => old,
        _ => shown,
    };
    let wanted = Document::from_value(&computed::computed(snapshot, id, believed)?);
    let free = context.delegated(wanted.root());
    let latitude = Latitude { free: &free, ..context.latitude() };
    let findings = match (request.operation, request.old) {
        (Operation::Create, _) if computed::is_believed(snapshot, id) && !is_keeper() => return None,
        (Operation::Create, _) => judge_create(shown, wanted.root(), &latitude),
        (Operation::Update, Some(old)) => compare(old, shown, wanted.root(), &latitude),
        (Operation::Delete, Some(old)) if computed::is_altered(snapshot, id, old) => Vec::new(),
        _ => return None,
    };
    Some(if findings.is_empty() {
        admit(Class::Generated)
    } else {
        deny(Class::Generated, denial::kept_by_controller(context, &Keeper::Origin(by), &findings))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::RULE;
    use crate::admission::ObjectClass;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, config_map, controller, delegation, owned, with, without};
    use crate::api::Undeclared;
    use crate::tls::issue::Authority;

    fn service() -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": {}})
    }

    #[test]
    fn endpoints_of_a_declared_service() {
        let endpoints =
            json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web", "namespace": "shop"}});
        let to = |kind: &str, namespace: &str| {
            let target = json!({"kind": kind, "namespace": namespace, "name": "web-x"});
            with(&endpoints, "/subsets", json!([{"addresses": [{"ip": "10.0.0.1", "targetRef": target}]}]))
        };
        let filled = to("Pod", "shop");
        let stray = with(&endpoints, "/subsets", json!([{"addresses": [{"ip": "6.6.6.6"}]}]));
        let other = with(&endpoints, "/metadata/name", json!("other"));
        let by = |review: Review| review.by(&controller("endpoint-controller"));
        let selecting = with(&service(), "/spec/selector", json!({"app": "web"}));
        World::new().declare(&selecting).expect(&[
            ("made", by(Review::create(&endpoints)), Allow, RULE.name),
            ("filled", by(Review::update(&endpoints, &filled)), Allow, RULE.name),
            ("filled by a person", Review::update(&endpoints, &filled), Deny, RULE.name),
            ("deleted by a person", Review::delete(&endpoints), Deny, RULE.name),
            ("of no Service", by(Review::create(&other)), Deny, "undeclared"),
            ("of no Pod", by(Review::update(&filled, &stray)), Deny, RULE.name),
            ("of another namespace's Pod", by(Review::update(&filled, &to("Pod", "bank"))), Deny, RULE.name),
            ("of a node", by(Review::create(&to("Node", "shop"))), Deny, "undeclared"),
            ("what is of no Pod may go", Review::delete(&stray), Allow, "undeclared"),
        ]);
        // No controller looks at those of a Service without a selector.
        let delegated = delegation("operator", ("", "Endpoints"), "subsets", None);
        World::new().declare(&service()).expect(&[("no selector", by(Review::create(&filled)), Deny, "undeclared")]);
        World::new().declare(&service()).source(|source| source.delegations = vec![delegated]).expect(&[(
            "left to an operator",
            Review::create(&stray).by("operator"),
            Allow,
            RULE.name,
        )]);
    }

    #[test]
    fn the_account_of_a_namespace_is_empty() {
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "shop"}});
        let filled = with(&account, "/imagePullSecrets", json!([{"name": "x"}]));
        let annotated =
            with(&account, "/metadata/annotations", json!({"eks.amazonaws.com/role-arn": "arn:evil", "a": "b"}));
        let partly = without(&annotated, "/metadata/annotations/a");
        let by = |review: Review| review.by(&controller("service-account-controller"));
        let cases = [
            ("an empty account", Review::create(&account), Allow, RULE.name),
            ("one that holds something", Review::create(&filled), Deny, RULE.name),
            ("by its controller", by(Review::create(&filled)), Deny, RULE.name),
            ("filled later", Review::update(&account, &filled), Deny, RULE.name),
            ("filled by its controller", by(Review::update(&account, &filled)), Deny, RULE.name),
            ("annotated", Review::update(&account, &annotated), Deny, RULE.name),
            ("deleted", Review::delete(&account), Deny, RULE.name),
            ("the way back", Review::update(&annotated, &account), Allow, RULE.name),
            ("half of the way back", Review::update(&annotated, &partly), Allow, RULE.name),
            ("another way", Review::update(&annotated, &filled), Deny, RULE.name),
            ("what was altered may go", Review::delete(&filled), Allow, RULE.name),
            ("another account", Review::create(&with(&account, "/metadata/name", json!("x"))), Deny, "undeclared"),
        ];
        World::new().expect(&cases);
    }

    #[test]
    fn the_root_ca_of_a_namespace_is_the_clusters() {
        let [own, foreign] = ["own", "foreign"].map(|name| Authority::new(name).unwrap().certificate().to_owned());
        let holding = |text: &str| with(&config_map("kube-root-ca.crt"), "/data", json!({"ca.crt": text}));
        let ca = holding(&own);
        let evil = holding(&foreign);
        let both = holding(&format!("{own}{foreign}"));
        let more = with(&ca, "/data/other", json!("x"));
        let annotated = |key: &str| with(&ca, "/metadata/annotations", json!({key: "x"}));
        let described = annotated("kubernetes.io/description");
        let by = |review: Review| review.by(&controller("root-ca-cert-publisher"));
        let known = World::new().meta(|meta| meta.root_authorities = own.clone());
        known.expect(&[
            ("by its publisher", by(Review::create(&described)), Allow, RULE.name),
            ("by a person", Review::create(&ca), Allow, RULE.name),
            ("another one", by(Review::create(&evil)), Deny, RULE.name),
            ("changed by its publisher", by(Review::update(&ca, &evil)), Deny, RULE.name),
            ("one more", by(Review::update(&ca, &both)), Deny, RULE.name),
            ("in another layout", Review::update(&ca, &holding(&format!("# ours\n{own}"))), Allow, RULE.name),
            ("with more in it", by(Review::update(&ca, &more)), Deny, RULE.name),
            ("annotated", Review::update(&ca, &annotated("x")), Deny, RULE.name),
            ("the way back", Review::update(&evil, &ca), Allow, RULE.name),
            ("what was altered may go", Review::delete(&evil), Allow, RULE.name),
            ("what was not", Review::delete(&ca), Deny, RULE.name),
        ]);
        World::new().expect(&[
            ("not known: by its publisher", by(Review::create(&ca)), Allow, RULE.name),
            ("by a person", Review::create(&ca), Deny, RULE.name),
            ("changed by its publisher", by(Review::update(&ca, &evil)), Allow, RULE.name),
            ("changed by a person", Review::update(&ca, &evil), Deny, RULE.name),
            ("with more in it", by(Review::create(&more)), Deny, RULE.name),
            ("more later", by(Review::update(&ca, &more)), Deny, RULE.name),
            ("and without it again", Review::update(&more, &ca), Allow, RULE.name),
        ]);
        assert!(matches!(known.class(&evil), ObjectClass::Altered { .. }));
        assert!(matches!(known.class(&described), ObjectClass::Generated { .. }));
        let rotating = delegation(&controller("root-ca-cert-publisher"), ("", "ConfigMap"), "data[ca.crt]", None);
        known.source(|source| source.delegations = vec![rotating]).expect(&[
            ("left to its publisher by Git", by(Review::update(&ca, &both)), Allow, RULE.name),
            ("and to nobody else", Review::update(&ca, &both), Deny, RULE.name),
        ]);
    }

    #[test]
    fn the_bundle_by_which_pods_know_the_api_server() {
        let [own, foreign] = ["own", "foreign"].map(|name| Authority::new(name).unwrap().certificate().to_owned());
        let named = |name: &str| {
            json!({"apiVersion": "certificates.k8s.io/v1beta1", "kind": "ClusterTrustBundle", "metadata": {"name": name},
                "spec": {"signerName": "kubernetes.io/kube-apiserver-serving", "trustBundle": own}})
        };
        let bundle = named("kubernetes.io:kube-apiserver-serving:1a2b3c");
        let evil = with(&bundle, "/spec/trustBundle", json!(foreign));
        let both = with(&bundle, "/spec/trustBundle", json!(format!("{own}{foreign}")));
        let labelled = with(&bundle, "/metadata/labels", json!({"a": "b"}));
        let of_others = with(&bundle, "/spec/signerName", json!("example.com/mine"));
        let by = |review: Review| review.by(&controller("kube-apiserver-serving-clustertrustbundle-publisher"));
        World::new().meta(|meta| meta.root_authorities = own.clone()).expect(&[
            ("by its publisher", by(Review::create(&bundle)), Allow, RULE.name),
            ("by a person", Review::create(&bundle), Deny, RULE.name),
            ("of another authority", by(Review::create(&evil)), Deny, "undeclared"),
            ("of one more", by(Review::create(&both)), Deny, "undeclared"),
            ("with a label", by(Review::create(&labelled)), Deny, "undeclared"),
            ("of another signer", by(Review::create(&of_others)), Deny, "undeclared"),
            ("by another name", by(Review::create(&named("mine"))), Deny, "undeclared"),
            ("changed by its publisher", by(Review::update(&bundle, &evil)), Deny, RULE.name),
            ("deleted by its publisher", by(Review::delete(&bundle)), Allow, RULE.name),
            ("deleted by a person", Review::delete(&bundle), Deny, RULE.name),
            ("altered: it goes, and is made anew", by(Review::update(&evil, &bundle)), Deny, "undeclared"),
            ("what was altered may go", Review::delete(&evil), Allow, "undeclared"),
        ]);
        World::new().expect(&[
            ("not known: by its publisher", by(Review::create(&evil)), Allow, RULE.name),
            ("by a person", Review::create(&evil), Deny, RULE.name),
        ]);
    }

    fn stateful_set() -> Value {
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "shop"},
            "spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}})
    }

    fn owned_claim() -> Value {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data-db-0", "namespace": "shop"}})
    }

    #[test]
    fn claims_of_a_stateful_set() {
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "my-db", "namespace": "shop"},
            "spec": {"selector": {"matchLabels": {"app": "db"}}, "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": spec}]}});
        let claim = |name: &str| {
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": spec,
                "metadata": {"name": name, "namespace": "shop", "labels": {"app": "db"}}})
        };
        let by = |review: Review| review.by(&controller("statefulset-controller"));
        let made = |name: &str| by(Review::create(&claim(name)));
        let kept = claim("data-my-db-0");
        let of = |owner: (&str, &str, &str)| owned(&kept, owner);
        let collected = |claim: &Value| Review::delete(claim).by(&controller("generic-garbage-collector"));
        World::new().declare(&set).expect(&[
            ("its claim", made("data-my-db-0"), Allow, RULE.name),
            ("of no template", made("logs-my-db-0"), Deny, "undeclared"),
            ("without a number", made("data-my-db-x"), Deny, "undeclared"),
            ("by a person", Review::create(&kept), Deny, RULE.name),
            (
                "of a chosen volume",
                by(Review::create(&with(&kept, "/spec/volumeName", json!("host")))),
                Deny,
                RULE.name,
            ),
            ("goes with its Pod", by(Review::update(&kept, &of(("v1", "Pod", "my-db-0")))), Allow, "child"),
            ("with another", by(Review::update(&kept, &of(("v1", "Pod", "my-db-1")))), Deny, "child"),
            ("with its set", by(Review::update(&kept, &of(("apps/v1", "StatefulSet", "my-db")))), Deny, RULE.name),
            ("without an owner", collected(&kept), Deny, RULE.name),
            ("with one", collected(&of(("v1", "Pod", "my-db-0"))), Allow, "child"),
        ]);
    }

    #[test]
    fn the_collector_takes_owners_away() {
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "shop"}});
        let by = |review: Review| review.by(&controller("generic-garbage-collector"));
        let kept = owned(&owned_claim(), ("apps/v1", "StatefulSet", "db"));
        World::new().declare(&stateful_set()).expect(&[
            ("an owner", by(Review::update(&kept, &without(&kept, "/metadata/ownerReferences"))), Allow, RULE.name),
            ("a dead one", by(Review::update(&owned_claim(), &kept)), Deny, RULE.name),
            ("what has none", by(Review::delete(&account)), Deny, RULE.name),
        ]);
    }

    #[test]
    fn in_an_open_world_the_cluster_itself_is_nobodys() {
        let node = |pool: &str| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"pool": pool}}});
        let labelled = || Review::update(&node("a"), &node("b"));
        World::new().expect(&[("closed", labelled(), Deny, RULE.name)]);
        let open = World::new().source(|source| source.undeclared_objects = Undeclared::Allow);
        open.expect(&[("open", labelled(), Allow, "undeclared")]);
    }

    #[test]
    fn claims_of_replicas_that_are_no_more_may_go() {
        let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "shop"},
            "spec": {"replicas": 2, "volumeClaimTemplates": [{"metadata": {"name": "data"}}]}});
        let deleted = |name: &str| {
            let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "namespace": "shop"}, "spec": {"volumeName": "pvc-1"}});
            Review::delete(&claim)
        };
        World::new().declare(&set).expect(&[
            ("in use", deleted("data-db-1"), Deny, RULE.name),
            ("left over", deleted("data-db-2"), Allow, RULE.name),
        ]);
        World::new().declare(&with(&set, "/spec/ordinals", json!({"start": 1}))).expect(&[
            ("before the first", deleted("data-db-0"), Allow, RULE.name),
            ("in use", deleted("data-db-2"), Deny, RULE.name),
        ]);
        let scaler = |bounds| delegation("scaler", ("apps", "StatefulSet"), "spec.replicas", bounds);
        let scaled = |bounds| World::new().declare(&set).source(|source| source.delegations = vec![scaler(bounds)]);
        scaled(Some((1, 5))).expect(&[
            ("may come to be in use", deleted("data-db-4"), Deny, RULE.name),
            ("beyond the bounds", deleted("data-db-5"), Allow, RULE.name),
        ]);
        scaled(None).expect(&[("without bounds", deleted("data-db-99"), Deny, RULE.name)]);
        let pending = World::new().entry(&set, |draft| draft.canonical = None);
        pending.expect(&[("of a set that is not known yet", deleted("data-db-99"), Deny, RULE.name)]);
    }

    #[test]
    fn volumes_and_devices_are_a_delegates() {
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "shop"}});
        let volume = |claim: &str| {
            json!({"apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": {"name": "pvc-1", "annotations": {"pv.kubernetes.io/provisioned-by": "csi.example.com"}},
                "spec": {"claimRef": {"namespace": "shop", "name": claim}}})
        };
        let slice =
            json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": "n1-gpu"}});
        let request = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "PodCertificateRequest",
            "metadata": {"name": "x", "namespace": "shop"}});
        let by = |review: Review, user: &str| review.by(user);
        let world = || World::new().declare(&claim);
        world().expect(&[
            ("a provisioner", by(Review::create(&volume("data")), "provisioner"), Deny, RULE.name),
            ("a driver", by(Review::create(&slice), "driver"), Deny, RULE.name),
            ("a kubelet's request", Review::create(&request).by_node("n1"), Allow, RULE.name),
            ("somebody's request", Review::create(&request), Deny, RULE.name),
        ]);
        let delegations = || {
            vec![
                delegation("provisioner", ("", "PersistentVolume"), "spec", None),
                delegation("driver", ("resource.k8s.io", "ResourceSlice"), "spec", None),
            ]
        };
        world().source(|source| source.delegations = delegations()).expect(&[
            ("a provisioner", by(Review::create(&volume("data")), "provisioner"), Allow, RULE.name),
            ("of a claim that nobody declares", by(Review::create(&volume("x")), "provisioner"), Deny, "undeclared"),
            ("its removal", by(Review::delete(&volume("data")), "provisioner"), Allow, RULE.name),
            ("by somebody else", Review::create(&volume("data")), Deny, RULE.name),
            ("a driver", by(Review::create(&slice), "driver"), Allow, RULE.name),
        ]);
    }

    #[test]
    fn what_the_api_server_makes_for_itself() {
        let address = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": {"name": "10.96.0.7"},
            "spec": {"parentRef": {"resource": "services", "namespace": "shop", "name": "web"}}});
        let local = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": "v1.example.com", "labels": {"kube-aggregator.kubernetes.io/automanaged": "true"}},
            "spec": {"group": "example.com", "version": "v1"}});
        let remote = with(&local, "/spec/service", json!({"name": "evil"}));
        let preferred = with(&local, "/spec/versionPriority", json!(100));
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": [],
            "metadata": {"name": "system:new", "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}});
        let basic = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "system:basic-user", "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
                "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:basic-user"},
            "subjects": [
                {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"}]});
        let widened = with(&basic, "/subjects/0/name", json!("system:unauthenticated"));
        let by = |review: Review| review.by("system:apiserver");
        World::new().expect(&[
            ("an address", by(Review::create(&address)), Allow, RULE.name),
            ("an address by a person", Review::create(&address), Deny, RULE.name),
            ("an API service of a CRD", by(Review::create(&local)), Allow, RULE.name),
            ("one served elsewhere", by(Review::create(&remote)), Deny, "undeclared"),
            ("another priority", by(Review::update(&local, &preferred)), Allow, RULE.name),
            ("one that is served elsewhere from now on", by(Review::update(&local, &remote)), Deny, RULE.name),
            // Authority is not given by a name: anybody who impersonates could be the API server.
            ("a role that it does not have", by(Review::create(&role)), Deny, "undeclared"),
            ("a binding of its own", by(Review::create(&basic)), Allow, RULE.name),
            ("by a person", Review::create(&basic), Deny, RULE.name),
            ("for somebody else", by(Review::create(&widened)), Deny, "undeclared"),
            ("widened", by(Review::update(&basic, &widened)), Deny, RULE.name),
            ("taken away", Review::delete(&basic), Deny, RULE.name),
        ]);
    }
}
