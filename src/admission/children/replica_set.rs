//! The ReplicaSet that a Deployment's template yields.

use serde_json::{Value, json};

use super::additions::TEMPLATE_HASH;
use super::metadata;
use crate::snapshot::Source;

/// What a ReplicaSet has to be. Its number of replicas is judged by itself; what the controller notes in annotations says
/// nothing about what runs.
pub fn wanted(deployment: &Value, template: &Value, child: &Value) -> Value {
    let owner = deployment["metadata"]["name"].as_str().unwrap_or_default();
    let name = child["metadata"]["name"].as_str().unwrap_or_default();
    let hash = name.strip_prefix(owner).and_then(|rest| rest.strip_prefix('-')).unwrap_or_default();
    let hashed = |map: &Value| {
        let mut map = map.as_object().cloned().unwrap_or_default();
        map.insert(TEMPLATE_HASH.to_owned(), hash.into());
        map
    };
    let labels = hashed(&template["metadata"]["labels"]);
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"] = Value::Object(hashed(&selector["matchLabels"]));
    let mut pods = template.clone();
    pods["metadata"]["labels"] = Value::Object(labels.clone());
    let mut spec = json!({"selector": selector, "template": pods});
    for field in ["replicas", "minReadySeconds"] {
        if let Some(value) = child["spec"].get(field) {
            spec[field] = value.clone();
        }
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": metadata::wanted(child, labels, metadata::map(child, "annotations"), Vec::new()),
        "spec": spec,
    })
}

/// The greatest number of replicas that a ReplicaSet of this Deployment is given; none where somebody may set any number.
pub fn most_replicas(deployment: &Value, source: Option<&Source>) -> Option<i64> {
    let spec = &deployment["spec"];
    let text = |field: &str| deployment["metadata"][field].as_str().unwrap_or_default();
    let declared = spec["replicas"].as_i64().unwrap_or(1);
    let delegations = source.into_iter().flat_map(|source| &source.delegations);
    let fields = delegations
        .filter(|delegation| delegation.covers("apps", "Deployment", text("namespace"), text("name")))
        .flat_map(|delegation| &delegation.fields)
        .filter(|field| field.pattern.covers_fields(&["spec", "replicas"]));
    let mut most = declared;
    for field in fields {
        most = most.max(field.bounds.and_then(|bounds| bounds.maximum)?);
    }
    Some(most.saturating_add(surge(&spec["strategy"], most)))
}

/// How many Pods more than declared there may be while they are replaced.
fn surge(strategy: &Value, replicas: i64) -> i64 {
    let surge = &strategy["rollingUpdate"]["maxSurge"];
    let percent = surge.as_str().and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok());
    match (surge.as_i64(), percent) {
        (Some(number), _) => number,
        (None, Some(percent)) => replicas.saturating_mul(percent).saturating_add(99) / 100,
        (None, None) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::testing::{delegation, source};

    #[test]
    fn replicas_are_those_declared_or_delegated_and_a_surge() {
        let of = |replicas: i64, surge: Value| {
            json!({"metadata": {"name": "web", "namespace": "shop"},
                "spec": {"replicas": replicas, "strategy": {"rollingUpdate": {"maxSurge": surge}}}})
        };
        assert_eq!(most_replicas(&of(2, json!(1)), None), Some(3));
        assert_eq!(most_replicas(&of(10, json!("25%")), None), Some(13));
        assert_eq!(most_replicas(&json!({"spec": {"replicas": 2, "strategy": {"type": "Recreate"}}}), None), Some(2));
        let mut bounded = source("all");
        bounded.delegations = vec![delegation("scaler", ("apps", "Deployment"), "spec.replicas", Some((2, 8)))];
        assert_eq!(most_replicas(&of(2, json!("50%")), Some(&bounded)), Some(12));
        bounded.delegations = vec![delegation("scaler", ("apps", "Deployment"), "spec.replicas", None)];
        assert_eq!(most_replicas(&of(2, json!(1)), Some(&bounded)), None);
    }
}
