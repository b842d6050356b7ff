//! Asks the rules in turn and says what the Enforcement's action makes of the answer.

use jiff::Timestamp;

use super::context::Context;
use super::denial;
use super::own::is_own;
use super::request::Request;
use super::rules::{RULES, Ruling};
use super::verdict::{Class, Outcome, Verdict};
use crate::api::Action;
use crate::compare::{MaskKey, MaskKeyError, mask_secret};
use crate::document::Document;
use crate::snapshot::{Snapshot, SnapshotError};

/// The rule that speaks where the snapshot cannot.
const UNREADABLE: &str = "snapshot";
/// The rule that speaks where no other does.
const UNJUDGED: &str = "unjudged";

/// Every value of [`Verdict::rule`]: the labels of a metric are few and known.
pub fn rule_names() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|rule| rule.name).chain([UNREADABLE, UNJUDGED])
}

/// May this write happen?
pub fn decide(request: &Request<'_>, snapshot: &Snapshot, now: Timestamp) -> Verdict {
    if !holds_secret(request) {
        return ruled(request, snapshot, now);
    }
    match Masked::new(request, snapshot) {
        Ok(masked) => ruled(&masked.request(request), snapshot, now),
        Err(error) => Verdict::deny(UNREADABLE, Class::Governed, error.to_string()),
    }
}

fn ruled(request: &Request<'_>, snapshot: &Snapshot, now: Timestamp) -> Verdict {
    let unreadable = |error: SnapshotError| Verdict::deny(UNREADABLE, Class::Governed, error.to_string());
    let context = match Context::new(request, snapshot, now) {
        Ok(context) => context,
        Err(error) => return unreadable(error),
    };
    for rule in RULES {
        match (rule.judge)(&context) {
            Ok(None) => {}
            Ok(Some(ruling)) => return verdict(&context, rule.name, ruling),
            Err(error) => return unreadable(error),
        }
    }
    verdict(&context, UNJUDGED, Ruling::Deny(Class::Undeclared, denial::subresource(&context)))
}

fn verdict(context: &Context<'_>, rule: &'static str, ruling: Ruling) -> Verdict {
    let mut audit = vec![("rule".to_owned(), rule.to_owned())];
    let (class, message) = match ruling {
        Ruling::Admit(class) => return Verdict::allow(rule, class),
        Ruling::Deny(class, message) => (class, message),
        Ruling::Prove(message) => return Verdict { audit, proof: true, ..Verdict::deny(rule, Class::Own, message) },
    };
    if let Some(source) = context.source {
        audit.push(("enforcement".to_owned(), source.name.clone()));
        audit.push(("commit".to_owned(), source.commit.clone()));
    }
    let action = context.action(class);
    if action == Action::Enforce {
        return Verdict { audit, ..Verdict::deny(rule, class, message) };
    }
    audit.push(("finding".to_owned(), message.clone()));
    let warnings =
        if action == Action::Warn { vec![format!("Enforce would reject this: {message}")] } else { Vec::new() };
    Verdict {
        outcome: Outcome::Allow,
        rule,
        class,
        message: Some(message),
        audit,
        warnings,
        observed: true,
        proof: false,
    }
}

/// Whether the request shows a Secret whose values must not be seen. The baseline's records are Secrets that hold none:
/// their digest is that of what they hold.
fn holds_secret(request: &Request<'_>) -> bool {
    // The review of a collection's deletion names each object in its old state alone.
    let shown = request.old.or(request.object).and_then(|secret| secret.at(&["metadata", "name"])?.as_str());
    let name = shown.unwrap_or(request.name);
    let id = crate::object::ObjectRef { group: "", kind: "Secret", namespace: request.namespace, name };
    (request.group, request.resource) == ("", "secrets") && !is_own(id)
}

/// A Secret's states with hashes for values: no rule, message or annotation ever sees one.
struct Masked {
    object: Option<Document>,
    old: Option<Document>,
}

impl Masked {
    fn new(request: &Request<'_>, snapshot: &Snapshot) -> Result<Self, MaskKeyError> {
        let key = MaskKey::from_hex(&snapshot.meta().mask_key)?;
        Ok(Self {
            object: request.object.map(|secret| mask_secret(secret, &key)),
            old: request.old.map(|secret| mask_secret(secret, &key)),
        })
    }

