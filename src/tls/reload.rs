//! The certificate that is shown, read again whenever its files change.
//!
//! Each handshake takes the pair that is current: nothing restarts, and connections that exist go on. A pair that cannot
//! be used never replaces one that could.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::directory::{CERTIFICATE_FILE, KEY_FILE};
use crate::telemetry::TlsMetrics;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path} cannot be read: {source}. The directory must hold {CERTIFICATE_FILE} and {KEY_FILE}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is no PEM file of the kind it should be: {source}")]
    Pem { path: PathBuf, source: pem::Error },
    #[error("{CERTIFICATE_FILE} holds no certificate")]
    NoCertificate,
    #[error("certificate and key cannot be used together: {0}")]
    Unusable(rustls::Error),
    #[error("the directory {path} cannot be watched for certificates: {source}")]
    Watch { path: PathBuf, source: notify::Error },
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

impl TlsError {
    /// A word for metrics: few and fixed.
    fn reason(&self) -> &'static str {
        match self {
            Self::Read { .. } => "unreadable",
            Self::Pem { .. } | Self::NoCertificate => "malformed",
            Self::Unusable(_) | Self::Setup(_) => "unusable",
            Self::Watch { .. } => "unwatched",
        }
    }
}

/// A directory with a certificate and its key.
#[derive(Debug)]
pub struct ServingCertificate {
    pair: Arc<Pair>,
    _watcher: RecommendedWatcher,
}

impl ServingCertificate {
    /// Reads the pair in `directory`, if there is a good one, and watches for others.
    ///
    /// # Errors
    /// The directory cannot be watched. A pair that is not there or cannot be used is no error: the next may be good.
    pub fn open(directory: &Path, metrics: TlsMetrics) -> Result<Self, TlsError> {
        let pair = Arc::new(Pair {
            certificate: directory.join(CERTIFICATE_FILE),
            key: directory.join(KEY_FILE),
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            current: ArcSwapOption::empty(),
            seen: Mutex::new(None),
            metrics,
        });
        let unwatched = |source| TlsError::Watch { path: directory.to_owned(), source };
        let watched = Arc::clone(&pair);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Whatever the name: the kubelet swaps the link `..data`, which our names lead through.
            if event.map_or(true, |event| !matches!(event.kind, EventKind::Access(_))) {
                watched.check();
            }
        })
        .map_err(unwatched)?;
        watcher.watch(directory, RecursiveMode::NonRecursive).map_err(unwatched)?;
        // After the watch began, so that nothing is missed in between.
        pair.check();
        Ok(Self { pair, _watcher: watcher })
    }

    /// Whether there is a certificate to show.
    pub fn is_loaded(&self) -> bool {
        self.pair.current.load().is_some()
    }

    /// Looks whether the files changed, without waiting to be told.
    pub fn check(&self) {
        self.pair.check();
    }

    /// How to serve HTTP/2 and HTTP/1.1 with the pair that is current at each handshake.
    ///
    /// # Errors
    /// The cryptographic provider does not support TLS 1.2 and 1.3.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.pair.provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.pair) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A resumed session would go on with a certificate that was replaced.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

#[derive(Debug)]
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: ArcSwapOption<CertifiedKey>,
    /// Digest of the files looked at last, whether they were loaded or refused.
    seen: Mutex<Option<blake3::Hash>>,
    metrics: TlsMetrics,
}

impl Pair {
    fn check(&self) {
        match self.reload() {
            Ok(false) => {}
            Ok(true) => {
                self.metrics.reloads.with_label_values(&["loaded"]).inc();
                tracing::info!(path = %self.certificate.display(), "serving certificate loaded");
            }
            Err(error) => {
                self.metrics.reloads.with_label_values(&[error.reason()]).inc();
                tracing::warn!(%error, "serving certificate refused, the one before stays");
            }
        }
    }

