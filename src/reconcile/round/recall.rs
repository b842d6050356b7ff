//! Objects that left Git while nobody was running who knew them: the snapshot was lost with its Pod, and the inventory
//! remembers.
//!
//! A line of the inventory is a hint. What counts is that the source's history has the commit that the line names, and
//! that it declares the object in the file that the line names. Such an object comes back into the snapshot as it was
//! last declared, and then leaves it like any other: pruned, under the guard, or kept.

use super::{Participant, Round, RoundError, RoundReport};
use crate::api::Problem;
use crate::object::ObjectId;
use crate::reconcile::canonicalise::align;
use crate::reconcile::canonicaliser::Question;
use crate::reconcile::desired::{Desired, SourceProblem};
use crate::reconcile::inventory::Line;
use crate::reconcile::inventory_record::{self, InventoryError};
use crate::reconcile::publish::Edit;
use crate::reconcile::rest;
use crate::reconcile::world::World;
use crate::render::{Manifest, ManifestSummary, declared_in};
use crate::snapshot::{EntryClass, EntryDraft, HistoryDraft, KindInfo};
use crate::source::{CommitInfo, Repository, SourceError};

/// What a line of the inventory comes to.
enum Recalled {
    Known(Box<(EntryDraft, Option<serde_json::Value>)>),
    /// It is not in the cluster any more, or it is none of this source's.
    Gone,
    /// Git does not bear the line out.
    Unproven,
    /// To be tried again: why.
    Undecided(String),
}

impl Round<'_> {
    /// Looks through the inventories that were not looked through yet. One that cannot be is its source's problem alone.
    pub(super) async fn recall(&self, desired: &Desired, report: &mut RoundReport) -> Result<(), RoundError> {
        for (source, participant) in self.participants.iter().enumerate().filter(|(_, p)| p.recall && p.state.is_some())
        {
            match self.recalled(desired, source, participant, report).await {
                Ok(edit) if edit.put.is_empty() => {}
                Ok(edit) => _ = self.workshop.publisher.publish(|_, _| Some(edit)).await?,
                Err(error) => {
                    tracing::warn!(enforcement = participant.source.name, %error, "what left Git is not known yet");
                    let problem = Problem::of_enforcement("InventoryNotRead", error);
                    report.problems.push(SourceProblem { source, problem });
                    report.not_recalled.insert(source);
                    report.retry = true;
                }
            }
        }
        Ok(())
    }

    async fn recalled(
        &self,
        desired: &Desired,
        index: usize,
        participant: &Participant,
        report: &mut RoundReport,
    ) -> Result<Edit, InventoryError> {
        let world = self.workshop.publisher.world();
        let mut edit = Edit::default();
        for line in inventory_record::read(self.workshop, &participant.source.name).await?.lines() {
            let id = &line.id;
            if desired.still_holds(index, id) || world.entry(id.as_ref())?.is_some() {
                continue;
            }
            match self.recall_line(&world, index, participant, line).await? {
                Recalled::Known(entry) => {
                    let (draft, secret) = *entry;
                    edit.secrets.extend(secret.map(|secret| (id.clone(), secret)));
                    edit.put.push(draft);
                }
                Recalled::Gone => {}
                Recalled::Unproven => {
                    let (commit, file) = (&line.commit, &line.file);
                    tracing::warn!(object = %id, commit, file, "the inventory names it, but Git never declared it there");
                }
                Recalled::Undecided(why) => {
                    tracing::warn!(object = %id, why, "it left Git, and is neither pruned nor kept yet");
                    report.undecided.insert(id.clone());
                    report.retry = true;
                }
            }
        }
        Ok(edit)
    }

    async fn recall_line(
        &self,
        world: &World,
        index: usize,
        participant: &Participant,
        line: &Line,
    ) -> Result<Recalled, InventoryError> {
        let (id, source) = (&line.id, &participant.source);
        if !source.governs(&id.kind.group, &id.kind.kind, &id.namespace, &id.name) {
            return Ok(Recalled::Gone);
        }
        let Some(kind) = self.kinds.info(&id.kind) else {
            return Ok(Recalled::Undecided("the cluster does not serve its kind".into()));
        };
        let live = match rest::get(&self.workshop.client, kind, &id.namespace, &id.name).await {
            Ok(Some(live)) => live,
            Ok(None) => return Ok(Recalled::Gone),
            Err(refusal) => return Ok(Recalled::Undecided(refusal.to_string())),
        };
        let Some((summary, manifest)) = last_declaration(participant, line, kind).await? else {
            return Ok(Recalled::Unproven);
        };
        let own = self.kinds.in_version(&id.kind, &summary.version).filter(|own| own.info.version != kind.version);
        let (kind, live) = match own {
            None => (kind, live),
            Some(own) => match rest::get(&self.workshop.client, &own.info, &id.namespace, &id.name).await {
                Ok(Some(live)) => (&own.info, live),
                Ok(None) => return Ok(Recalled::Gone),
                Err(refusal) => return Ok(Recalled::Undecided(refusal.to_string())),
            },
        };
        // The version that Git used then may not be in use now: then it is asked about as it is.
        let question = Question { kind, id, manifest: &manifest.value, live: Some(live), source, may_predict: false };
        let canonical = match self.canonicaliser.canonicalise(&self.workshop.client, question).await {
            Ok(canonical) => canonical.object,
            Err(error) => return Ok(Recalled::Undecided(error.to_string())),
        };
        let (masked, secret) = self.canonicaliser.masked(world, id, canonical);
        let lines = align(&manifest.lines, &manifest.value, &masked, &kind.schema);
        let draft = EntryDraft {
            id: id.clone(),
            class: EntryClass::Declared,
            source: Some(index),
            version: summary.api_version,
            canonical: Some(masked),
            inputs: String::new(),
            file: Some(line.file.clone()),
            lines: Some(lines),
            recreate: summary.recreate,
            uid: None,
            problem: None,
            history: HistoryDraft::default(),
        };
        Ok(Recalled::Known(Box::new((draft, secret))))
    }
}

