//! Load as an API server makes it: many requests at once over one HTTP/2 connection that stays open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::client::connect;
use crate::figures::Times;

/// Requests under way at once at full load.
const STREAMS: usize = 32;
const STEADY: Duration = Duration::from_secs(5);

type Connection = SendRequest<Full<Bytes>>;

async fn open(address: SocketAddr, authority: &str) -> Connection {
    let stream = connect(address, authority, "h2").await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn send(connection: &mut Connection, review: Bytes) {
    let request = Request::post("https://localhost/admit?timeout=5s").body(Full::new(review)).unwrap();
    let answer = connection.send_request(request).await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    answer.into_body().collect().await.unwrap();
}

/// As many requests as the server answers, and in which time.
pub async fn full(address: SocketAddr, authority: &str, reviews: &[Bytes], lasting: Duration) -> (u64, Duration) {
    let connection = open(address, authority).await;
    let count = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let streams: Vec<_> = (0..STREAMS)
        .map(|stream| {
            let (mut connection, count, reviews) = (connection.clone(), Arc::clone(&count), reviews.to_vec());
            tokio::spawn(async move {
                for review in reviews.iter().cycle().skip(stream) {
                    if start.elapsed() > lasting {
                        return;
                    }
                    send(&mut connection, review.clone()).await;
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for stream in streams {
        stream.await.unwrap();
    }
    (count.load(Ordering::Relaxed), start.elapsed())
}

/// Latencies at a steady rate, each from the moment when the request was due: a server that falls behind is not spared.
pub async fn steady(address: SocketAddr, authority: &str, reviews: &[Bytes], rate: f64) -> Times {
    let connection = open(address, authority).await;
    let times = Arc::new(Mutex::new(Times::default()));
    let mut requests = tokio::task::JoinSet::new();
    let mut due = pace(rate);
    for review in reviews.iter().cycle() {
        let Some(due) = due.recv().await else { break };
        let (mut connection, review, times) = (connection.clone(), review.clone(), Arc::clone(&times));
        requests.spawn(async move {
            send(&mut connection, review).await;
            let took = due.elapsed();
            times.lock().await.add(took);
        });
        while requests.try_join_next().is_some() {}
    }
    while requests.join_next().await.is_some() {}
    times.lock().await.clone()
}

/// Tells when a request is due. The timer of the runtime is too coarse, and who waits in a loop takes a core from the server.
fn pace(rate: f64) -> UnboundedReceiver<Instant> {
    let (tell, told) = unbounded_channel();
    std::thread::spawn(move || {
        let start = Instant::now();
        for number in 0..(rate * STEADY.as_secs_f64()) as usize {
            let due = start + Duration::from_secs_f64(number as f64 / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if tell.send(due).is_err() {
                return;
            }
        }
    });
    told
}