    /// Whether the files changed, and hold a pair that can be used.
    fn reload(&self) -> Result<bool, TlsError> {
        // Nothing that the lock guards can be left half done.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let read = read(&self.certificate).and_then(|certificate| Ok((certificate, read(&self.key)?)));
        let digest = match &read {
            Ok((certificate, key)) => Some(digest(certificate, key)),
            Err(_) => None,
        };
        if *seen == digest {
            return Ok(false);
        }
        *seen = digest;
        let (certificate, key) = read?;
        let malformed = |path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::Pem { path, source }
        };
        let chain = CertificateDer::pem_slice_iter(&certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(malformed(&self.certificate))?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(malformed(&self.key))?;
        // Proves that the key belongs to the certificate: between two renames it may not.
        let pair = CertifiedKey::from_der(chain, key, &self.provider).map_err(TlsError::Unusable)?;
        self.current.store(Some(Arc::new(pair)));
        Ok(true)
    }
}

impl ResolvesServerCert for Pair {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load_full()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn digest(certificate: &[u8], key: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(blake3::hash(certificate).as_bytes());
    hasher.update(blake3::hash(key).as_bytes());
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::telemetry::registry;

    /// A self-signed pair, as PEM.
    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn write(directory: &Path, (certificate, key): &(String, String)) {
        fs::write(directory.join(CERTIFICATE_FILE), certificate).unwrap();
        fs::write(directory.join(KEY_FILE), key).unwrap();
    }

    fn metrics() -> TlsMetrics {
        TlsMetrics::new(&registry().unwrap()).unwrap()
    }

    fn shown(certificate: &ServingCertificate) -> Option<Vec<u8>> {
        certificate.pair.current.load().as_ref().map(|pair| pair.cert[0].to_vec())
    }

    fn der(pair: &(String, String)) -> Option<Vec<u8>> {
        Some(CertificateDer::from_pem_slice(pair.0.as_bytes()).unwrap().to_vec())
    }

    fn eventually(reached: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !reached() {
            assert!(Instant::now() < deadline, "not within ten seconds");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn a_pair_that_appears_or_changes_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let certificate = ServingCertificate::open(directory.path(), metrics()).unwrap();
        assert!(!certificate.is_loaded());
        for pair in [pair(), pair()] {
            write(directory.path(), &pair);
            eventually(|| shown(&certificate) == der(&pair));
        }
    }

    #[test]
    fn the_swap_of_the_kubelet_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let pairs = [pair(), pair()];
        for (n, pair) in pairs.iter().enumerate() {
            fs::create_dir(root.join(format!("..{n}"))).unwrap();
            write(&root.join(format!("..{n}")), pair);
        }
        symlink("..0", root.join("..data")).unwrap();
        for name in [CERTIFICATE_FILE, KEY_FILE] {
            symlink(format!("..data/{name}"), root.join(name)).unwrap();
        }
        let certificate = ServingCertificate::open(root, metrics()).unwrap();
        assert_eq!(shown(&certificate), der(&pairs[0]));
        symlink("..1", root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        eventually(|| shown(&certificate) == der(&pairs[1]));
    }

    #[test]
    fn what_cannot_be_used_never_replaces_a_pair() {
        let directory = tempfile::tempdir().unwrap();
        let good = pair();
        write(directory.path(), &good);
        let metrics = metrics();
        let certificate = ServingCertificate::open(directory.path(), metrics.clone()).unwrap();
        let refused = |reason: &str| metrics.reloads.with_label_values(&[reason]).get();
        let other = pair();
        for (broken, reason) in [
            ((other.0.clone(), good.1.clone()), "unusable"),
            (("junk".to_owned(), good.1.clone()), "malformed"),
            ((good.0.clone(), "junk".to_owned()), "malformed"),
        ] {
            let before = refused(reason);
            write(directory.path(), &broken);
            certificate.check();
            eventually(|| refused(reason) > before);
            assert_eq!(shown(&certificate), der(&good));
        }
        fs::remove_file(directory.path().join(KEY_FILE)).unwrap();
        certificate.check();
        assert_eq!(refused("unreadable"), 1);
        assert_eq!(shown(&certificate), der(&good));
        write(directory.path(), &other);
        eventually(|| shown(&certificate) == der(&other));
    }
}
