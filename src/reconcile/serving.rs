//! Which snapshot the webhook beside this process serves.
//!
//! Asked over loopback: the webhook holds the question until it serves the generation, so nobody polls.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

#[derive(Clone)]
pub struct Serving {
    client: Client<HttpConnector, Empty<Bytes>>,
    /// Base URL of the webhook's probe listener, such as `http://127.0.0.1:9440`.
    base: String,
}

impl Serving {
    pub fn new(base: &str) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build(HttpConnector::new()),
            base: base.trim_end_matches('/').to_owned(),
        }
    }

    /// Waits until the webhook serves at least `generation`, at most `limit`.
    pub async fn wait(&self, generation: u64, limit: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                return false;
            }
            match tokio::time::timeout(left, self.ask(generation, left)).await {
                Ok(Some(served)) if served >= generation => return true,
                Err(_) => return false,
                // The webhook is starting, or of an older snapshot when its time was up.
                Ok(_) => tokio::time::sleep(Duration::from_millis(50).min(left)).await,
            }
        }
    }

    async fn ask(&self, generation: u64, limit: Duration) -> Option<u64> {
        let url = format!("{}/serving?generation={generation}&timeout_ms={}", self.base, limit.as_millis());
        let response = self.client.get(url.parse().ok()?).await.ok()?;
        let body = response.into_body().collect().await.ok()?.to_bytes();
        serde_json::from_slice::<serde_json::Value>(&body).ok()?["generation"].as_u64()
    }
}
