//! Who is who on the embedded control plane: its authority, the certificates and keys of its components, and
//! kubeconfigs for people and service accounts.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kube::config::{AuthInfo, Cluster, Context, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext};

use crate::tls::issue::{Authority, IssueError, Issued, SigningKeys};

/// The group that Kubernetes lets do everything.
const ADMINISTRATORS: &str = "system:masters";
const SERVING_VALIDITY: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The last one is the first address of the service range, which the API server gives to itself.
const APISERVER_NAMES: [&str; 7] = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
    "127.0.0.1",
    "10.0.0.1",
];

#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot write a kubeconfig as JSON: {0}")]
    Serialize(#[from] serde_json::Error),
}

/// What the components are given by name.
#[derive(Clone, Debug)]
pub(super) struct Files {
    directory: PathBuf,
    pub(super) authority: PathBuf,
    pub(super) authority_key: PathBuf,
    pub(super) apiserver_certificate: PathBuf,
    pub(super) apiserver_key: PathBuf,
    pub(super) service_account_public_key: PathBuf,
    pub(super) service_account_private_key: PathBuf,
    pub(super) controller_manager: PathBuf,
    pub(super) administrator: PathBuf,
}

impl Files {
    pub(super) fn below(directory: &Path) -> Self {
        Self {
            directory: directory.into(),
            authority: directory.join("ca.crt"),
            authority_key: directory.join("ca.key"),
            apiserver_certificate: directory.join("apiserver.crt"),
            apiserver_key: directory.join("apiserver.key"),
            service_account_public_key: directory.join("service-account.pub"),
            service_account_private_key: directory.join("service-account.key"),
            controller_manager: directory.join("kube-controller-manager.kubeconfig"),
            administrator: directory.join("admin.kubeconfig"),
        }
    }
}

/// How a client proves who it is.
enum Proof<'a> {
    Certificate(&'a Issued),
    Token(&'a str),
}

pub(super) struct Credentials {
    authority: Authority,
    server: String,
    files: Files,
}

impl Credentials {
    /// Makes the authority and writes what the components need.
    pub(super) fn create(directory: &Path, port: u16) -> Result<Self, CredentialError> {
        fs::DirBuilder::new()
            .mode(0o700)
            .create(directory)
            .map_err(|source| CredentialError::Write { path: directory.into(), source })?;
        let files = Files::below(directory);
        let authority = Authority::new("gitadel-demo")?;
        let apiserver = authority.issue_server(&APISERVER_NAMES, SERVING_VALIDITY)?;
        let signing = SigningKeys::generate()?;
        for (path, content) in [
            (&files.authority, authority.certificate()),
            (&files.authority_key, &authority.key()),
            (&files.apiserver_certificate, &apiserver.certificate),
            (&files.apiserver_key, &apiserver.key),
            (&files.service_account_public_key, &signing.public),
            (&files.service_account_private_key, &signing.private),
        ] {
            write(path, content.as_bytes())?;
        }
        let credentials = Self { authority, server: String::new(), files };
        credentials.at(port)
    }

    /// The same credentials for an API server on this port.
    pub(super) fn at(mut self, port: u16) -> Result<Self, CredentialError> {
        self.server = format!("https://127.0.0.1:{port}");
        let controller_manager = self.authenticated("system:kube-controller-manager", None)?;
        write_kubeconfig(&self.files.controller_manager, &controller_manager)?;
        write_kubeconfig(&self.files.administrator, &self.administrator()?)?;
        Ok(self)
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    pub(super) fn server(&self) -> &str {
        &self.server
    }

    pub(super) fn administrator(&self) -> Result<Kubeconfig, CredentialError> {
        self.authenticated("kubernetes-admin", Some(ADMINISTRATORS))
    }

    /// A kubeconfig with a fresh client certificate.
    pub(super) fn authenticated(&self, user: &str, group: Option<&str>) -> Result<Kubeconfig, CredentialError> {
        let issued = self.authority.issue_client(user, group)?;
        Ok(self.kubeconfig(user, &Proof::Certificate(&issued)))
    }

    pub(super) fn bearing(&self, user: &str, token: &str) -> Kubeconfig {
        self.kubeconfig(user, &Proof::Token(token))
    }

    /// Writes a kubeconfig and tells where. One with the same name is replaced.
    pub(super) fn save(&self, name: &str, kubeconfig: &Kubeconfig) -> Result<PathBuf, CredentialError> {
        // A user name like `system:serviceaccount:shop:web` may hold anything; a file name may not.
        let name: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.:".contains(c) { c } else { '_' }).collect();
        let path = self.files.directory.join(format!("user-{name}.kubeconfig"));
        write_kubeconfig(&path, kubeconfig)?;
        Ok(path)
    }

    fn kubeconfig(&self, user: &str, proof: &Proof<'_>) -> Kubeconfig {
        let auth_info = match proof {
            Proof::Certificate(issued) => AuthInfo {
                client_certificate_data: Some(BASE64.encode(&issued.certificate)),
                client_key_data: Some(BASE64.encode(&issued.key).into()),
                ..AuthInfo::default()
            },
            Proof::Token(token) => AuthInfo { token: Some((*token).to_owned().into()), ..AuthInfo::default() },
        };
        let name = "gitadel-demo";
        Kubeconfig {
            kind: Some("Config".into()),
            api_version: Some("v1".into()),
            clusters: vec![NamedCluster {
                name: name.into(),
                cluster: Some(Cluster {
                    server: Some(self.server.clone()),
                    certificate_authority_data: Some(BASE64.encode(self.authority.certificate())),
                    ..Cluster::default()
                }),
                ..NamedCluster::default()
            }],
            auth_infos: vec![NamedAuthInfo {
                name: user.into(),
                auth_info: Some(auth_info),
                ..NamedAuthInfo::default()
            }],
            contexts: vec![NamedContext {
                name: name.into(),
                context: Some(Context { cluster: name.into(), user: Some(user.into()), ..Context::default() }),
                ..NamedContext::default()
            }],
            current_context: Some(name.into()),
            ..Kubeconfig::default()
        }
    }
}

/// As JSON, which is YAML.
fn write_kubeconfig(path: &Path, kubeconfig: &Kubeconfig) -> Result<(), CredentialError> {
    write(path, &serde_json::to_vec_pretty(kubeconfig)?)
}

fn write(path: &Path, content: &[u8]) -> Result<(), CredentialError> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .map_err(|source| CredentialError::Write { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::demo::control_plane::guard::Scratch;

    #[test]
    fn kubeconfigs_name_server_authority_and_user_and_are_private() {
        let scratch = Scratch::temporary().unwrap();
        let credentials = Credentials::create(&scratch.path().join("credentials"), 6443).unwrap();
        let path = credentials.save("../a/b", &credentials.bearing("robot", "secret-token")).unwrap();
        assert_eq!(path.parent(), Some(credentials.files().directory.as_path()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let read = Kubeconfig::read_from(&path).unwrap();
        let cluster = read.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://127.0.0.1:6443"));
        let authority = BASE64.decode(cluster.certificate_authority_data.as_ref().unwrap()).unwrap();
        assert_eq!(authority, credentials.authority.certificate().as_bytes());
        assert!(fs::read_to_string(&path).unwrap().contains("secret-token"));
    }
}