    fn request<'a>(&'a self, request: &Request<'a>) -> Request<'a> {
        let root = |document: &'a Option<Document>| document.as_ref().map(Document::root);
        Request { object: root(&self.object), old: root(&self.old), ..request.clone() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::admission::testing::{ADMIN, Review, World, config_map, controller, deployment, with};

    #[test]
    fn a_denial_says_what_where_why_and_what_to_do() {
        let world = World::new().declare(&deployment());
        let scaled = with(&deployment(), "/spec/replicas", json!(5));
        let message = world.verdict(&Review::update(&deployment(), &scaled)).message.unwrap();
        assert_eq!(
            message,
            "deployments.apps \"web\" in \"shop\" is governed by Git: spec.replicas must be 2, not 5 \
             (apps/web.yaml:11 at main@1a2b3c4, \"scale down for winter\"). \
             Change it by a commit to https://git.example.com/shop.git."
        );
    }

    #[test]
    fn a_subject_is_quoted_so_that_it_ends_where_it_ends() {
        let world = World::new().declare(&deployment()).source(|s| s.subject = "Revert \"Scale\"\u{1b}[2J".into());
        let message = world.verdict(&Review::delete(&deployment())).message.unwrap();
        assert!(message.contains(r#"at main@1a2b3c4, "Revert \"Scale\"\u{1b}[2J")"#), "{message}");
    }

    #[test]
    fn a_commit_is_not_cited_for_what_it_does_not_say() {
        let world = World::new()
            .entry(&deployment(), |draft| draft.problem = Some("spec.replicas: it must be a number.\nand more".into()));
        let scaled = with(&deployment(), "/spec/replicas", json!(5));
        let message = world.verdict(&Review::update(&deployment(), &scaled)).message.unwrap();
        assert_eq!(
            message,
            "deployments.apps \"web\" in \"shop\" is governed by Git: spec.replicas must be 2, not 5. That is the last \
             state that could be brought about; the one declared now (apps/web.yaml:1 at main@1a2b3c4, \"scale down for \
             winter\") could not: spec.replicas: it must be a number. Correct it by a commit to \
             https://git.example.com/shop.git."
        );
    }

    #[test]
    fn several_findings_are_listed_with_their_lines_and_many_are_counted() {
        let world = World::new().declare(&deployment());
        let two = with(&with(&deployment(), "/spec/replicas", json!(5)), "/spec/paused", json!(true));
        let message = world.verdict(&Review::update(&deployment(), &two)).message.unwrap();
        assert!(
            message.contains(
                "spec.paused is not declared in Git (apps/web.yaml:10), spec.replicas must be 2, not 5 \
                 (apps/web.yaml:11) (at main@1a2b3c4, \""
            ),
            "{message}"
        );
        let labels: Value = (0..8).map(|n| (format!("l{n}"), json!("x"))).collect();
        let message =
            world.verdict(&Review::update(&deployment(), &with(&deployment(), "/metadata/labels", labels))).message;
        assert!(message.as_deref().unwrap().contains(" and 4 more "), "{message:?}");
    }

    #[test]
    fn an_enforcement_that_observes_or_warns_lets_the_finding_pass() {
        for (action, warnings) in [(Action::Observe, 0), (Action::Warn, 1)] {
            let world = World::new().source(|source| source.action = action);
            let verdict = world.verdict(&Review::create(&config_map("x")));
            assert_eq!((verdict.outcome, verdict.observed, verdict.rule), (Outcome::Allow, true, "undeclared"));
            assert_eq!(verdict.warnings.len(), warnings);
            let conditional = |warning: &String| warning.starts_with("Enforce would reject this: configmaps \"x\"");
            assert!(verdict.warnings.iter().all(conditional), "{:?}", verdict.warnings);
            let finding = verdict.audit.iter().find(|(key, _)| key == "finding").map(|(_, value)| value);
            assert_eq!(finding, verdict.message.as_ref());
        }
    }

    #[test]
    fn without_a_readable_mask_key_no_secret_is_written() {
        let world = World::new().meta(|meta| meta.mask_key = "short".into());
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shop"}});
        let verdict = world.verdict(&Review::create(&secret));
        assert_eq!((verdict.outcome, verdict.rule), (Outcome::Deny, UNREADABLE));
    }

    #[test]
    fn a_secret_is_annotated_with_what_was_applied_to_it_and_with_nothing_else() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shop"}});
        let noted = |text: &str| {
            with(&secret, "/metadata/annotations", json!({"kubectl.kubernetes.io/last-applied-configuration": text}))
        };
        let another = with(&secret, "/metadata/name", json!("t"));
        let [own, foreign, text] = [secret.to_string(), another.to_string(), "hunter2".into()].map(|text| noted(&text));
        let world = World::new().declare(&secret);
        world.expect(&[
            ("of itself", Review::update(&secret, &own), Outcome::Allow, "declared"),
            ("of another", Review::update(&secret, &foreign), Outcome::Deny, "declared"),
            ("no manifest", Review::update(&own, &text), Outcome::Deny, "declared"),
            ("another stays", Review::update(&foreign, &foreign), Outcome::Allow, "declared"),
            ("another goes", Review::update(&foreign, &own), Outcome::Allow, "declared"),
        ]);
        assert!(!format!("{:?}", world.verdict(&Review::update(&secret, &text))).contains("hunter2"));
    }

    #[test]
    fn what_no_rule_knows_is_denied() {
        let world = World::new().declare(&deployment());
        for review in [
            Review::create(&deployment()).of("apps", "deployments", "rollback"),
            Review::connect("pods", "teleport", "shop", "web-x"),
            Review::special("CREATE", "services", "surprise", "shop", "x", &json!({"kind": "Surprise"})),
        ] {
            assert_eq!(world.verdict(&review).outcome, Outcome::Deny, "{review:?}");
        }
    }

    #[test]
    fn rules_have_names_of_their_own() {
        let mut names: Vec<_> = rule_names().collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), rule_names().count());
    }

    /// Values of a few governed fields, and whether they are there at all.
    fn state() -> impl Strategy<Value = Value> {
        let small = proptest::option::of(0..3i64);
        (small.clone(), small.clone(), small.clone(), small).prop_map(|(replicas, label, paused, image)| {
            let mut object = deployment();
            for (pointer, value) in [
                ("/spec/replicas", replicas.map(|n| json!(n))),
                ("/metadata/labels/app", label.map(|n| json!(n.to_string()))),
                ("/spec/paused", paused.map(|n| json!(n == 1))),
                ("/spec/template/spec/containers/0/image", image.map(|n| json!(format!("web:{n}")))),
            ] {
                object = match value {
                    Some(value) => with(&object, pointer, value),
                    None => crate::admission::testing::without(&with(&object, pointer, json!(0)), pointer),
                };
            }
            object
        })
    }

    const GOVERNED: [&str; 4] =
        ["/spec/replicas", "/metadata/labels/app", "/spec/paused", "/spec/template/spec/containers/0/image"];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Whoever writes, and on whatever way: an admitted write leaves each field as it was or makes it what Git says.
        #[test]
        fn no_field_moves_away_from_git(
            old in state(), new in state(), git in state(),
            user in prop_oneof![
                Just(ADMIN.to_owned()), Just("system:apiserver".to_owned()),
                Just("system:kube-controller-manager".to_owned()), Just(controller("deployment-controller")),
                Just(controller("generic-garbage-collector")), Just("system:node:n1".to_owned()), "[a-z:]{1,20}",
            ],
            status in any::<bool>(),
        ) {
            let world = World::new().declare(&git);
            let review = Review::update(&old, &new).by(&user);
            let verdict = world.verdict(&if status { review.through("status") } else { review });
            let moved: Vec<_> = GOVERNED
                .iter()
                .filter(|p| new.pointer(p) != old.pointer(p) && new.pointer(p) != git.pointer(p))
                .collect();
            prop_assert_eq!(verdict.outcome == Outcome::Allow, moved.is_empty(), "{:?}: {:?}", moved, verdict.message);
        }

        /// One write may be reviewed more than once.
        #[test]
        fn a_decision_does_not_depend_on_the_one_before(old in state(), new in state(), git in state()) {
            let snapshot = World::new().declare(&git).snapshot();
            let review = Review::update(&old, &new);
            prop_assert_eq!(review.verdict(&snapshot), review.verdict(&snapshot));
        }
    }
}
