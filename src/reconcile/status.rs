//! The status of an Enforcement: written when it changed, never read.

mod sentence;

use std::collections::BTreeSet;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};

use self::sentence::problems_text;
use super::governor::Force;
use crate::api::{
    Action, CommitStatus, ConditionType, DriftStatus, Enforcement, EnforcementStatus, ObjectCounts, Problem, Reason,
    set_condition,
};
use crate::object::GroupKind;
use crate::snapshot::Source;

/// More problems than these are only counted.
const LISTED_PROBLEMS: usize = 20;

/// What is known of one Enforcement at this moment.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub generation: Option<i64>,
    /// Why the spec or the source cannot be used.
    pub source_problem: Option<(&'static str, String)>,
    pub seen_commit: Option<String>,
    /// The enforced source, at its commit.
    pub source: Option<Source>,
    /// The commit of the last round that ended.
    pub round_commit: Option<String>,
    /// What undeclared objects are compared with is recorded, or nobody asks for that.
    pub baseline_recorded: bool,
    /// Kinds in the scope that the watches have not listed: what there is of them is not known.
    pub unlisted: Vec<GroupKind>,
    /// Whether the webhook is obeyed.
    pub force: Force,
    pub problems: Vec<Problem>,
    pub declared: u32,
    /// Of the declared objects, those that the last round left as they must be.
    pub applied: u32,
    pub baseline: u32,
    pub drifted: u32,
    pub reverted: u64,
    pub last_reverted_at: Option<Time>,
}

/// Puts the facts into the form that users read. `before` keeps the times of transitions.
pub fn compose(facts: &Facts, before: &EnforcementStatus, now: &Time) -> EnforcementStatus {
    let mut conditions = before.conditions.clone();
    let generation = facts.generation;
    let mut set = |kind, status, reason, message: String| {
        set_condition(&mut conditions, kind, status, reason, message, generation, now.clone());
    };
    match &facts.source_problem {
        None if facts.seen_commit.is_some() => {
            set(ConditionType::SourceReady, true, "Fetched", "the newest commit was read".into());
        }
        None => {
            set(ConditionType::SourceReady, false, "Fetching", "the source is being read for the first time".into())
        }
        Some((reason, message)) => set(ConditionType::SourceReady, false, reason, message.clone()),
    }
    let commit = facts.source.as_ref().map(|source| CommitStatus {
        id: source.commit.clone(),
        short: source.short_commit(),
        subject: source.subject.clone(),
    });
    let (enforcing, reason, message) = enforcement(facts);
    set(ConditionType::Enforcing, enforcing, reason, message.into());

    let problems = problems_text(&facts.problems);
    match &problems {
        Some(text) => set(ConditionType::Degraded, true, "Problems", text.clone()),
        None => set(ConditionType::Degraded, false, "NoProblems", String::new()),
    }
    let (converged, reason, message) = convergence(facts, problems);
    set(ConditionType::Converged, converged, reason, message);
    let same_commit = before.commit.as_ref().map(|c| &c.id) == commit.as_ref().map(|c| &c.id);
    let converged_at = match (converged, &before.converged_at) {
        (true, Some(at)) if same_commit => Some(at.clone()),
        (true, _) => Some(now.clone()),
        (false, at) if same_commit => at.clone(),
        (false, _) => None,
    };
    let enforced = facts.source.as_ref().is_some_and(|source| source.action == Action::Enforce);
    let failed: BTreeSet<&str> = facts.problems.iter().filter_map(|problem| problem.object.as_deref()).collect();
    EnforcementStatus {
        observed_generation: generation,
        commit,
        seen_commit: facts.seen_commit.clone(),
        converged_at,
        objects: Some(ObjectCounts {
            declared: facts.declared,
            applied: if enforced { facts.applied } else { 0 },
            failed: u32::try_from(failed.len()).unwrap_or(u32::MAX),
            baseline: facts.baseline,
        }),
        drift: Some(DriftStatus {
            objects: facts.drifted,
            reverted: facts.reverted,
            last_reverted_at: facts.last_reverted_at.clone(),
        }),
        problems: facts.problems.iter().take(LISTED_PROBLEMS).cloned().collect(),
        conditions,
    }
}

