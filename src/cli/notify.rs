//! `gitadel notify`: what a Git server's hook runs after a push, so that nobody waits for the next interval.
//!
//! Hosting services send this by themselves as a webhook; a bare repository has only its `post-receive`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::hmac;
use clap::Args;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// A hook keeps the one who pushes waiting.
const PATIENCE: Duration = Duration::from_secs(5);
/// The reconciler reads nothing from the body; with a secret, this is what is signed.
const BODY: &[u8] = b"{}";

#[derive(Debug, Args)]
pub struct NotifyArgs {
    /// Where the reconciler takes notifications: http://HOST:PORT/notify/ENFORCEMENT
    url: Uri,
    /// File with the secret that signs the notification (the reconciler's --notification-secret-file)
    #[arg(long)]
    secret_file: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    #[error("{} cannot be read: {source}", path.display())]
    Secret { path: PathBuf, source: io::Error },
    #[error("{url} cannot be asked: {source}")]
    Request { url: Uri, source: hyper::http::Error },
    #[error("the reconciler at {url} cannot be reached: {reason}. It will see the push when its interval is over")]
    Unreachable { url: Uri, reason: String },
    #[error("{url} answered {status}: {answer}")]
    Refused { url: Uri, status: hyper::StatusCode, answer: String },
}

pub async fn run(args: NotifyArgs) -> Result<(), NotifyError> {
    let secret = match &args.secret_file {
        Some(path) => Some(std::fs::read(path).map_err(|source| NotifyError::Secret { path: path.clone(), source })?),
        None => None,
    };
    let mut request = Request::post(&args.url).header("content-type", "application/json");
    if let Some(secret) = &secret {
        request = request.header("x-hub-signature-256", signature(secret.trim_ascii(), BODY));
    }
    let request = request
        .body(Full::new(Bytes::from_static(BODY)))
        .map_err(|source| NotifyError::Request { url: args.url.clone(), source })?;

    let unreachable = |reason: String| NotifyError::Unreachable { url: args.url.clone(), reason };
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let response = tokio::time::timeout(PATIENCE, client.request(request))
        .await
        .map_err(|_| unreachable(format!("no answer within {} s", PATIENCE.as_secs())))?
        .map_err(|error| unreachable(error.to_string()))?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let answer = String::from_utf8_lossy(&body).trim().to_owned();
    Err(NotifyError::Refused { url: args.url, status, answer })
}

/// As GitHub and Gitea sign their webhooks.
fn signature(secret: &[u8], body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), body);
    let hexadecimal: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hexadecimal}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::receiver::{Notified, Receiver};

    #[test]
    fn the_reconciler_takes_the_signature() {
        let receiver = Receiver::new(Some(b"It's a Secret to Everybody"));
        let _bell = receiver.bell("shop");
        let signed = signature(b"It's a Secret to Everybody", BODY);
        assert_eq!(receiver.notify("shop", Some(&signed), BODY), Notified::Accepted);
        let forged = signature(b"another", BODY);
        assert_eq!(receiver.notify("shop", Some(&forged), BODY), Notified::BadSignature);
    }

    #[tokio::test]
    async fn nobody_there_is_told() {
        // Bound and dropped: nobody listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}/notify/shop").parse().unwrap();
        let error = run(NotifyArgs { url, secret_file: None }).await.unwrap_err();
        assert!(matches!(error, NotifyError::Unreachable { .. }), "{error}");
    }
}
