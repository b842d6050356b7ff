//! `gitadel static-admission`: the files of [`crate::static_admission`], for the cluster that the environment names.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::{Api, Client, Config, Resource};
use serde_json::Value;

use super::target::TargetArgs;
use crate::api::Enforcement;
use crate::client::client;
use crate::reconcile::discovery::{Discovery, DiscoveryError};
use crate::reconcile::settings::{self, SettingsError};
use crate::snapshot::{KindInfo, Source};
use crate::static_admission::{
    Credential, CredentialError, File, ManifestError, Protection, ProtectionError, Registrations, files,
};

#[derive(Args, Debug)]
pub struct StaticAdmissionArgs {
    /// Where to write the files.
    #[arg(long)]
    output: PathBuf,
    /// Where kube-apiserver will find them.
    #[arg(long, default_value = "/etc/kubernetes/gitadel", value_parser = absolute)]
    host_directory: PathBuf,
    #[command(flatten)]
    target: TargetArgs,
    /// The authorities that sign the webhook's serving certificates, as PEM: ca.crt of the given --tls-dir. During a
    /// rotation the old and the new one.
    #[arg(long)]
    ca_file: PathBuf,
    /// Client certificate, as PEM and without its key, whose bearer may do what is denied to everybody else. May be
    /// repeated; without one, only the files themselves are a way out.
    #[arg(long)]
    offline_certificate: Vec<PathBuf>,
    /// Name of a webhook configuration, policy or binding of others that may be created and changed. May be repeated.
    /// With --webhook-url and without a name, gitadel's webhook judges them instead.
    #[arg(long)]
    registration: Vec<String>,
    /// Who the reconciler is to the API server.
    #[arg(long, default_value = "system:serviceaccount:gitadel-system:gitadel")]
    reconciler_user: Vec<String>,
    /// Enforcements to protect instead of those that the cluster has now: before a commit that changes their scopes.
    #[arg(long)]
    enforcements: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum StaticAdmissionError {
    #[error("no access to a cluster: {0}. KUBECONFIG names the one to protect")]
    Config(#[from] kube::config::InferConfigError),
    #[error("the API server cannot be asked: {0}")]
    Client(#[from] kube::Error),
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    #[error("cannot {action} {path}: {source}")]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{path} is no YAML: {reason}")]
    Yaml { path: PathBuf, reason: String },
    #[error("Enforcement {name:?} is not understood: {source}")]
    Enforcement { name: String, source: SettingsError },
    #[error("{path}: {source}")]
    Credential { path: PathBuf, source: CredentialError },
    #[error(transparent)]
    Protection(#[from] ProtectionError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("it must be an absolute path, as kube-apiserver demands".into()) }
}

/// # Errors
/// The cluster or a file cannot be read, or the files not be written.
pub async fn run(args: StaticAdmissionArgs) -> Result<(), StaticAdmissionError> {
    let mut config = Config::infer().await?;
    // As the reconciler: a proxy for the world outside would get the cluster's credentials.
    config.proxy_url = None;
    let client = client(config)?;
    let enforcements = match &args.enforcements {
        Some(path) => from_file(path)?,
        None => from_cluster(&client).await?,
    };
    let sources = enforcements.iter().map(source).collect::<Result<Vec<_>, _>>()?;
    let registrations = match &args.target.webhook_url {
        Some(url) if args.registration.is_empty() => Registrations::Judged { url: url.clone() },
        _ => Registrations::Named(args.registration.into_iter().collect()),
    };
    let protection = Protection::new(
        sources,
        kinds(&Discovery::read(&client).await?),
        args.target.target(),
        &String::from_utf8_lossy(&read(&args.ca_file)?),
        args.reconciler_user.into_iter().collect::<BTreeSet<_>>(),
        args.offline_certificate.iter().map(|path| credential(path)).collect::<Result<_, _>>()?,
        registrations,
    )?;
    for file in files(&protection, &args.host_directory)? {
        write(&args.output, &file)?;
    }
    Ok(())
}

fn kinds(discovery: &Discovery) -> Vec<KindInfo> {
    discovery.kinds().flat_map(|(_, versions)| versions.iter().map(|served| served.info.clone())).collect()
}

async fn from_cluster(client: &Client) -> Result<Vec<Value>, kube::Error> {
    // As they are stored: one that is not understood must be named, not left out.
    let kind = kube::api::ApiResource::erase::<Enforcement>(&());
    let listed = Api::<DynamicObject>::all_with(client.clone(), &kind).list(&ListParams::default()).await?;
    Ok(listed.items.into_iter().filter_map(|object| serde_json::to_value(object).ok()).collect())
}

fn from_file(path: &Path) -> Result<Vec<Value>, StaticAdmissionError> {
    let text = String::from_utf8_lossy(&read(path)?).into_owned();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
        .map_err(|error| StaticAdmissionError::Yaml { path: path.to_owned(), reason: error.to_string() })?;
    let kind = Enforcement::kind(&());
    Ok(documents.into_iter().filter(|document| document["kind"] == *kind).collect())
}

fn source(enforcement: &Value) -> Result<Source, StaticAdmissionError> {
    settings::read(enforcement).and_then(|enforcement| settings::source(&enforcement)).map_err(|source| {
        let name = enforcement["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        StaticAdmissionError::Enforcement { name, source }
    })
}

fn credential(path: &Path) -> Result<Credential, StaticAdmissionError> {
    Credential::of_certificate(&read(path)?)
        .map_err(|source| StaticAdmissionError::Credential { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<Vec<u8>, StaticAdmissionError> {
    fs::read(path).map_err(|source| StaticAdmissionError::File { action: "read", path: path.to_owned(), source })
}

/// In one step: kube-apiserver may be watching the directory.
fn write(directory: &Path, file: &File) -> Result<(), StaticAdmissionError> {
    let path = directory.join(&file.path);
    let failed = |action| {
        let path = path.clone();
        move |source| StaticAdmissionError::File { action, path, source }
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed("make the directory of"))?;
    }
    // It reads what ends in .yaml.
    let new = path.with_extension("yaml.new");
    fs::write(&new, &file.content).map_err(failed("write"))?;
    fs::rename(&new, &path).map_err(failed("replace"))
}