/// How the file of a line declared its object last, if the source's history has the commit of the line and that declares
/// the object there.
async fn last_declaration(
    participant: &Participant,
    line: &Line,
    kind: &KindInfo,
) -> Result<Option<(ManifestSummary, Manifest)>, InventoryError> {
    let Some(state) = participant.state.clone() else { return Ok(None) };
    let (line, namespaced) = (line.clone(), kind.namespaced);
    let look = move || prove(&state.repository, &state.rendered.commit, &line, namespaced);
    Ok(tokio::task::spawn_blocking(look).await??)
}

fn prove(
    repository: &Repository,
    tip: &CommitInfo,
    line: &Line,
    namespaced: bool,
) -> Result<Option<(ManifestSummary, Manifest)>, SourceError> {
    let declared = |content: &[u8]| {
        let mut objects = declared_in(&line.file, content).into_iter();
        objects.find(|(summary, _)| resolved(&summary.id, namespaced) == line.id)
    };
    let is_commit = line.commit.len() >= 40 && line.commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_commit || !repository.is_in_history(&line.commit, tip)? {
        return Ok(None);
    }
    let Some(first) = repository.read_at(&line.commit, &line.file)?.and_then(|content| declared(&content)) else {
        return Ok(None);
    };
    let last = repository.last_content(&line.file, tip, &line.commit, |content| declared(content).is_some())?;
    Ok(Some(last.and_then(|content| declared(&content)).unwrap_or(first)))
}

fn resolved(id: &ObjectId, namespaced: bool) -> ObjectId {
    let namespace = match (namespaced, id.namespace.as_str()) {
        (true, "") => "default",
        (_, namespace) => namespace,
    };
    ObjectId { namespace: namespace.into(), ..id.clone() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use serde_json::json;

    use super::*;

    fn git(directory: &Path, arguments: &[&str]) -> String {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
        let output = Command::new("git").current_dir(directory).args(identity).args(arguments).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn config_map(name: &str, annotations: &str) -> String {
        format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, annotations: {{{annotations}}}}}}}\n---\n"
        )
    }

    #[test]
    fn only_what_git_declared_is_proven_and_as_it_was_declared_last() {
        let scratch = tempfile::tempdir().unwrap();
        let (origin, copy) = (scratch.path().join("origin"), scratch.path().join("copy"));
        std::fs::create_dir(&origin).unwrap();
        git(&origin, &["init", "--quiet", "--initial-branch=main"]);
        let commit = |content: &str| {
            std::fs::write(origin.join("a.yaml"), content).unwrap();
            git(&origin, &["add", "--all"]);
            git(&origin, &["commit", "--quiet", "--message", "a commit"]);
            git(&origin, &["rev-parse", "HEAD"])
        };
        let first = commit(&config_map("a", ""));
        let second = commit(&(config_map("a", "gitadel.dev/prune: 'false'") + &config_map("b", "")));
        commit("{}");
        git(&origin, &["branch", "aside"]);
        let left = commit(&config_map("c", ""));
        git(&origin, &["reset", "--quiet", "--hard", "aside"]);
        let source = serde_json::from_value(json!({"url": format!("file://{}", origin.display()), "branch": "main"}));
        let repository = Repository::open_or_init(&copy, &source.unwrap(), None).unwrap();
        let tip = repository.fetch().unwrap();

        let proven = |name: &str, commit: &str, file: &str| {
            let id = ObjectId::new("", "ConfigMap", "default", name);
            let line = Line { id, commit: commit.to_owned(), file: file.to_owned() };
            prove(&repository, &tip, &line, true).unwrap().map(|(summary, _)| summary.prune)
        };
        assert_eq!(proven("a", &first, "a.yaml"), Some(false), "a later commit forbade to prune it");
        assert_eq!(proven("b", &second, "a.yaml"), Some(true));
        assert_eq!(proven("b", &first, "a.yaml"), None, "not in that commit");
        assert_eq!(proven("a", &first, "b.yaml"), None, "not in that file");
        assert_eq!(proven("c", &left, "a.yaml"), None, "not in the source's history");
        assert_eq!(proven("a", "HEAD", "a.yaml"), None, "no commit");
    }
}
