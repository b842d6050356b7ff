//! `gitadel audit`: what could get round gitadel in a cluster, for a person or for CI.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use kube::Config;
use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};

use crate::audit::finding::Severity;
use crate::audit::{Report, audit, read, text};
use crate::client::client;
use crate::reconcile::discovery::DiscoveryError;

/// Nothing at or above the threshold.
const CLEAN: u8 = 0;
const FINDINGS: u8 = 1;
/// Also what clap exits with where the arguments are wrong.
const COULD_NOT: u8 = 2;
/// Of a file or a pipe, which has no width.
const WIDTH: usize = 120;

const AFTER_HELP: &str = "\
Exit codes:
  0  no finding is as severe as --fail-on
  1  at least one is
  2  the cluster could not be audited, or not all of it (see --allow-incomplete)

It reads with your rights and writes nothing: whether admission is in force, and whether the webhook
configuration is protected, it asks by dry-runs. The data of Secrets is not read. examples/audit-rbac.yaml
has the rights that it needs; docs/operations.md says what the findings mean.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct AuditArgs {
    /// Path of the kubeconfig file; without it KUBECONFIG, ~/.kube/config, or the Pod's service account
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Name of the kubeconfig context to use
    #[arg(long)]
    context: Option<String>,
    /// How the report looks
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Show only findings that are at least so severe
    #[arg(long, value_enum, default_value_t = Severity::Info, value_name = "SEVERITY")]
    severity: Severity,
    /// Exit with 1 if a finding is at least so severe, shown or not
    #[arg(long, value_enum, default_value_t = Severity::High, value_name = "SEVERITY")]
    fail_on: Severity,
    /// Do not exit with 2 where something could not be looked at; it is a finding all the same
    #[arg(long)]
    allow_incomplete: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    #[default]
    Table,
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error(
        "no access to a cluster: {0}. Name a kubeconfig by --kubeconfig or KUBECONFIG, and a context of it by --context"
    )]
    Kubeconfig(#[from] KubeconfigError),
    #[error("no access to a cluster: {0}. Name a kubeconfig by --kubeconfig or KUBECONFIG")]
    Config(#[from] InferConfigError),
    #[error("the API server cannot be asked: {0}")]
    Client(#[from] kube::Error),
    #[error("cannot audit the cluster: {0}")]
    Discovery(#[from] DiscoveryError),
    #[error("the report cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the report cannot be written: {0}")]
    Write(io::Error),
}

impl AuditError {
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(COULD_NOT)
    }
}

pub async fn run(args: AuditArgs) -> Result<ExitCode, AuditError> {
    let client = client(config(&args).await?)?;
    let report = audit(&read(&client).await?);
    let code = exit_code(&report, &args);
    let shown = report.at_least(args.severity);
    let told = match args.output {
        Output::Table => text::render(&shown, width()),
        Output::Json => serde_json::to_string_pretty(&shown)? + "\n",
    };
    match io::stdout().write_all(told.as_bytes()) {
        // Whoever reads only the beginning has seen enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(AuditError::Write(error)),
        _ => Ok(ExitCode::from(code)),
    }
}

fn exit_code(report: &Report, args: &AuditArgs) -> u8 {
    if !report.complete && !args.allow_incomplete {
        COULD_NOT
    } else if report.has(args.fail_on) {
        FINDINGS
    } else {
        CLEAN
    }
}

async fn config(args: &AuditArgs) -> Result<Config, AuditError> {
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    let mut config = match &args.kubeconfig {
        Some(path) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?,
        None if args.context.is_some() => Config::from_kubeconfig(&options).await?,
        None => Config::infer().await?,
    };
    // kube takes HTTPS_PROXY for loopback addresses, too, which kubectl does not.
    if config.cluster_url.host().is_some_and(|host| ["127.0.0.1", "localhost", "[::1]"].contains(&host)) {
        config.proxy_url = None;
    }
    Ok(config)
}

/// The shell tells a terminal's width by `COLUMNS`, where it does.
fn width() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    told.filter(|_| io::stdout().is_terminal()).unwrap_or(WIDTH)
}
