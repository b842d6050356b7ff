//! The way round admission that Kubernetes leaves open: whoever may delete the webhook configuration has a moment in which
//! nobody is asked. What gets in then is undone, and the door is shut again.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::drift::{Drift, DriftError, force};
use super::state;
use super::window::{Window, WindowError, observe};
use crate::api::ConditionType;
use crate::demo::kubectl::Kubectl;
use crate::demo::report::took;
use crate::demo::story::{Stage, StoryError, expect, holds};
use crate::reconcile::webhook_configuration;

/// The window is short and may pass before a change is in: then it is opened again.
const MOST_DELETIONS: usize = 25;

/// What the metrics must know of as well.
#[derive(Debug)]
pub struct Bypassed {
    pub drifts: usize,
    pub deletions: usize,
}

pub async fn force_drift(stage: &mut Stage) -> Result<Bypassed, StoryError> {
    stage.report.step("Drift that is forced in all the same is undone");
    stage.report.say(
        "Kubernetes asks no webhook about webhook configurations. So a cluster administrator deletes gitadel's, while \
         programs try to write, every few milliseconds, what Git does not want.",
    );
    let before = state::read(&stage.client).await?;
    let landed = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for drift in Drift::ALL {
        let landed = Arc::clone(&landed);
        writers.spawn(force(stage.client.clone(), drift, move || {
            landed.fetch_add(1, Ordering::Relaxed);
        }));
    }
    let windows = open_windows(stage, &landed).await?;
    let mut forced = Vec::new();
    while let Some(written) = writers.join_next().await {
        forced.push(written??);
    }
    forced.sort_by_key(|forced| forced.at);

    for forced in &forced {
        let window = windows.iter().rfind(|window| window.deleted <= forced.at);
        let entered = window.map_or_else(
            // The answer to the write came before the watch told of the deletion.
            || "as the configuration went".to_owned(),
            |window| format!("{} after the configuration went", took(forced.at - window.deleted)),
        );
        stage.report.met(&format!(
            "{}: in {entered}, after {} rejections; undone after {}",
            forced.drift.what(),
            forced.rejected,
            took(forced.lasted)
        ));
    }
    report_windows(stage, &windows);
    stage.show(&["get", "validatingwebhookconfigurations"]).await?;

    let converged = |status: &_| holds(status, ConditionType::Converged) && holds(status, ConditionType::Enforcing);
    stage.status("converged and enforcing after the drift", converged).await?;
    let changed = state::difference(&before, &state::read(&stage.client).await?);
    expect(
        changed.is_empty(),
        || "the shop and the cluster's role bindings after the drift".into(),
        || "as before".into(),
        || format!("{} changed", changed.join(", ")),
    )?;
    stage.report.met(&format!("{} objects are what they were before", before.len()));
    let client = stage.client.clone();
    let images = stage
        .eventually("Pods of the declared images only", async || {
            let images = state::images(&client).await?;
            let last = format!("{images:?}");
            Ok(if images.of_pods == images.declared {
                ControlFlow::Break(images.of_pods)
            } else {
                ControlFlow::Continue(last)
            })
        })
        .await?;
    let images = images.into_iter().collect::<Vec<_>>().join(", ");
    stage.report.met(&format!("and no Pod of the shop is left with another image than those declared: {images}"));
    stage.show(&["get", "enforcements"]).await?;
    Ok(Bypassed { drifts: forced.len(), deletions: windows.len() })
}

/// Deletes the configuration until every change got in.
async fn open_windows(stage: &mut Stage, landed: &AtomicUsize) -> Result<Vec<Window>, StoryError> {
    let delete = ["delete", "validatingwebhookconfiguration", webhook_configuration::NAME];
    let mut windows = Vec::new();
    while landed.load(Ordering::Relaxed) < Drift::ALL.len() {
        expect(
            windows.len() < MOST_DELETIONS,
            || format!("forcing {} changes in", Drift::ALL.len()),
            || format!("all are in after {MOST_DELETIONS} deletions of the webhook configuration"),
            || format!("{} are in; the others were rejected throughout", landed.load(Ordering::Relaxed)),
        )?;
        let closing = observe(&stage.client).await?;
        if windows.is_empty() {
            stage.show(&delete).await?;
        } else {
            let answer = stage.kubectl.run(&stage.administrator.kubeconfig, &delete).await?;
            expect(answer.success, || Kubectl::line(&delete), || "success".into(), || answer.text.clone())?;
        }
        windows.push(closing.await?);
        stage.pair.check()?;
    }
    Ok(windows)
}

fn report_windows(stage: &mut Stage, windows: &[Window]) {
    if windows.len() > 1 {
        stage.report.say(&format!("It took {} deletions until all of it was in.", windows.len()));
    }
    let restored = range(windows.iter().map(|window| window.restored));
    stage.report.met(&format!("the webhook configuration was back after {restored}"));
    let enforcing = range(windows.iter().filter_map(|window| window.enforcing));
    stage.report.met(&format!(
        "and enforcing again after {enforcing}: from then on a test write every few milliseconds was rejected"
    ));
}

/// `12 ms`, or `12 ms to 25 ms` of several.
fn range(durations: impl Iterator<Item = Duration> + Clone) -> String {
    match (durations.clone().min(), durations.max()) {
        (Some(least), Some(most)) if least < most => format!("{} to {}", took(least), took(most)),
        (Some(only), _) => took(only),
        (None, _) => "no time that could be measured".into(),
    }
}

impl From<DriftError> for StoryError {
    fn from(error: DriftError) -> Self {
        Self::Unexpected {
            what: "drift while the webhook configuration is deleted".into(),
            expected: "it gets in and is undone".into(),
            observed: error.to_string(),
        }
    }
}

impl From<WindowError> for StoryError {
    fn from(error: WindowError) -> Self {
        Self::Unexpected {
            what: "the webhook configuration after its deletion".into(),
            expected: "it is restored and in force".into(),
            observed: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let milliseconds =
            |all: &[u64]| range(all.iter().copied().map(Duration::from_millis).collect::<Vec<_>>().into_iter());
        assert_eq!(milliseconds(&[12]), "12 ms");
        assert_eq!(milliseconds(&[25, 12]), "12 ms to 25 ms");
        assert_eq!(milliseconds(&[]), "no time that could be measured");
    }
}
