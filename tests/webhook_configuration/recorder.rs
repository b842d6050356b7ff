//! A webhook that admits everything but the canary, and remembers what it was asked.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use gitadel::admission::own::CANARY_NAME;
use gitadel::tls::issue::Authority;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// One review: the path that was called, which in these tests names the entry, and what was asked.
#[derive(Clone, Debug)]
pub struct Review {
    pub entry: String,
    pub request: Value,
}

pub struct Recorder {
    pub port: u16,
    pub ca_bundle: String,
    reviews: Arc<Mutex<Vec<Review>>>,
}

impl Recorder {
    pub async fn start() -> Self {
        let authority = Authority::new("recorder").unwrap();
        let issued = authority.issue_server(&["127.0.0.1"], std::time::Duration::from_secs(3600)).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let reviews = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&reviews);
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (acceptor, recorded) = (acceptor.clone(), Arc::clone(&recorded));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(|request| answer(request, Arc::clone(&recorded)));
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { port, ca_bundle: authority.certificate().to_owned(), reviews }
    }

    /// What was asked on behalf of a user since the last call.
    pub fn take(&self, user: &str) -> Vec<Review> {
        let all = std::mem::take(&mut *self.reviews.lock().unwrap());
        all.into_iter().filter(|review| review.request["userInfo"]["username"] == user).collect()
    }
}

async fn answer(
    request: Request<Incoming>,
    reviews: Arc<Mutex<Vec<Review>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let entry = request.uri().path().trim_start_matches('/').to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let request = review["request"].clone();
    let mut response = json!({"uid": request["uid"], "allowed": true});
    if request["name"] == CANARY_NAME && request["operation"] == "CREATE" {
        response = json!({"uid": request["uid"], "allowed": false, "status": {"code": 403, "message": "not in Git"}});
    }
    reviews.lock().unwrap().push(Review { entry, request });
    let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Ok(Response::new(Full::new(Bytes::from(body.to_string()))))
}
