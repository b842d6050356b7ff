//! The receiver: somebody pushed, look now.
//!
//! A notification carries no content, so that a forged one costs a fetch and nothing more. With `--webhook-secret-file` it
//! must be signed as GitHub, Gitea and GitLab-compatible senders do (`X-Hub-Signature-256`: HMAC-SHA-256 of the body).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use tokio::sync::Notify;

/// Wakes the tasks that follow sources.
#[derive(Clone, Default)]
pub struct Receiver {
    sources: Arc<Mutex<HashMap<String, Arc<Notify>>>>,
    secret: Option<Arc<hmac::Key>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notified {
    Accepted,
    UnknownSource,
    BadSignature,
}

impl Receiver {
    pub fn new(secret: Option<&[u8]>) -> Self {
        Self { sources: Arc::default(), secret: secret.map(|key| Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key))) }
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
    pub fn notify(&self, enforcement: &str, signature: Option<&str>, body: &[u8]) -> Notified {
        if let Some(key) = &self.secret {
            let signed = signature
                .and_then(|signature| decode_hex(signature.strip_prefix("sha256=")?))
                .is_some_and(|tag| hmac::verify(key, body, &tag).is_ok());
            if !signed {
                return Notified::BadSignature;
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

    #[test]
    fn only_signed_notifications_of_known_sources_ring() {
        let receiver = Receiver::new(Some(b"It's a Secret to Everybody"));
        let _bell = receiver.bell("shop");
        // The example of GitHub's documentation.
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(receiver.notify("shop", Some(good), b"Hello, World!"), Notified::Accepted);
        assert_eq!(receiver.notify("other", Some(good), b"Hello, World!"), Notified::UnknownSource);
        assert_eq!(receiver.notify("shop", Some(good), b"Hello, World"), Notified::BadSignature);
        assert_eq!(receiver.notify("shop", Some("sha256=zz"), b"Hello, World!"), Notified::BadSignature);
        assert_eq!(receiver.notify("shop", None, b"Hello, World!"), Notified::BadSignature);
        let open = Receiver::new(None);
        let _bell = open.bell("shop");
        assert_eq!(open.notify("shop", None, b""), Notified::Accepted);
    }
}
