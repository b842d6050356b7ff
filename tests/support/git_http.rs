//! A Git server over HTTP: the program's own `git http-backend`, run as CGI, behind an optional password.

// Each test binary uses a part of it.
#![allow(dead_code)]
// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

#[derive(Clone)]
pub enum Behaviour {
    /// Serves the repositories in a directory, to anybody or to one account.
    Repositories { root: PathBuf, account: Option<(&'static str, &'static str)> },
    /// Sends everybody to the same path of another server.
    Redirect { to: String },
    /// Answers everything with 200 and a page.
    Garbage,
}

/// Ends with the value.
pub struct GitServer {
    /// Without a slash at its end.
    pub url: String,
    /// The `Authorization` headers that came.
    pub authorizations: Arc<Mutex<Vec<String>>>,
    _runtime: Runtime,
}

/// A certificate for `localhost` that nobody trusts who is not told to.
pub struct Certificate {
    pub pem: String,
    acceptor: TlsAcceptor,
}

impl Certificate {
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self { pem: made.cert.pem(), acceptor: TlsAcceptor::from(Arc::new(config)) }
    }
}

impl GitServer {
    pub fn start(behaviour: Behaviour) -> Self {
        Self::listen(behaviour, None)
    }

    pub fn start_secure(behaviour: Behaviour, certificate: &Certificate) -> Self {
        Self::listen(behaviour, Some(certificate.acceptor.clone()))
    }

    pub fn repositories(root: &Path, account: Option<(&'static str, &'static str)>) -> Self {
        Self::start(Behaviour::Repositories { root: root.to_owned(), account })
    }

    fn listen(behaviour: Behaviour, tls: Option<TlsAcceptor>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = if tls.is_some() { format!("https://localhost:{port}") } else { format!("http://127.0.0.1:{port}") };
        let authorizations = Arc::default();
        runtime.spawn(accept(listener, tls, behaviour, Arc::clone(&authorizations)));
        Self { url, authorizations, _runtime: runtime }
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    behaviour: Behaviour,
    authorizations: Arc<Mutex<Vec<String>>>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, behaviour, authorizations) = (tls.clone(), behaviour.clone(), Arc::clone(&authorizations));
        tokio::spawn(async move {
            match tls {
                None => serve(stream, &behaviour, &authorizations).await,
                // A client that does not trust the certificate goes away.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, &behaviour, &authorizations).await;
                    }
                }
            }
        });
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    behaviour: &Behaviour,
    authorizations: &Mutex<Vec<String>>,
) {
    let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request, behaviour, authorizations).await) });
    // A client that breaks off is the test's own wish.
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

async fn answer(
    request: Request<Incoming>,
    behaviour: &Behaviour,
    authorizations: &Mutex<Vec<String>>,
) -> Response<Full<Bytes>> {
    let given = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    authorizations.lock().unwrap().extend(given.clone());
    let response = Response::builder();
    let response = match behaviour {
        Behaviour::Redirect { to } => response
            .status(StatusCode::FOUND)
            .header("location", format!("{to}{}", request.uri().path_and_query().unwrap()))
            .body(Full::default()),
        Behaviour::Garbage => response.header("content-type", "text/html").body(Full::from("<h1>Sign in</h1>")),
        Behaviour::Repositories { root, account } => {
            let wanted =
                account.map(|(user, password)| format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
            if wanted.is_some() && wanted != given {
                response
                    .status(StatusCode::UNAUTHORIZED)
                    .header("www-authenticate", "Basic realm=\"git\"")
                    .body(Full::default())
            } else {
                return run(request, root).await;
            }
        }
    };
    response.unwrap()
}

async fn run(request: Request<Incoming>, root: &Path) -> Response<Full<Bytes>> {
    let header = |name: &str| request.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("CONTENT_TYPE", header("content-type"))
        .env("REQUEST_METHOD", request.method().as_str())
        .env("PATH_INFO", request.uri().path())
        .env("QUERY_STRING", request.uri().query().unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut child = command.env("CONTENT_LENGTH", body.len().to_string()).spawn().expect("git http-backend");
    child.stdin.take().unwrap().write_all(&body).await.unwrap();
    let output = child.wait_with_output().await.unwrap().stdout;
    let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("CGI headers");
    let mut response = Response::builder();
    for line in std::str::from_utf8(&output[..end]).unwrap().split("\r\n") {
        let (name, value) = line.split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(value[..3].parse::<u16>().unwrap()),
            _ => response.header(name, value),
        };
    }
    response.body(Full::from(output[end + 4..].to_vec())).unwrap()
}
