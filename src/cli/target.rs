//! Where the API server reaches the webhook.

use clap::Args;

use crate::admission::server::ADMIT_PATH;
use crate::reconcile::webhook_configuration::ClientTarget;

const SERVICE_PORT: u16 = 443;

#[derive(Args, Clone, Debug)]
pub struct TargetArgs {
    /// Service through which the API server reaches the webhook: NAMESPACE/NAME.
    #[arg(long, default_value = "gitadel-system/gitadel", value_parser = service, conflicts_with = "webhook_url")]
    webhook_service: ClientTarget,
    /// URL by which the API server reaches the webhook, instead of a Service: https://HOST:PORT/admit.
    #[arg(long, value_parser = webhook_url)]
    pub webhook_url: Option<String>,
}

impl TargetArgs {
    pub fn target(&self) -> ClientTarget {
        self.webhook_url.clone().map_or_else(|| self.webhook_service.clone(), ClientTarget::Url)
    }
}

fn service(text: &str) -> Result<ClientTarget, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok(ClientTarget::Service { namespace: namespace.into(), name: name.into(), port: SERVICE_PORT })
        }
        _ => Err("it must be NAMESPACE/NAME".into()),
    }
}

/// The webhook answers on one path only: any other would reject every write, and no one could mend it.
fn webhook_url(text: &str) -> Result<String, String> {
    let url: hyper::Uri = text.parse().map_err(|error| format!("{error}"))?;
    let is_whole = url.scheme_str() == Some("https") && url.host().is_some_and(|host| !host.is_empty());
    if is_whole && url.path() == ADMIT_PATH && url.query().is_none() {
        Ok(text.to_owned())
    } else {
        Err(format!("it must be https://HOST:PORT{ADMIT_PATH}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_webhook_is_one_that_answers() {
        assert!(webhook_url("https://127.0.0.1:9443/admit").is_ok());
        for wrong in [
            "https://127.0.0.1:9443",
            "https://127.0.0.1:9443/admit/",
            "https://127.0.0.1:9443/admit?a=b",
            "http://127.0.0.1:9443/admit",
            "127.0.0.1:9443",
            "/admit",
        ] {
            assert!(webhook_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_service_has_a_namespace() {
        assert!(service("gitadel-system/gitadel").is_ok());
        for wrong in ["gitadel", "/gitadel", "gitadel-system/"] {
            assert!(service(wrong).is_err(), "{wrong}");
        }
    }
}