/// Whether writes are rejected in the scope.
fn enforcement(facts: &Facts) -> (bool, Reason, &'static str) {
    let Some(source) = &facts.source else { return (false, "NothingToEnforce", "no commit is in force") };
    match (source.action, facts.force) {
        (Action::Observe, _) => {
            (false, "Observing", "what Git does not allow is recorded and let through, and nothing is written")
        }
        (Action::Warn, _) => {
            (false, "Warning", "what Git does not allow is warned of and let through, and nothing is written")
        }
        (Action::Enforce, Force::NoPlace) => (
            false,
            "Unproven",
            "the webhook is registered; nothing exists yet in the scope by which it could be tried whether it is obeyed",
        ),
        (Action::Enforce, Force::Unreachable) => (
            false,
            "WebhookUnreachable",
            "the API server gets no answer of the webhook: until it does, no write in the scope passes",
        ),
        (Action::Enforce, Force::Refused) => (
            false,
            "ConfigurationRefused",
            "a static policy of the API server refuses the webhook configuration that the scopes call for; the one before stays in force",
        ),
        // The proof in its own scope comes with the baseline.
        (Action::Enforce, Force::Proven) if facts.baseline_recorded => {
            (true, "WebhookActive", "the webhook judges every write in the scope")
        }
        (Action::Enforce, _) => (
            false,
            "WebhookPending",
            "the API server was not seen yet to ask the webhook about every write in the scope",
        ),
    }
}

/// Whether the cluster is what Git says; else the first thing that is missing for that.
fn convergence(facts: &Facts, problems: Option<String>) -> (bool, Reason, String) {
    let Some(source) = &facts.source else {
        let why = facts.source_problem.as_ref().map_or("the source is being read for the first time", |(_, why)| why);
        return (false, "SourceNotReady", format!("nothing is in force yet: {why}"));
    };
    let short = source.short_commit();
    if let Some(problems) = problems {
        return (false, "Problems", format!("{short} is in force, apart from this: {problems}"));
    }
    let Some(seen) = &facts.seen_commit else {
        let why = facts.source_problem.as_ref().map_or("the source is being read", |(_, why)| why);
        return (
            false,
            "SourceNotReady",
            format!("{short} stays in force; whether it is the newest is not known: {why}"),
        );
    };
    if *seen != source.commit {
        return (false, "NewCommit", format!("{short} is in force; a newer commit is on its way"));
    }
    if facts.round_commit.as_ref() != Some(&source.commit) {
        return (false, "Applying", format!("the objects of {short} are being compared with the cluster and written"));
    }
    if !facts.baseline_recorded {
        let message =
            "what is in the scope and not in Git is being recorded; then nothing undeclared is let in any more";
        return (false, "RecordingBaseline", message.into());
    }
    if facts.drifted > 0 {
        let (objects, differ) = if facts.drifted == 1 { ("object", "differs") } else { ("objects", "differ") };
        return (false, "Drift", format!("{} {objects} {differ} from {short}", facts.drifted));
    }
    if let Some(first) = facts.unlisted.first() {
        let count = facts.unlisted.len();
        let message = format!("{count} kinds are not watched yet and not compared with {short}; the first: {first}");
        return (false, "Listing", message);
    }
    (true, "Converged", format!("the cluster is what {short} declares"))
}

/// Whether the cluster is what Git says, in a status that was composed.
pub fn is_converged(status: &EnforcementStatus) -> bool {
    status.conditions.iter().any(|c: &Condition| c.type_ == ConditionType::Converged.as_str() && c.status == "True")
}

