//! APIs that other servers answer for, and objects that other servers convert.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;

use super::cluster::Cluster;
use super::finding::{Finding, Severity};
use super::rbac::{Rbac, name};

/// Nothing is stored there: numbers that autoscalers read.
const METRICS: [&str; 3] = ["metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io"];

pub fn findings(cluster: &Cluster) -> Vec<Finding> {
    let builtin = builtin_groups();
    let services = cluster.api_services.iter().filter_map(|service| aggregated(service, &builtin));
    services.chain(cluster.definitions.iter().map(converted)).collect()
}

/// Groups that Kubernetes' own roles are about, all of which kube-apiserver itself answers for but the metrics.
fn builtin_groups() -> BTreeSet<String> {
    let bootstrap = Rbac::bootstrap();
    let rules = bootstrap.cluster_roles.iter().flat_map(|role| role.rules.iter().flatten());
    let groups = rules.flat_map(|rule| rule.api_groups.iter().flatten()).filter(|group| *group != "*").cloned();
    groups.filter(|group| !METRICS.contains(&group.as_str())).collect()
}

fn aggregated(service: &APIService, builtin: &BTreeSet<String>) -> Option<Finding> {
    let spec = service.spec.as_ref()?;
    // Without a service this server answers itself.
    let target = spec.service.as_ref()?;
    let group = spec.group.as_deref().unwrap_or_default();
    let object = format!("APIService {}", name(&service.metadata));
    let server =
        format!("{}/{}", target.namespace.as_deref().unwrap_or_default(), target.name.as_deref().unwrap_or_default());
    let unverified = spec.insecure_skip_tls_verify == Some(true);
    let severity = match group {
        _ if builtin.contains(group) => Severity::Critical,
        _ if unverified => Severity::High,
        _ if METRICS.contains(&group) => Severity::Low,
        _ => Severity::Medium,
    };
    let unverified =
        if unverified { " Its certificate is not verified: whoever answers there is believed." } else { "" };
    Some(
        Finding::new("GA-API-020", severity, format!("{object} hands {group} to Service {server}"))
            .why(format!(
                "Its objects are that server's: they reach no webhook of this one, and the server gets the names and groups of \
                 whoever asks.{unverified}"
            ))
            .fix("Delete it if nobody needs it; else declare it and its server in Git, with a caBundle, and let few change them.")
            .object(object),
    )
}

fn converted(definition: &CustomResourceDefinition) -> Finding {
    let object = format!("CustomResourceDefinition {}", name(&definition.metadata));
    let webhook = definition.spec.conversion.as_ref().and_then(|conversion| conversion.webhook.as_ref());
    let client = webhook.and_then(|webhook| webhook.client_config.as_ref());
    let at = match client.map(|client| (&client.service, &client.url)) {
        Some((Some(service), _)) => format!("Service {}/{}", service.namespace, service.name),
        Some((None, Some(url))) => url.clone(),
        _ => "nobody knows what".into(),
    };
    Finding::new("GA-API-021", Severity::Low, format!("Objects of {object} are converted by {at}"))
        .why("It sees each of these objects and says what it is in another version, before gitadel judges and whenever it is read.")
        .fix("Declare the definition and the server in Git, and let few change what runs behind it.")
        .object(object)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn aggregated_apis_by_what_they_take_over() {
        let service = |group: &str, settings: Value| {
            let mut spec = json!({"group": group, "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
                "service": {"namespace": "x", "name": "y"}});
            spec.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
            serde_json::from_value::<APIService>(json!({"metadata": {"name": format!("v1.{group}")}, "spec": spec}))
                .unwrap()
        };
        let cases = [
            (service("apps", json!({"service": null})), None),
            (service("example.com", json!({})), Some(Severity::Medium)),
            (service("metrics.k8s.io", json!({})), Some(Severity::Low)),
            (service("metrics.k8s.io", json!({"insecureSkipTLSVerify": true})), Some(Severity::High)),
            (service("apps", json!({})), Some(Severity::Critical)),
        ];
        for (service, expected) in cases {
            let found = aggregated(&service, &builtin_groups()).map(|finding| finding.severity);
            assert_eq!(found, expected, "{service:?}");
        }
    }
}
