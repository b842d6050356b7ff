//! HTTP as an API server and a kubelet speak it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes};
use hyper::client::conn::{http1, http2};
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection that trusts one authority.
pub async fn connect(address: SocketAddr, authority: &str, protocol: &str) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await
}

/// A connection over which reviews are sent, kept alive between them.
pub enum Client<B> {
    Http1(http1::SendRequest<B>),
    Http2(http2::SendRequest<B>),
}

impl<B> Client<B>
where
    B: Body<Data = Bytes, Error = std::convert::Infallible> + Send + Unpin + 'static,
{
    pub async fn new(address: SocketAddr, authority: &str, version: Version) -> io::Result<Self> {
        let http2 = version == Version::HTTP_2;
        let io = TokioIo::new(connect(address, authority, if http2 { "h2" } else { "http/1.1" }).await?);
        if http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(io::Error::other)?;
            tokio::spawn(connection);
            Ok(Self::Http2(sender))
        } else {
            let (sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
            tokio::spawn(connection);
            Ok(Self::Http1(sender))
        }
    }

    pub async fn send(&mut self, method: Method, path: &str, body: B) -> hyper::Result<(u16, String)> {
        let request = Request::builder().method(method).header("host", "localhost");
        match self {
            Self::Http1(sender) => {
                let request = request.uri(path).body(body).unwrap();
                read(sender.send_request(request).await?).await
            }
            Self::Http2(sender) => {
                let request = request.uri(format!("https://localhost{path}")).body(body).unwrap();
                read(sender.send_request(request).await?).await
            }
        }
    }
}

impl Client<Full<Bytes>> {
    pub async fn post(&mut self, body: impl Into<Bytes>) -> (u16, String) {
        self.send(Method::POST, "/admit?timeout=5s", Full::new(body.into())).await.unwrap()
    }

    /// The `response` to a review.
    pub async fn review(&mut self, old: &Value, new: &Value) -> Value {
        let (status, body) = self.post(review(old, new)).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["response"].clone()
    }
}

async fn read(response: Response<hyper::body::Incoming>) -> hyper::Result<(u16, String)> {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// An update of a Deployment.
pub fn review(old: &Value, new: &Value) -> Vec<u8> {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "operation": "UPDATE", "namespace": "shop", "name": "web",
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
        "userInfo": {"username": "alice", "groups": ["system:masters"]},
        "object": new, "oldObject": old, "dryRun": false, "options": null,
    }})
    .to_string()
    .into_bytes()
}

/// Status and text of a GET on the listener for probes.
pub async fn probe(address: SocketAddr, path: &str) -> (u16, String) {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().uri(path).header("host", "localhost").body(Full::<Bytes>::default()).unwrap();
    read(sender.send_request(request).await.unwrap()).await.unwrap()
}
