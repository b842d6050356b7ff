//! `gitadel notify`: what a Git server's hook runs after a push, so that nobody waits for the next interval.
//!
//! Hosting services send this by themselves as a webhook; a bare repository has only its `post-receive`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::reconcile::receiver::{SIGNATURE_HEADER, Secret, SecretError, signature};
use crate::telemetry::causes;

/// A hook keeps the one who pushes waiting.
const PATIENCE: Duration = Duration::from_secs(5);
/// The reconciler reads nothing from the body; with a secret, this is what is signed.
const BODY: &[u8] = b"{}";

#[derive(Debug, Args)]
pub struct NotifyArgs {
    /// Where the reconciler takes notifications: http://HOST:PORT/notify/ENFORCEMENT
    #[arg(value_parser = address)]
    url: Uri,
    /// File with the secret that signs the notification (the reconciler's --notification-secret-file)
    #[arg(long)]
    secret_file: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("{url} cannot be asked: {source}")]
    Request { url: Uri, source: hyper::http::Error },
    #[error("the reconciler at {url} cannot be reached: {reason}. It will see the push when its interval is over")]
    Unreachable { url: Uri, reason: String },
    #[error("{url} answered {status}: {answer}")]
    Refused { url: Uri, status: hyper::StatusCode, answer: String },
}

/// The reconciler is asked over plain http.
fn address(text: &str) -> Result<Uri, String> {
    match text.parse::<Uri>() {
        Ok(url) if url.scheme_str() == Some("http") && url.path().contains("/notify/") => Ok(url),
        _ => Err("write it like http://gitadel.gitadel-system:9441/notify/ENFORCEMENT".to_owned()),
    }
}

pub async fn run(args: NotifyArgs) -> Result<(), NotifyError> {
    let secret = args.secret_file.as_deref().map(|file| Secret::at(file)?.read()).transpose()?;
    let mut request = Request::post(&args.url).header("content-type", "application/json");
    if let Some(secret) = &secret {
        request = request.header(SIGNATURE_HEADER, signature(secret, BODY));
    }
    let request = request
        .body(Full::new(Bytes::from_static(BODY)))
        .map_err(|source| NotifyError::Request { url: args.url.clone(), source })?;

    let unreachable = |reason: String| NotifyError::Unreachable { url: args.url.clone(), reason };
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let response = tokio::time::timeout(PATIENCE, client.request(request))
        .await
        .map_err(|_| unreachable(format!("no answer within {} s", PATIENCE.as_secs())))?
        .map_err(|error| unreachable(causes(&error)))?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let answer = String::from_utf8_lossy(&body).trim().to_owned();
    Err(NotifyError::Refused { url: args.url, status, answer })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hyper::StatusCode;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::http::PlainServer;
    use crate::reconcile::probes::Probes;
    use crate::reconcile::receiver::Receiver;

    #[tokio::test]
    async fn the_reconciler_takes_what_is_signed_with_its_secret() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, another) = (directory.path().join("ours"), directory.path().join("another"));
        std::fs::write(&ours, "It's a Secret to Everybody\n").unwrap();
        std::fs::write(&another, "It's a Secret\n").unwrap();
        let receiver = Receiver::new(Some(Secret::at(&ours).unwrap()));
        receiver.bell("shop");
        let (_ready, ready) = tokio::sync::watch::channel(true);
        let probes = Arc::new(Probes::new(crate::telemetry::registry().unwrap(), ready, receiver));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Uri = format!("http://{}/notify/shop", listener.local_addr().unwrap()).parse().unwrap();
        let answer = move |request| {
            let probes = Arc::clone(&probes);
            async move { probes.answer(request).await }
        };
        let stop = CancellationToken::new();
        let _stop = stop.clone().drop_guard();
        tokio::spawn(PlainServer::new(listener).serve(answer, stop));

        let notify = async |secret_file| run(NotifyArgs { url: url.clone(), secret_file }).await;
        notify(Some(ours)).await.unwrap();
        for wrong in [Some(another), None] {
            let error = notify(wrong.clone()).await.unwrap_err();
            let refused = matches!(&error, NotifyError::Refused { status, .. } if *status == StatusCode::UNAUTHORIZED);
            assert!(refused, "{wrong:?}: {error}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_told() {
        // Bound and dropped: nobody listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}/notify/shop").parse().unwrap();
        let error = run(NotifyArgs { url, secret_file: None }).await.unwrap_err();
        assert!(matches!(error, NotifyError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("refused"), "{error}");
    }

    #[test]
    fn what_is_no_address_is_told_before_anything_is_asked() {
        assert!(address("http://127.0.0.1:9441/notify/shop").is_ok());
        for wrong in ["nonsense", "127.0.0.1:9441/notify/shop", "https://gitadel/notify/shop", "http://gitadel/shop"] {
            assert!(address(wrong).unwrap_err().contains("http://"), "{wrong}");
        }
    }
}
