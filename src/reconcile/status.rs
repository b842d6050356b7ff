//! The status of an Enforcement: written when it changed, never read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use crate::api::{
    CommitStatus, ConditionType, DriftStatus, Enforcement, EnforcementStatus, ObjectCounts, Problem, set_condition,
};
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
    /// The commit that was compared with the whole cluster last.
    pub round_commit: Option<String>,
    /// The webhook was seen to reject by it.
    pub enforcing: bool,
    pub problems: Vec<Problem>,
    pub declared: u32,
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
    let (enforcing, why) = match &facts.source {
        None => (false, "NothingToEnforce"),
        Some(_) if facts.enforcing => (true, "WebhookActive"),
        Some(_) => (false, "WebhookPending"),
    };
    let message = if enforcing { "the webhook judges every write in the scope" } else { "no write is judged yet" };
    set(ConditionType::Enforcing, enforcing, why, message.into());

    let enforced = facts.source.as_ref().map(|source| &source.commit);
    let newest = enforced == facts.seen_commit.as_ref() && enforced == facts.round_commit.as_ref();
    let degraded = !facts.problems.is_empty();
    let first = facts.problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
    let short = commit.as_ref().map_or("nothing", |commit| commit.short.as_str());
    match (degraded, facts.drifted, newest && facts.source.is_some()) {
        (true, ..) => {
            let count = facts.problems.len();
            set(ConditionType::Degraded, true, "Problems", format!("{count} problems; the first: {first}"));
            set(ConditionType::Converged, false, "Problems", format!("{short} is not enforced in full: {first}"));
        }
        (false, 0, true) => {
            set(ConditionType::Degraded, false, "NoProblems", String::new());
            set(ConditionType::Converged, true, "Converged", format!("the cluster is what {short} declares"));
        }
        (false, drifted, true) => {
            set(ConditionType::Degraded, false, "NoProblems", String::new());
            set(ConditionType::Converged, false, "Drift", format!("{drifted} objects differ from {short}"));
        }
        (false, _, false) => {
            set(ConditionType::Degraded, false, "NoProblems", String::new());
            set(
                ConditionType::Converged,
                false,
                "Progressing",
                if enforced == facts.seen_commit.as_ref() {
                    format!("{short} is being compared with the cluster")
                } else {
                    format!("{short} is in force; a newer one is on its way")
                },
            );
        }
    }
    let converged = conditions.iter().any(|c: &Condition| c.type_ == "Converged" && c.status == "True");
    let same_commit = before.commit.as_ref().map(|c| &c.id) == commit.as_ref().map(|c| &c.id);
    let converged_at = match (converged, &before.converged_at) {
        (true, Some(at)) if same_commit => Some(at.clone()),
        (true, _) => Some(now.clone()),
        (false, at) if same_commit => at.clone(),
        (false, _) => None,
    };
    let failed = u32::try_from(facts.problems.iter().filter(|p| p.object.is_some()).count()).unwrap_or(u32::MAX);
    EnforcementStatus {
        observed_generation: generation,
        commit,
        seen_commit: facts.seen_commit.clone(),
        converged_at,
        objects: Some(ObjectCounts {
            declared: facts.declared,
            applied: facts.declared.saturating_sub(failed),
            failed,
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

/// Writes the status of one Enforcement.
///
/// # Errors
/// The API server refuses.
pub async fn write(client: &Client, name: &str, status: &EnforcementStatus) -> Result<(), kube::Error> {
    let api: Api<Enforcement> = Api::all(client.clone());
    let mut status = serde_json::to_value(status).map_err(kube::Error::SerdeError)?;
    // A merge patch keeps what it does not name: what is empty now must be named.
    for field in ["commit", "seenCommit", "convergedAt", "problems"] {
        if let Some(map) = status.as_object_mut() {
            map.entry(field).or_insert(serde_json::Value::Null);
        }
    }
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({ "status": status }))).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

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
            "spec": {"source": {"url": "file:///r", "branch": "main"}, "scope": {}},
        });
        let source = super::super::settings::source(&super::super::settings::read(&object).unwrap()).unwrap();
        Facts {
            seen_commit: Some("1a2b3c4d".into()),
            round_commit: Some("1a2b3c4d".into()),
            source: Some(Source { commit: "1a2b3c4d".into(), ..source }),
            enforcing: true,
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
    fn drift_problems_and_news_are_told_apart() {
        let drifted = compose(&Facts { drifted: 2, ..facts() }, &EnforcementStatus::default(), &at(1));
        assert_eq!(condition(&drifted, "Converged"), ("False", "Drift"));
        let newer = Facts { seen_commit: Some("ffff".into()), ..facts() };
        assert_eq!(condition(&compose(&newer, &drifted, &at(2)), "Converged"), ("False", "Progressing"));
        let begun = Facts { round_commit: None, ..facts() };
        assert_eq!(condition(&compose(&begun, &drifted, &at(2)), "Converged"), ("False", "Progressing"));
        let problem = Problem {
            message: "no".into(),
            reason: "InvalidManifest".into(),
            object: None,
            position: None,
            commit: None,
        };
        let broken = compose(&Facts { problems: vec![problem], ..facts() }, &drifted, &at(2));
        assert_eq!(condition(&broken, "Converged"), ("False", "Problems"));
        assert_eq!(condition(&broken, "Degraded"), ("True", "Problems"));
        let unreadable = Facts { source_problem: Some(("Unreachable", "down".into())), ..facts() };
        assert_eq!(condition(&compose(&unreadable, &drifted, &at(3)), "SourceReady"), ("False", "Unreachable"));
    }
}