/// Whether two statuses are the same where they are stored: a time loses there what is less than a second.
pub fn is_same(one: &EnforcementStatus, other: &EnforcementStatus) -> bool {
    matches!((serde_json::to_value(one), serde_json::to_value(other)), (Ok(one), Ok(other)) if one == other)
}

/// Writes the status of one Enforcement.
///
/// # Errors
/// The API server refuses.
pub async fn write(client: &Client, name: &str, status: &EnforcementStatus) -> Result<(), kube::Error> {
    let api: Api<Enforcement> = Api::all(client.clone());
    let value = serde_json::to_value(status).map_err(kube::Error::SerdeError)?;
    // As a whole: nothing stays of what somebody else put there.
    let path = PointerBuf::from_tokens(["status"]);
    let patch = json_patch::Patch(vec![PatchOperation::Add(AddOperation { path, value })]);
    api.patch_status(name, &PatchParams::default(), &Patch::<()>::Json(patch)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn condition<'a>(status: &'a EnforcementStatus, kind: &str) -> (&'a str, &'a str) {
        status.conditions.iter().find(|c| c.type_ == kind).map(|c| (c.status.as_str(), c.reason.as_str())).unwrap()
    }

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    fn facts() -> Facts {
        let object = json!({
            "apiVersion": "gitadel.dev/v1alpha1", "kind": "Enforcement", "metadata": {"name": "all"},
            "spec": {"source": {"url": "file:///r", "branch": "main"}, "scope": {}, "action": "Enforce"},
        });
        let source = super::super::settings::source(&super::super::settings::read(&object).unwrap()).unwrap();
        Facts {
            seen_commit: Some("1a2b3c4d".into()),
            round_commit: Some("1a2b3c4d".into()),
            source: Some(Source { commit: "1a2b3c4d".into(), ..source }),
            baseline_recorded: true,
            force: Force::Proven,
            ..Facts::default()
        }
    }

    #[test]
    fn a_cluster_that_matches_the_newest_commit_is_converged() {
        let status = compose(&facts(), &EnforcementStatus::default(), &at(1));
        assert_eq!(condition(&status, "Converged"), ("True", "Converged"));
        assert_eq!(condition(&status, "SourceReady"), ("True", "Fetched"));
        assert_eq!(status.converged_at, Some(at(1)));
        let later = compose(&facts(), &status, &at(9));
        assert_eq!(later, status, "nothing changed, so nothing is written");
    }

    #[test]
    fn the_reason_names_what_is_waited_for() {
        let problem = |message: &str| Problem {
            message: message.into(),
            reason: "InvalidManifest".into(),
            object: None,
            position: None,
            commit: None,
        };
        let config_maps = vec![GroupKind::new("", "ConfigMap")];
        let cases = [
            (Facts { source: None, ..facts() }, "SourceNotReady", "read for the first time"),
            (
                Facts { source: None, source_problem: Some(("Unreachable", "it is down".into())), ..facts() },
                "SourceNotReady",
                "it is down",
            ),
            (
                Facts { problems: vec![problem("no"), problem("neither")], ..facts() },
                "Problems",
                "2 problems; the first: no",
            ),
            (Facts { seen_commit: None, ..facts() }, "SourceNotReady", "main@1a2b3c4 stays in force"),
            (Facts { seen_commit: Some("ffff".into()), ..facts() }, "NewCommit", "newer"),
            (Facts { round_commit: None, drifted: 1, ..facts() }, "Applying", "1a2b3c4"),
            (
                Facts { baseline_recorded: false, unlisted: config_maps.clone(), ..facts() },
                "RecordingBaseline",
                "being recorded",
            ),
            (Facts { drifted: 2, unlisted: config_maps.clone(), ..facts() }, "Drift", "2 objects differ from"),
            (Facts { unlisted: config_maps, ..facts() }, "Listing", "the first: ConfigMap"),
            (facts(), "Converged", "is what main@1a2b3c4 declares"),
        ];
        for (facts, reason, says) in cases {
            let status = compose(&facts, &EnforcementStatus::default(), &at(1));
            let wanted = if reason == "Converged" { "True" } else { "False" };
            assert_eq!(condition(&status, "Converged"), (wanted, reason));
            let message = &status.conditions.iter().find(|c| c.type_ == "Converged").unwrap().message;
            assert!(message.contains(says), "{message}");
            assert_eq!(is_converged(&status), reason == "Converged");
            assert_eq!(status.converged_at.is_some(), reason == "Converged");
        }
    }

    #[test]
    fn enforcing_is_said_only_of_what_is_enforced_and_was_tried() {
        let with = |action, force, baseline_recorded| {
            let source = facts().source.map(|source| Source { action, ..source });
            Facts { source, force, baseline_recorded, declared: 3, applied: 3, ..facts() }
        };
        let cases = [
            (Action::Enforce, Force::Proven, true, ("True", "WebhookActive"), 3),
            (Action::Enforce, Force::Proven, false, ("False", "WebhookPending"), 3),
            (Action::Enforce, Force::Pending, true, ("False", "WebhookPending"), 3),
            (Action::Enforce, Force::Unreachable, true, ("False", "WebhookUnreachable"), 3),
            (Action::Enforce, Force::NoPlace, true, ("False", "Unproven"), 3),
            (Action::Enforce, Force::Refused, true, ("False", "ConfigurationRefused"), 3),
            (Action::Warn, Force::Proven, true, ("False", "Warning"), 0),
            (Action::Observe, Force::Proven, true, ("False", "Observing"), 0),
        ];
        for (action, force, recorded, expected, applied) in cases {
            let status = compose(&with(action, force, recorded), &EnforcementStatus::default(), &at(1));
            assert_eq!(condition(&status, "Enforcing"), expected);
            assert_eq!(status.objects.map(|objects| objects.applied), Some(applied));
        }
    }

    #[test]
    fn an_object_with_two_problems_failed_once_and_what_never_counted_is_not_taken_off() {
        let of = |object: &str| Problem { object: Some(object.into()), ..Problem::of_enforcement("OutOfScope", "no") };
        let problems = vec![of("ConfigMap a/a"), of("ConfigMap a/a"), of("ConfigMap b/b")];
        let facts = Facts { problems, declared: 10, applied: 10, ..facts() };
        let objects = compose(&facts, &EnforcementStatus::default(), &at(1)).objects.unwrap();
        assert_eq!((objects.declared, objects.applied, objects.failed), (10, 10, 2));
    }

    #[test]
    fn what_is_less_than_a_second_makes_no_other_status() {
        let of = |at: Timestamp| EnforcementStatus { converged_at: Some(Time(at)), ..EnforcementStatus::default() };
        let [second, later] = [1_000, 1_999].map(|ms| Timestamp::from_millisecond(ms).unwrap());
        let stored: EnforcementStatus = serde_json::from_value(serde_json::to_value(of(later)).unwrap()).unwrap();
        assert!(is_same(&of(later), &stored));
        assert!(!is_same(&of(second), &of(Timestamp::from_second(2).unwrap())));
    }

    #[test]
    fn what_degrades_is_told_apart_from_what_is_not_readable() {
        let problem = Problem {
            message: "no".into(),
            reason: "InvalidManifest".into(),
            object: None,
            position: None,
            commit: None,
        };
        let broken = compose(&Facts { problems: vec![problem], ..facts() }, &EnforcementStatus::default(), &at(2));
        assert_eq!(condition(&broken, "Degraded"), ("True", "Problems"));
        let unreadable = Facts { source_problem: Some(("Unreachable", "down".into())), ..facts() };
        let unreadable = compose(&unreadable, &broken, &at(3));
        assert_eq!(condition(&unreadable, "SourceReady"), ("False", "Unreachable"));
        assert_eq!(condition(&unreadable, "Degraded"), ("False", "NoProblems"));
        assert_eq!(condition(&unreadable, "Converged"), ("True", "Converged"), "the last good commit is in force");
    }
}
