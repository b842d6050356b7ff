//! HTTP responses.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use prometheus::Registry;

use crate::telemetry;

pub fn text(status: StatusCode, message: impl Into<String>) -> Response<Full<Bytes>> {
    let mut message = message.into();
    message.push('\n');
    typed(status, "text/plain; charset=utf-8", message)
}

pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    typed(status, "application/json", body)
}

/// All metrics, declared as what they are: Prometheus 3 refuses a scrape without a type.
pub fn metrics(registry: &Registry) -> Response<Full<Bytes>> {
    match telemetry::encode(registry) {
        Ok(metrics) => typed(StatusCode::OK, prometheus::TEXT_FORMAT, metrics),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub fn method_not_allowed(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {allowed} is answered here"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
