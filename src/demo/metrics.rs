//! Reads the metrics of the two processes, over HTTP, as Prometheus would.

use http_body_util::{BodyExt, Empty};
use hyper::Uri;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

#[derive(Debug, thiserror::Error)]
#[error("{url} gave no answer: {reason}")]
pub struct ScrapeError {
    url: String,
    reason: String,
}

/// Asks a probe listener; an answer other than 2xx is an error as well.
pub async fn get(url: &str) -> Result<String, ScrapeError> {
    let failed = |reason: String| ScrapeError { url: url.to_owned(), reason };
    let uri: Uri = url.parse().map_err(|error: hyper::http::uri::InvalidUri| failed(error.to_string()))?;
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let response = client.get(uri).await.map_err(|error| failed(error.to_string()))?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| failed(error.to_string()))?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() { Ok(text) } else { Err(failed(format!("{status}: {}", text.trim()))) }
}

/// One process's metrics at one moment.
#[derive(Debug)]
pub struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    /// As printed: `enforcement="demo",result="ok"`.
    labels: String,
    value: f64,
}

impl Metrics {
    /// Reads the text format; what is no sample is passed over.
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => (name, labels.strip_suffix('}')?),
                None => (series, ""),
            };
            Some(Sample { name: name.into(), labels: labels.into(), value: value.parse().ok()? })
        });
        Self { samples: samples.collect() }
    }

    /// The sum over all series of this name that have all these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &Sample, (label, value): &(&str, &str)| {
            sample.labels.split(',').any(|pair| pair == format!("{label}=\"{value}\""))
        };
        let chosen = self.samples.iter().filter(|sample| sample.name == name);
        chosen.filter(|sample| labels.iter().all(|label| has(sample, label))).map(|sample| sample.value).sum()
    }

    /// The mean of a histogram, if it has seen anything.
    pub fn mean(&self, name: &str) -> Option<f64> {
        let count = self.sum(&format!("{name}_count"), &[]);
        (count > 0.0).then(|| self.sum(&format!("{name}_sum"), &[]) / count)
    }

    /// The series of these names as they are exposed, but for those that stand at zero.
    pub fn lines(&self, names: &[&str]) -> Vec<String> {
        let chosen = self.samples.iter().filter(|sample| names.contains(&sample.name.as_str()) && sample.value != 0.0);
        chosen
            .map(|Sample { name, labels, value }| match labels.as_str() {
                "" => format!("{name} {value}"),
                labels => format!("{name}{{{labels}}} {value}"),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP gitadel_admission_reviews_total Writes that were judged.
# TYPE gitadel_admission_reviews_total counter
gitadel_admission_reviews_total{operation="UPDATE",outcome="allow",rule="declared"} 12
gitadel_admission_reviews_total{operation="CREATE",outcome="deny",rule="undeclared"} 3
gitadel_admission_reviews_total{operation="UPDATE",outcome="deny",rule="declared"} 4
gitadel_admission_reviews_total{operation="DELETE",outcome="deny",rule="declared"} 0
gitadel_admission_decision_seconds_sum 0.5
gitadel_admission_decision_seconds_count 2
"#;

    #[test]
    fn series_are_summed_by_labels() {
        let metrics = Metrics::parse(TEXT);
        let reviews = "gitadel_admission_reviews_total";
        assert_eq!(metrics.sum(reviews, &[]), 19.0);
        assert_eq!(metrics.sum(reviews, &[("outcome", "deny")]), 7.0);
        assert_eq!(metrics.sum(reviews, &[("outcome", "deny"), ("rule", "declared")]), 4.0);
        assert_eq!(metrics.sum(reviews, &[("outcome", "other")]), 0.0);
        assert_eq!(metrics.mean("gitadel_admission_decision_seconds"), Some(0.25));
        assert_eq!(metrics.mean("absent"), None);
    }

    #[test]
    fn series_at_zero_are_not_shown() {
        let lines = Metrics::parse(TEXT).lines(&["gitadel_admission_reviews_total"]);
        assert_eq!(lines.len(), 3);
        assert!(lines[1].ends_with("rule=\"undeclared\"} 3"), "{lines:?}");
    }
}
