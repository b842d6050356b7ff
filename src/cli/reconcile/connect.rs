//! The way to the API server, and who this process is to it.
//!
//! Gitadel may start before the API server, or while it is overloaded: only an answer that time does not change ends the
//! process.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::{Api, Client, Config};

use crate::client;
use crate::tls::authorities;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

pub struct Connected {
    pub client: Client,
    /// UID of the Namespace kube-system.
    pub cluster: String,
    /// This process's name in the cluster.
    pub user: String,
    /// Certificates of the authorities by which it knows the API server, as PEM.
    pub authorities: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no access to a cluster: {0}. In a Pod it comes from the service account, elsewhere from KUBECONFIG")]
    Config(#[from] kube::config::InferConfigError),
    #[error("the API server cannot be asked: {0}")]
    Client(kube::Error),
    #[error("the API server refuses gitadel: {0}. Look at the credentials and at the roles of its service account")]
    Refused(kube::Error),
}

/// Connects to the cluster that the environment names, and waits for an API server that does not answer yet.
///
/// # Errors
/// There is no cluster named, or it does not let gitadel in.
pub async fn connect() -> Result<Connected, ConnectError> {
    let mut config = Config::infer().await?;
    // The API server is reached directly: a proxy for the world outside would get the cluster's credentials.
    config.proxy_url = None;
    let authorities = authorities::join(config.root_cert.iter().flatten().map(Vec::as_slice));
    let client = client::client(config).map_err(ConnectError::Client)?;
    let (cluster, user) = who_am_i(&client).await?;
    tracing::info!(cluster, user, "reconciling");
    Ok(Connected { client, cluster, user, authorities })
}

async fn who_am_i(client: &Client) -> Result<(String, String), ConnectError> {
    let mut pause = FIRST_PAUSE;
    loop {
        match ask_who_am_i(client).await {
            Ok(known) => return Ok(known),
            Err(error) if is_refusal(&error) => return Err(ConnectError::Refused(error)),
            Err(error) => {
                tracing::warn!(%error, "the API server does not answer yet");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
    }
}

async fn ask_who_am_i(client: &Client) -> Result<(String, String), kube::Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let cluster = namespaces.get("kube-system").await?.metadata.uid.unwrap_or_default();
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username).unwrap_or_default();
    Ok((cluster, user))
}

fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::Full;
    use hyper::body::{Bytes, Incoming};
    use hyper::{Method, Request, Response, StatusCode};
    use serde_json::json;
    use tokio::net::TcpListener;
    use tokio_util::sync::{CancellationToken, DropGuard};

    use super::*;
    use crate::http::{PlainServer, respond};

    /// An API server that answers the first requests with these codes, and then what is asked.
    async fn api_server(codes: &'static [u16]) -> (Client, DropGuard) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let answer = move |request: Request<Incoming>| {
            let code = codes.get(asked.fetch_add(1, Ordering::Relaxed)).copied();
            async move { reply(request.method(), code) }
        };
        let stop = CancellationToken::new();
        tokio::spawn(PlainServer::new(listener).serve(answer, stop.clone()));
        (Client::try_from(Config::new(url)).unwrap(), stop.drop_guard())
    }

    fn reply(method: &Method, code: Option<u16>) -> Response<Full<Bytes>> {
        if let Some(code) = code {
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "as tests may", "reason": "Test", "code": code});
            return respond::json(StatusCode::from_u16(code).unwrap(), status.to_string());
        }
        let object = if method == Method::POST {
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {},
                "status": {"userInfo": {"username": "gitadel"}}})
        } else {
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": "the-cluster"}})
        };
        respond::json(StatusCode::OK, object.to_string())
    }

    #[tokio::test]
    async fn an_api_server_that_is_not_there_yet_is_waited_for() {
        let (client, _server) = api_server(&[503, 500, 429]).await;
        assert_eq!(who_am_i(&client).await.unwrap(), ("the-cluster".to_owned(), "gitadel".to_owned()));
    }

    #[tokio::test]
    async fn a_refusal_is_final() {
        for codes in [&[401], &[403]] {
            let (client, _server) = api_server(codes).await;
            let error = who_am_i(&client).await.unwrap_err();
            assert!(matches!(error, ConnectError::Refused(_)), "{error}");
        }
    }
}
