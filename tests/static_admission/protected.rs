//! A cluster whose API server protects gitadel's webhook configuration by files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use gitadel::tls::issue::Authority;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::support::governed::Governed;
use super::support::shop::SHOP;
use super::support::{self, client};

pub struct Protected {
    pub governed: Governed,
    /// What the API server is given.
    pub directory: PathBuf,
    /// Whose certificate the files name.
    pub offline: PathBuf,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Protected {
    /// gitadel enforces, serves with a certificate of an authority that it was given, and the files are in force.
    pub async fn start(arguments: &[&str]) -> Self {
        let mut governed = Governed::prepare(&[("shop.yaml", SHOP)]).await;
        give_pair(&governed.run_directory.join("tls"));
        governed.run();
        governed.enforce(governed.enforcement()).await;
        governed.converged().await;
        let directory = governed.control_plane.directory().join("static-admission");
        let offline = governed.control_plane.kubeconfig_for("offline", Some("system:masters")).unwrap();
        let mut protected = Self { governed, directory, offline };
        let output = protected.generate(arguments);
        assert!(output.status.success(), "{output:?}");
        protected.governed.control_plane.reconfigure_apiserver(protected.flags()).await.expect("an API server");
        protected.governed.client = client(&protected.governed.control_plane).await;
        protected.governed.converged().await;
        protected
    }

    pub fn flags(&self) -> Vec<String> {
        let configuration = self.directory.join("admission-configuration.yaml");
        vec![
            "--feature-gates=ManifestBasedAdmissionControlConfig=true".into(),
            format!("--admission-control-config-file={}", configuration.display()),
        ]
    }

    /// Runs `gitadel static-admission` as an administrator.
    pub fn generate(&self, arguments: &[&str]) -> Output {
        let certificate = self.governed.control_plane.directory().join("offline.crt");
        fs::write(&certificate, certificate_of(&self.offline)).unwrap();
        support::gitadel()
            .arg("static-admission")
            .arg("--output")
            .arg(&self.directory)
            .arg("--host-directory")
            .arg(&self.directory)
            .arg("--ca-file")
            .arg(self.governed.run_directory.join("tls/ca.crt"))
            .arg("--offline-certificate")
            .arg(&certificate)
            .args(["--webhook-url", &self.governed.webhook_url()])
            .args(arguments)
            .env("KUBECONFIG", self.governed.control_plane.kubeconfig())
            .output()
            .unwrap()
    }
}

fn give_pair(directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    let authority = Authority::new("given").unwrap();
    let issued = authority.issue_server(&["127.0.0.1"], DAY).unwrap();
    fs::write(directory.join("tls.crt"), issued.certificate).unwrap();
    fs::write(directory.join("tls.key"), issued.key).unwrap();
    fs::write(directory.join("ca.crt"), authority.certificate()).unwrap();
}

pub fn certificate_of(kubeconfig: &Path) -> Vec<u8> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let auth_info = kubeconfig.auth_infos[0].auth_info.as_ref().unwrap();
    BASE64.decode(auth_info.client_certificate_data.as_ref().unwrap()).unwrap()
}

pub async fn client_of(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.proxy_url = None;
    Client::try_from(config).unwrap()
}
