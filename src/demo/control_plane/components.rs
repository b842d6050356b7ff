//! The command lines of etcd, kube-apiserver and kube-controller-manager: as close to a real cluster's as one machine
//! without nodes allows, since what gitadel must not disturb is what these components do.

use std::path::{Path, PathBuf};

use super::Options;
use super::assets::Assets;
use super::credentials::Files;
use super::guard::Launch;

/// What the API server publishes as its address in the Endpoints of the `kubernetes` Service. They must not hold a
/// loopback address; this one is set aside for documentation (RFC 5737) and reaches nobody.
const ADVERTISED_ADDRESS: &str = "192.0.2.1";

/// The longest path of a Unix socket is 104 to 108 bytes, with its end marker.
const SOCKET_PATH: usize = 103;

/// Where everything of one control plane lies.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.into() }
    }

    pub(super) fn credentials(&self) -> PathBuf {
        self.root.join("credentials")
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    fn log(&self, component: &str) -> PathBuf {
        self.logs().join(format!("{component}.log"))
    }

    fn data(&self) -> PathBuf {
        self.root.join("etcd")
    }

    /// etcd is reached through a socket in a directory that only this user may enter: no port to fight for, and nobody
    /// else on the machine can write behind the API server's back.
    pub(super) fn socket(&self) -> PathBuf {
        self.root.join("etcd.sock")
    }

    pub(super) fn socket_path_fits(&self) -> bool {
        self.socket().as_os_str().len() <= SOCKET_PATH
    }
}

pub(super) fn etcd(assets: &Assets, layout: &Layout) -> Launch {
    let client = format!("unix://{}", layout.socket().display());
    // A member must have a peer address, even if it never has a peer.
    let peer = format!("unix://{}", layout.root.join("peer.sock").display());
    Launch::new("etcd", &assets.etcd, &layout.log("etcd")).arguments([
        "--name=demo".to_owned(),
        format!("--data-dir={}", layout.data().display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=demo={peer}"),
        "--log-level=warn".into(),
        // The data need not outlive the machine, so they need not reach the disk.
        "--unsafe-no-fsync".into(),
    ])
}

pub(super) fn kube_apiserver(assets: &Assets, layout: &Layout, files: &Files, port: u16, options: &Options) -> Launch {
    let mut launch = Launch::new("kube-apiserver", &assets.kube_apiserver, &layout.log("kube-apiserver")).arguments([
        format!("--etcd-servers=unix://{}", layout.socket().display()),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
        format!("--advertise-address={ADVERTISED_ADDRESS}"),
        format!("--tls-cert-file={}", files.apiserver_certificate.display()),
        format!("--tls-private-key-file={}", files.apiserver_key.display()),
        format!("--client-ca-file={}", files.authority.display()),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--allow-privileged=true".into(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        format!("--service-account-key-file={}", files.service_account_public_key.display()),
        format!("--service-account-signing-key-file={}", files.service_account_private_key.display()),
        "--service-cluster-ip-range=10.0.0.0/24".into(),
        format!("--v={}", options.verbosity),
    ]);
    launch = launch.arguments(&options.apiserver_flags);
    launch
}

pub(super) fn kube_controller_manager(assets: &Assets, layout: &Layout, files: &Files, options: &Options) -> Launch {
    let name = "kube-controller-manager";
    Launch::new(name, &assets.kube_controller_manager, &layout.log(name)).arguments([
        format!("--kubeconfig={}", files.controller_manager.display()),
        // It is alone, and nobody asks for its health: no lease to wait for, no port to find.
        "--leader-elect=false".into(),
        "--secure-port=0".into(),
        // Each controller writes under its own name, with the rights of its own role, as in every real cluster.
        "--use-service-account-credentials=true".into(),
        format!("--service-account-private-key-file={}", files.service_account_private_key.display()),
        format!("--root-ca-file={}", files.authority.display()),
        format!("--cluster-signing-cert-file={}", files.authority.display()),
        format!("--cluster-signing-key-file={}", files.authority_key.display()),
        // The defaults (20 requests a second for each client) suit clusters that have hours.
        "--kube-api-qps=500".into(),
        "--kube-api-burst=1000".into(),
        "--horizontal-pod-autoscaler-sync-period=2s".into(),
        "--pvclaimbinder-sync-period=2s".into(),
        format!("--v={}", options.verbosity),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_path_that_the_kernel_refuses_is_noticed() {
        assert!(Layout::new(Path::new("/tmp/gitadel-0123456789ab")).socket_path_fits());
        assert!(!Layout::new(Path::new(&format!("/{}", "d".repeat(100)))).socket_path_fits());
    }

    #[test]
    fn given_flags_come_last_so_that_they_win() {
        let assets = Assets {
            etcd: "etcd".into(),
            kube_apiserver: "kube-apiserver".into(),
            kube_controller_manager: "kube-controller-manager".into(),
        };
        let layout = Layout::new(Path::new("/tmp/x"));
        let options = Options { apiserver_flags: vec!["--v=9".into()], ..Options::default() };
        let launch = kube_apiserver(&assets, &layout, &Files::below(&layout.credentials()), 6443, &options);
        assert_eq!(launch.arguments.last().and_then(|flag| flag.to_str()), Some("--v=9"));
        assert!(launch.arguments.iter().any(|flag| flag == "--secure-port=6443"));
    }
}
