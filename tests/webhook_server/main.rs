//! The real binary, with real TLS.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
mod process;
#[path = "../support/source.rs"]
mod source;

use std::pin::{Pin, pin};
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use gitadel::admission::server::LARGEST_BODY;
use gitadel::tls::issue::Authority;
use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame};
use hyper::{Method, Version};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use client::{Client, connect, probe, review};
use process::{CLUSTER, Webhook, deployment, write_pair, write_snapshot};

const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

fn authority() -> Authority {
    Authority::new("webhook test").unwrap()
}

async fn ready(authority: &Authority, drain: u32) -> Webhook {
    let webhook = Webhook::start(authority, drain);
    write_snapshot(&webhook.snapshot_path(), 1, CLUSTER, 2);
    webhook.probe_until("/readyz", 200).await;
    webhook
}

async fn client(webhook: &Webhook, authority: &Authority, version: Version) -> Client<Full<Bytes>> {
    Client::new(webhook.reviews, authority.certificate(), version).await.unwrap()
}

fn with_replicas(replicas: u32) -> Value {
    let mut object = deployment();
    object["spec"]["replicas"] = replicas.into();
    object
}

#[tokio::test]
async fn bad_requests_are_errors_and_the_connection_goes_on() {
    let authority = authority();
    let webhook = ready(&authority, 0).await;
    for version in VERSIONS {
        let mut client = client(&webhook, &authority, version).await;
        let no_review = br#"{"kind":"Pod","apiVersion":"v1"}"#;
        let old_review = br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"u"}}"#;
        let no_request = br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}"#;
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        for body in [&b""[..], b"\xff\xfe", b"{", b"[]", b"{}", no_review, old_review, no_request, &deep] {
            let (status, message) = client.post(body.to_vec()).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
            assert_eq!(status, 400, "{version:?} {shown}: {message}");
            assert!(message.len() > 10, "{shown}: {message}");
        }
        for (method, path, expected) in
            [(Method::GET, "/admit", 405), (Method::PUT, "/admit", 405), (Method::POST, "/", 404)]
        {
            let (status, message) = client.send(method.clone(), path, Full::new("{}".into())).await.unwrap();
            assert_eq!(status, expected, "{version:?} {method} {path}: {message}");
        }
        let admitted = client.review(&deployment(), &deployment()).await;
        assert_eq!(admitted, json!({"uid": "u-1", "allowed": true}), "{version:?}");
    }
    assert_eq!(webhook.metric(r#"gitadel_admission_errors_total{reason="malformed"}"#).await, 18);
    assert_eq!(webhook.metric(r#"gitadel_admission_errors_total{reason="method"}"#).await, 4);
}

#[tokio::test]
async fn an_oversized_review_is_refused_and_a_large_one_is_judged() {
    let authority = authority();
    let webhook = ready(&authority, 0).await;
    for version in VERSIONS {
        // What is too large may be refused before it was sent to the end: a connection of its own.
        let oversized = Full::new(Bytes::from(vec![b' '; LARGEST_BODY + 1]));
        let mut refused = client(&webhook, &authority, version).await;
        let outcome = refused.send(Method::POST, "/admit", oversized).await;
        assert!(outcome.as_ref().map_or(true, |(status, _)| *status == 413), "{version:?} {outcome:?}");

        let mut large = with_replicas(2);
        large["metadata"]["annotations"] = json!({"large": "x".repeat(3 << 20)});
        let mut client = client(&webhook, &authority, version).await;
        let denied = client.review(&deployment(), &large).await;
        assert_eq!(denied["allowed"], false, "{version:?}");
    }
    assert_eq!(webhook.metric(r#"gitadel_admission_errors_total{reason="too_large"}"#).await, 2);
}

#[tokio::test]
async fn nobody_takes_all_connections() {
    let authority = authority();
    let webhook = ready(&authority, 0).await;
    let mut first = client(&webhook, &authority, Version::HTTP_2).await;
    let mut held = Vec::new();
    while webhook.metric("gitadel_admission_connections_refused_total").await == 0 {
        held.push(tokio::net::TcpStream::connect(webhook.reviews).await.unwrap());
        assert!(held.len() < 1000, "there is no bound");
    }
    assert_eq!(webhook.metric("gitadel_admission_connections").await, 256);
    assert_eq!(first.review(&deployment(), &deployment()).await["allowed"], true);
    // One more is closed before it says anything.
    let mut refused = tokio::net::TcpStream::connect(webhook.reviews).await.unwrap();
    assert!(refused.read_u8().await.is_err());

    drop(held);
    let deadline = Instant::now() + Duration::from_secs(10);
    while webhook.metric("gitadel_admission_connections").await > 1 {
        assert!(Instant::now() < deadline, "the places of those who left stay taken");
    }
    let mut client = client(&webhook, &authority, Version::HTTP_2).await;
    assert_eq!(client.review(&deployment(), &deployment()).await["allowed"], true);
}

#[tokio::test]
async fn what_is_not_tls_is_nobody() {
    let authority = authority();
    let webhook = ready(&authority, 0).await;
    let mut plain = tokio::net::TcpStream::connect(webhook.reviews).await.unwrap();
    plain.write_all(b"POST /admit HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
    let mut answer = Vec::new();
    // A reset is as good as an alert and an end.
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    assert!(connect(webhook.reviews, Authority::new("another").unwrap().certificate(), "h2").await.is_err());
    let mut client = client(&webhook, &authority, Version::HTTP_2).await;
    assert_eq!(client.review(&deployment(), &deployment()).await["allowed"], true);
}

#[tokio::test]
async fn it_is_ready_with_a_good_snapshot_and_keeps_it() {
    let authority = authority();
    let webhook = Webhook::start(&authority, 0);
    assert_eq!(probe(webhook.probes, "/healthz").await.0, 200);
    assert_eq!(probe(webhook.probes, "/elsewhere").await.0, 404);
    let mut client = client(&webhook, &authority, Version::HTTP_2).await;
    let not_ready = |text: &str| assert!(text.contains("no snapshot"), "{text}");
    not_ready(&probe(webhook.probes, "/readyz").await.1);
    assert_eq!(client.post(review(&deployment(), &deployment())).await.0, 503);
    let (status, served) = probe(webhook.probes, "/serving?generation=1&timeout_ms=20").await;
    assert_eq!((status, served.as_str()), (503, r#"{"generation":null}"#));

    std::fs::write(webhook.snapshot_path(), "junk").unwrap();
    probe(webhook.probes, "/serving").await;
    write_snapshot(&webhook.snapshot_path(), 7, "another-cluster", 2);
    probe(webhook.probes, "/serving").await;
    not_ready(&webhook.probe_until("/readyz", 503).await);
    assert_eq!(client.post(review(&deployment(), &deployment())).await.0, 503);
    assert_eq!(webhook.metric(r#"gitadel_snapshot_loads_total{result="other_cluster"}"#).await, 1);

    write_snapshot(&webhook.snapshot_path(), 1, CLUSTER, 2);
    webhook.probe_until("/readyz", 200).await;
    assert_eq!(client.review(&deployment(), &deployment()).await["allowed"], true);
    let denied = client.review(&deployment(), &with_replicas(5)).await;
    assert_eq!(denied["allowed"], false);
    assert_eq!(denied["status"]["code"], 403);
    let message = denied["status"]["message"].as_str().unwrap();
    assert!(message.contains("spec.replicas must be 2, not 5"), "{message}");

    // The next commit asks for five, and somebody waits for its generation.
    let mut waiting = pin!(probe(webhook.probes, "/serving?generation=2&timeout_ms=10000"));
    let early = tokio::time::timeout(Duration::from_millis(30), &mut waiting).await;
    assert!(early.is_err(), "nobody has written it yet: {early:?}");
    write_snapshot(&webhook.snapshot_path(), 2, CLUSTER, 5);
    assert_eq!(waiting.await, (200, r#"{"generation":2}"#.to_owned()));
    assert_eq!(client.review(&deployment(), &with_replicas(5)).await["allowed"], true);

    std::fs::write(webhook.snapshot_path().with_extension("junk"), [0; 5000]).unwrap();
    std::fs::rename(webhook.snapshot_path().with_extension("junk"), webhook.snapshot_path()).unwrap();
    probe(webhook.probes, "/serving").await;
    assert_eq!(webhook.probe_until("/readyz", 200).await, "ok\n");
    assert_eq!(client.review(&deployment(), &with_replicas(5)).await["allowed"], true);
    assert_eq!(webhook.metric("gitadel_snapshot_generation").await, 2);
    assert_eq!(webhook.metric("gitadel_snapshot_objects").await, 1);
}

#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart() {
    let (first, second) = (authority(), authority());
    let webhook = ready(&first, 0).await;
    let mut before = client(&webhook, &first, Version::HTTP_2).await;
    std::fs::write(webhook.tls_directory().join("tls.crt"), "junk").unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while webhook.metric(r#"gitadel_tls_reloads_total{result="malformed"}"#).await == 0 {
        assert!(Instant::now() < deadline, "the broken certificate goes unnoticed");
    }
    client(&webhook, &first, Version::HTTP_2).await;

    write_pair(&webhook.tls_directory(), &second);
    while connect(webhook.reviews, second.certificate(), "h2").await.is_err() {
        assert!(Instant::now() < deadline, "the new certificate is not shown");
    }
    assert!(connect(webhook.reviews, first.certificate(), "h2").await.is_err());
    assert_eq!(before.review(&deployment(), &deployment()).await["allowed"], true, "connections go on");
}

#[tokio::test]
async fn after_sigterm_it_serves_until_it_is_forgotten_and_then_ends() {
    let authority = authority();
    let mut webhook = ready(&authority, 1).await;
    let begun = Instant::now();
    webhook.signal("-TERM");
    let reason = webhook.probe_until("/readyz", 503).await;
    assert!(reason.contains("shutting down"), "{reason}");
    assert_eq!(probe(webhook.probes, "/healthz").await.0, 200);
    let mut client = client(&webhook, &authority, Version::HTTP_2).await;
    assert_eq!(client.review(&deployment(), &deployment()).await["allowed"], true, "new connections are served");
    let status = webhook.wait().await;
    assert!(status.success(), "{status}");
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
}

/// A body that arrives piece by piece, as the test sends it.
struct Pieces(mpsc::UnboundedReceiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[tokio::test]
async fn a_request_that_has_begun_is_answered() {
    let authority = authority();
    for version in VERSIONS {
        let mut webhook = ready(&authority, 0).await;
        let mut client = Client::new(webhook.reviews, authority.certificate(), version).await.unwrap();
        let (pieces, body) = mpsc::unbounded_channel();
        let whole = Bytes::from(review(&deployment(), &with_replicas(5)));
        pieces.send(whole.slice(..100)).unwrap();
        let meanwhile = async {
            let deadline = Instant::now() + Duration::from_secs(10);
            while webhook.metric("gitadel_admission_body_bytes").await == 0 {
                assert!(Instant::now() < deadline, "{version:?}: the request does not arrive");
            }
            webhook.signal("-INT");
            // The listener is closed: the drain is over, and only what has begun is left.
            while tokio::net::TcpStream::connect(webhook.reviews).await.is_ok() {
                assert!(Instant::now() < deadline, "{version:?}: still listening");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(webhook.exited().is_none(), "{version:?}: it waits for the request");
            pieces.send(whole.slice(100..)).unwrap();
            drop(pieces);
        };
        let (answer, ()) = tokio::join!(client.send(Method::POST, "/admit", Pieces(body)), meanwhile);
        let (status, text) = answer.unwrap();
        assert_eq!(status, 200, "{version:?} {text}");
        assert!(text.contains("must be 2, not 5"), "{version:?} {text}");
        let status = webhook.wait().await;
        assert!(status.success(), "{version:?} {status}");
    }
}

#[test]
fn a_directory_that_is_not_there_ends_it_with_a_reason() {
    let output = process::command(std::path::Path::new("/nonexistent")).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("/nonexistent/snapshot cannot be watched"), "{log}");
}
