//! `gitadel demo`: the story that the README tells, on a real control plane.
//!
//! Everything that is printed has happened a moment before: commands are run, messages are what the API server answered,
//! durations are measured. Whatever is not as it should be ends the story with a failure, so the demo is a test as well.

pub mod control_plane;
mod installation;
mod kubectl;
pub mod metrics;
pub mod ports;
mod processes;
mod report;
mod repository;
mod steps;
mod story;

use std::io;
use std::time::Instant;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use control_plane::{ControlPlane, ControlPlaneError, Options};
use installation::{ENFORCEMENT, InstallationError};
use kubectl::{KubectlError, Program};
use processes::{Layout, Pair, ProcessError};
use report::{Report, command_line, took};
use repository::{Repository, RepositoryError};
use story::{Person, Stage, StoryError};

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Leave everything running at the end, until Ctrl-C, and print how to reach it
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("signals cannot be awaited: {0}")]
    Signals(#[source] io::Error),
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    ControlPlane(#[from] ControlPlaneError),
    #[error(transparent)]
    Installation(#[from] InstallationError),
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error(transparent)]
    Processes(#[from] ProcessError),
    #[error(transparent)]
    Kubectl(#[from] KubectlError),
    #[error("the demo deviates from what it should show: see above")]
    Deviation(#[source] StoryError),
}

/// Tells the story. All that was started is gone when this returns.
pub async fn run(args: DemoArgs) -> Result<(), DemoError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DemoError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(DemoError::Signals)?;
    let mut stopped = Box::pin(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    // What is dropped half-way ends its processes and removes its files, too.
    let (control_plane, mut stage) = tokio::select! {
        prepared = prepare() => prepared?,
        () = &mut stopped => return Err(DemoError::Interrupted),
    };
    let outcome = tokio::select! {
        told = story::tell(&mut stage) => told.map_err(DemoError::Deviation),
        () = &mut stopped => Err(DemoError::Interrupted),
    };
    match &outcome {
        Ok(()) if args.keep => {
            invite(&control_plane, &mut stage);
            stopped.await;
        }
        Err(DemoError::Deviation(deviation)) => explain(&mut stage, deviation),
        Ok(()) | Err(_) => {}
    }
    end(control_plane, stage).await;
    outcome
}

/// The stage is set: a cluster, a repository and the two processes, which have nothing to enforce yet.
async fn prepare() -> Result<(ControlPlane, Stage), DemoError> {
    let mut report = Report::to_stdout();
    report.title("gitadel demo: Git is the only way in");
    report.step("A cluster, a Git repository, and gitadel");
    // Before anything is built or started in vain.
    let kubectl = Program::find()?;
    let start = Instant::now();
    let control_plane = ControlPlane::start(Options::default()).await?;
    report.met(&format!(
        "etcd, kube-apiserver and kube-controller-manager run on loopback, ready after {}",
        took(start.elapsed())
    ));
    let directory = control_plane.directory().to_owned();
    let kubectl = kubectl.with_cache(&directory.join("kubectl-cache"));
    let layout = Layout::new(&directory)?;
    let repository = Repository::create(&directory, &layout.program, &layout.notification_url(ENFORCEMENT)).await?;
    repository.write("README.md", "# The shop\n\nWhat the cluster is.\n")?;
    repository.commit("Begin with nothing").await?;
    repository.push().await?;
    report.met(&format!("a Git repository, whose hook notifies gitadel of a push: {}", repository.url()));

    installation::install(&control_plane, &kubectl, &mut report).await?;
    let reconciler = installation::reconciler_kubeconfig(&control_plane).await?;
    let pair = Pair::start(&layout, &reconciler, control_plane.scratch())?;
    report.say("The two containers of gitadel's Pod, here as processes of their own:");
    for line in layout.summary() {
        report.output(&line);
    }
    installation::enforce(&control_plane, &kubectl, &mut report, &repository.url()).await?;

    let stage = Stage {
        pair,
        report,
        kubectl,
        client: control_plane.client(),
        repository,
        alice: Person { who: "alice", kubeconfig: control_plane.kubeconfig_for("alice", None)? },
        administrator: Person { who: "system:masters", kubeconfig: control_plane.kubeconfig().to_owned() },
        thief: Person { who: "gitadel's own token", kubeconfig: reconciler },
        denials: 0,
    };
    Ok((control_plane, stage))
}

/// For a shell: whoever reads this wants to attack.
fn invite(control_plane: &ControlPlane, stage: &mut Stage) {
    let report = &mut stage.report;
    report.step("Now you");
    report.say("All of it keeps running until Ctrl-C. Paste this into another shell, and try to get round Git:");
    report.verbatim("");
    for (name, value) in [
        ("KUBECONFIG", control_plane.kubeconfig().to_string_lossy().into_owned()),
        ("GITADEL_REPOSITORY", stage.repository.url()),
        ("GITADEL_METRICS", stage.pair.layout().reconciler_metrics()),
        ("GITADEL_WEBHOOK_METRICS", stage.pair.layout().webhook_metrics()),
    ] {
        report.verbatim(&command_line("export", [&*format!("{name}={value}")]));
    }
    report.verbatim("");
}

/// What went wrong, and what the processes had to say about it.
fn explain(stage: &mut Stage, deviation: &StoryError) {
    stage.report.verbatim("");
    stage.report.failed(&deviation.to_string());
    for (name, tail) in stage.pair.logs() {
        stage.report.verbatim("");
        stage.report.log(&name, &tail);
    }
}

async fn end(control_plane: ControlPlane, stage: Stage) {
    let mut report = stage.report;
    // The directory is removed with the control plane, and only when nobody is left who uses it.
    drop(stage.pair);
    control_plane.stop().await;
    report.verbatim("");
    report.say("All processes have ended, all files are removed.");
}
