//! Runs kubectl as a person would, and tells what it said and how long it took.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::control_plane::assets::{self, AssetError};
use super::report::command_line;

#[derive(Debug, thiserror::Error)]
pub enum KubectlError {
    #[error(transparent)]
    Missing(#[from] AssetError),
    #[error("kubectl cannot be run: {0}")]
    Run(#[from] io::Error),
}

/// kubectl, with a cache of its own: what it learns of this API server is of no use to the next one on the same port.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    cache: PathBuf,
}

/// What one run brought.
#[derive(Debug)]
pub struct Answer {
    pub success: bool,
    /// Standard output, then standard error.
    pub text: String,
    /// As the person before the terminal sees it: with the start of kubectl itself.
    pub took: Duration,
}

/// The kubectl of this machine.
pub struct Program(PathBuf);

impl Program {
    pub fn find() -> Result<Self, KubectlError> {
        Ok(Self(assets::kubectl()?))
    }

    pub fn with_cache(self, cache: &Path) -> Kubectl {
        Kubectl { program: self.0, cache: cache.into() }
    }
}

impl Kubectl {
    /// The command line, as it can be typed where `KUBECONFIG` is set.
    pub fn line(arguments: &[&str]) -> String {
        command_line("kubectl", arguments.iter().copied())
    }

    pub async fn run(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<Answer, KubectlError> {
        self.run_with_input(kubeconfig, arguments, "").await
    }

    pub async fn run_with_input(
        &self,
        kubeconfig: &Path,
        arguments: &[&str],
        input: &str,
    ) -> Result<Answer, KubectlError> {
        let start = Instant::now();
        let mut child = Command::new(&self.program)
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .env("KUBECACHEDIR", &self.cache)
            // Colours and aliases of the user's own kuberc would change what is run and shown.
            .env("KUBERC", "off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // It may end without reading; then its answer tells why.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = child.wait_with_output().await?;
        let took = start.elapsed();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        Ok(Answer { success: output.status.success(), text, took })
    }
}
