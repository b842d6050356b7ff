//! The receiver: somebody pushed, look now.
//!
//! A notification carries no content, so that a forged one costs a fetch and nothing more. With a secret it must be signed
//! as GitHub, Gitea and Forgejo do (`X-Hub-Signature-256`: HMAC-SHA-256 of the body), or show the secret itself as GitLab
//! does (`X-Gitlab-Token`). The secret is read from its file for each notification: a mounted Secret changes at any time.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::{constant_time, hmac};
use hyper::HeaderMap;
use tokio::sync::Notify;

pub const SIGNATURE_HEADER: &str = "x-hub-signature-256";
pub const TOKEN_HEADER: &str = "x-gitlab-token";

/// What a notification must prove to know.
#[derive(Clone, Debug)]
pub struct Secret {
    file: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the secret of notifications cannot be read from {}: {source}", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("the secret of notifications in {} is empty, which everybody knows: write a long random text", file.display())]
    Empty { file: PathBuf },
}

impl Secret {
    /// # Errors
    /// There is no secret in the file now.
    pub fn at(file: &Path) -> Result<Self, SecretError> {
        let secret = Self { file: file.to_owned() };
        secret.read()?;
        Ok(secret)
    }

    /// The line break that editors leave at the end is no part of it.
    pub fn read(&self) -> Result<Vec<u8>, SecretError> {
        let file = || self.file.clone();
        let content = std::fs::read(&self.file).map_err(|source| SecretError::Unreadable { file: file(), source })?;
        match content.trim_ascii() {
            [] => Err(SecretError::Empty { file: file() }),
            secret => Ok(secret.to_owned()),
        }
    }
}

/// As GitHub and Gitea sign their webhooks.
pub fn signature(secret: &[u8], body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), body);
    let hexadecimal: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hexadecimal}")
}

fn proves(secret: &[u8], headers: &HeaderMap, body: &[u8]) -> bool {
    if let Some(token) = headers.get(TOKEN_HEADER) {
        return constant_time::verify_slices_are_equal(token.as_bytes(), secret).is_ok();
    }
    let signature = headers.get(SIGNATURE_HEADER).and_then(|signature| signature.to_str().ok());
    let tag = signature.and_then(|signature| decode_hex(signature.strip_prefix("sha256=")?));
    tag.is_some_and(|tag| hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), body, &tag).is_ok())
}

/// Wakes the tasks that follow sources.
#[derive(Clone, Default)]
pub struct Receiver {
    sources: Arc<Mutex<HashMap<String, Arc<Notify>>>>,
    secret: Option<Secret>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notified {
    Accepted,
    UnknownSource,
    NotProven,
}

impl Receiver {
    /// Without a secret, everybody's notifications are taken.
    pub fn new(secret: Option<Secret>) -> Self {
        Self { sources: Arc::default(), secret }
    }

    /// The bell of one source.
    pub fn bell(&self, enforcement: &str) -> Arc<Notify> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sources.entry(enforcement.to_owned()).or_default())
    }

    pub fn forget(&self, enforcement: &str) {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).remove(enforcement);
    }

    /// Handles `POST /notify/<enforcement>`.
    pub fn notify(&self, enforcement: &str, headers: &HeaderMap, body: &[u8]) -> Notified {
        if let Some(secret) = &self.secret {
            match secret.read() {
                Ok(secret) if proves(&secret, headers, body) => {}
                Ok(_) => return Notified::NotProven,
                Err(error) => {
                    tracing::error!(%error, "a notification is not taken");
                    return Notified::NotProven;
                }
            }
        }
        if self.ring(enforcement) { Notified::Accepted } else { Notified::UnknownSource }
    }

    /// Has a source looked at now. False where there is no such source.
    pub fn ring(&self, enforcement: &str) -> bool {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let bell = sources.get(enforcement);
        bell.inspect(|bell| bell.notify_one()).is_some()
    }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "It's a Secret to Everybody";

    fn receiver(file: &Path, secret: &str) -> Receiver {
        std::fs::write(file, secret).unwrap();
        let receiver = Receiver::new(Some(Secret::at(file).unwrap()));
        receiver.bell("shop");
        receiver
    }

    fn header(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn only_proven_notifications_of_known_sources_ring() {
        let directory = tempfile::tempdir().unwrap();
        let receiver = receiver(&directory.path().join("secret"), &format!("{SECRET}\n"));
        // The example of GitHub's documentation.
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let signed = header(SIGNATURE_HEADER, good);
        assert_eq!(receiver.notify("shop", &signed, b"Hello, World!"), Notified::Accepted);
        assert_eq!(receiver.notify("other", &signed, b"Hello, World!"), Notified::UnknownSource);
        assert_eq!(receiver.notify("shop", &signed, b"Hello, World"), Notified::NotProven);
        assert_eq!(receiver.notify("shop", &header(TOKEN_HEADER, SECRET), b"{}"), Notified::Accepted);
        for wrong in [
            HeaderMap::new(),
            header(SIGNATURE_HEADER, "sha256=zz"),
            header(TOKEN_HEADER, "It's a Secret"),
            header(TOKEN_HEADER, good),
        ] {
            assert_eq!(receiver.notify("shop", &wrong, b"Hello, World!"), Notified::NotProven, "{wrong:?}");
        }
        let open = Receiver::default();
        open.bell("shop");
        assert_eq!(open.notify("shop", &HeaderMap::new(), b""), Notified::Accepted);
    }

    #[test]
    fn the_secret_counts_that_is_in_the_file_now() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        let receiver = receiver(&file, SECRET);
        std::fs::write(&file, "another").unwrap();
        assert_eq!(receiver.notify("shop", &header(TOKEN_HEADER, SECRET), b""), Notified::NotProven);
        assert_eq!(receiver.notify("shop", &header(TOKEN_HEADER, "another"), b""), Notified::Accepted);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(receiver.notify("shop", &header(TOKEN_HEADER, "another"), b""), Notified::NotProven);
    }

    #[test]
    fn an_empty_secret_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        std::fs::write(&file, "\n").unwrap();
        assert!(matches!(Secret::at(&file), Err(SecretError::Empty { .. })));
        let receiver = receiver(&file, SECRET);
        std::fs::write(&file, "").unwrap();
        let signed = header(SIGNATURE_HEADER, &signature(b"", b"{}"));
        assert_eq!(receiver.notify("shop", &signed, b"{}"), Notified::NotProven);
    }
}
