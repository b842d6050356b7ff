//! The command line.

mod audit;
mod crd;
mod notify;
mod reconcile;
mod signals;
mod static_admission;
mod target;
mod webhook;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::demo;
use crate::telemetry::{COMMANDS, LogFormat, SERVICES, start_log};

/// Git is the only way in.
#[derive(Debug, Parser)]
#[command(
    name = "gitadel",
    version,
    after_help = "RUST_LOG chooses what is logged, such as info,gitadel=debug: see the env-filter of tracing-subscriber."
)]
pub struct Cli {
    /// How the log lines of webhook and reconcile look
    #[arg(long, value_enum, default_value_t, global = true, env = "GITADEL_LOG_FORMAT")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer admission reviews from the snapshot
    Webhook(webhook::WebhookArgs),
    /// Make the cluster what Git declares, and keep it so
    Reconcile(reconcile::ReconcileArgs),
    /// Tell what in a cluster could get round gitadel, who could do it, and what closes it
    Audit(audit::AuditArgs),
    /// Tell the reconciler of a push: for the post-receive hook of a Git server
    Notify(notify::NotifyArgs),
    /// Tell gitadel's story on a real control plane: what is rejected, what is undone, how long it takes
    Demo(demo::DemoArgs),
    /// Write the files by which kube-apiserver itself protects gitadel's webhook configuration
    StaticAdmission(static_admission::StaticAdmissionArgs),
    /// Print the CustomResourceDefinition of Enforcement as YAML
    Crd,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Webhook(#[from] webhook::WebhookError),
    #[error(transparent)]
    Reconcile(#[from] reconcile::ReconcileError),
    #[error(transparent)]
    Audit(#[from] audit::AuditError),
    #[error(transparent)]
    Notify(#[from] notify::NotifyError),
    #[error(transparent)]
    Demo(#[from] demo::DemoError),
    #[error(transparent)]
    StaticAdmission(#[from] static_admission::StaticAdmissionError),
    #[error(transparent)]
    Crd(#[from] crd::CrdError),
}

impl CommandError {
    fn exit_code(&self) -> ExitCode {
        match self {
            // CI tells what was found from what could not be looked for.
            Self::Audit(error) => error.exit_code(),
            _ => ExitCode::FAILURE,
        }
    }
}

impl Command {
    /// Whether this runs until it is told to stop, watched by its log.
    fn is_service(&self) -> bool {
        matches!(self, Self::Webhook(_) | Self::Reconcile(_))
    }

    async fn run(self) -> Result<ExitCode, CommandError> {
        match self {
            Self::Webhook(args) => webhook::run(args).await?,
            Self::Reconcile(args) => reconcile::run(args).await?,
            Self::Audit(args) => return Ok(audit::run(args).await?),
            Self::Notify(args) => notify::run(args).await?,
            Self::Demo(args) => demo::run(args).await?,
            Self::StaticAdmission(args) => static_admission::run(args).await?,
            Self::Crd => crd::run()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Runs the command that was given, and says why it failed: a service in its log, any other to whoever typed it.
pub async fn run(cli: Cli) -> ExitCode {
    let is_service = cli.command.is_service();
    if let Err(error) = start_log(cli.log_format, if is_service { SERVICES } else { COMMANDS }) {
        eprintln!("gitadel: {error}");
        return ExitCode::FAILURE;
    }
    match cli.command.run().await {
        Ok(code) => code,
        Err(error) if is_service => {
            tracing::error!("{error}");
            error.exit_code()
        }
        Err(error) => {
            eprintln!("gitadel: {error}");
            error.exit_code()
        }
    }
}
