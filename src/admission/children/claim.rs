//! The claim for a volume that a template of one yields: for a replica of a StatefulSet, or for a Pod that brings its own.

use serde_json::{Map, Value, json};

use super::metadata::{self, adopt};

const PROTECTION: &str = "kubernetes.io/pvc-protection";

/// What a claim has to be. `selected` are the labels by which a StatefulSet finds its Pods.
pub fn wanted(
    template: &Value,
    selected: Map<String, Value>,
    child: &Value,
    is_default_class: impl Fn(&str) -> bool,
) -> Value {
    let mut labels = metadata::map(template, "labels");
    labels.extend(selected);
    let mut annotations = metadata::map(template, "annotations");
    // Which cluster provides the volume is known from its class.
    for key in ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"] {
        adopt(&mut annotations, &metadata::map(child, "annotations"), key, |_| true);
    }
    let mut finalizers = metadata::finalizers(template);
    if metadata::finalizers(child).contains(&PROTECTION.into()) && !finalizers.contains(&PROTECTION.into()) {
        finalizers.push(PROTECTION.into());
    }
    let mut spec = template["spec"].clone();
    let found = &child["spec"];
    if spec.get("volumeMode").is_none() && found["volumeMode"] == "Filesystem" {
        spec["volumeMode"] = "Filesystem".into();
    }
    if spec.get("storageClassName").is_none()
        && let Some(class) = found["storageClassName"].as_str().filter(|class| is_default_class(class))
    {
        spec["storageClassName"] = class.into();
    }
    // The API server says in both fields what is said in one.
    for (field, other) in [("dataSource", "dataSourceRef"), ("dataSourceRef", "dataSource")] {
        if spec.get(field).is_none() && spec.get(other).is_some() && found.get(field) == spec.get(other) {
            spec[field] = spec[other].clone();
        }
    }
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata::wanted(child, labels, annotations, finalizers),
        "spec": spec,
    })
}

/// The template of a claim among those of a StatefulSet, by its name.
pub fn template_of_set<'a>(set: &'a Value, name: &str) -> Option<&'a Value> {
    let mut templates = set["spec"]["volumeClaimTemplates"].as_array()?.iter();
    templates.find(|template| template["metadata"]["name"] == name)
}

/// The template of the claim that is called so for a replica of a StatefulSet.
pub fn template_of_replica<'a>(set: &'a Value, pod: &str, claim: &str) -> Option<&'a Value> {
    let name = claim.strip_suffix(pod)?.strip_suffix('-')?;
    template_of_set(set, name).filter(|_| is_of_set(set))
}

fn is_of_set(owner: &Value) -> bool {
    owner["kind"] == "StatefulSet"
}

/// The labels by which an owner finds its Pods, and its claims.
pub fn selected(owner: &Value) -> Map<String, Value> {
    owner["spec"]["selector"]["matchLabels"].as_object().cloned().unwrap_or_default()
}

/// The template of the claim that is called so among the volumes of a Pod.
pub fn template_of_pod<'a>(template: &'a Value, pod: &str, claim: &str) -> Option<&'a Value> {
    let name = claim.strip_prefix(pod)?.strip_prefix('-')?;
    let volume = template["spec"]["volumes"].as_array()?.iter().find(|volume| volume["name"] == name)?;
    Some(&volume["ephemeral"]["volumeClaimTemplate"]).filter(|template| template.is_object())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> Value {
        json!({"metadata": {"name": "data", "labels": {"tier": "db"}},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
    }

    #[test]
    fn what_the_api_server_adds_is_taken_over_and_nothing_else() {
        let selected = Map::from_iter([("app".to_owned(), json!("db"))]);
        let made = |class: &str| {
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": "data-db-0", "labels": {"app": "db", "tier": "db"}, "finalizers": [PROTECTION]},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                    "volumeMode": "Filesystem", "storageClassName": class}})
        };
        let wanted = |child: &Value| super::wanted(&template(), selected.clone(), child, |class| class == "fast");
        assert_eq!(wanted(&made("fast")), made("fast"));
        assert_ne!(wanted(&made("other")), made("other"));
        let edits = [
            ("/spec/volumeName", json!("pv-of-the-host")),
            ("/spec/resources/requests/storage", json!("1Ti")),
            ("/spec/volumeMode", json!("Block")),
            ("/spec/dataSource", json!({"kind": "PersistentVolumeClaim", "name": "of-others"})),
            ("/metadata/labels/app", json!("other")),
            ("/metadata/finalizers", json!(["example.com/hold"])),
        ];
        for (pointer, value) in edits {
            let edited = crate::admission::testing::with(&made("fast"), pointer, value);
            assert_ne!(wanted(&edited), edited, "{pointer}");
        }
    }

    #[test]
    fn a_pod_brings_claims_of_its_own() {
        let pod = json!({"spec": {"volumes": [
            {"name": "scratch", "ephemeral": {"volumeClaimTemplate": template()}}, {"name": "plain", "emptyDir": {}}]}});
        assert_eq!(template_of_pod(&pod, "web-x", "web-x-scratch"), Some(&template()));
        for claim in ["web-x-plain", "web-x-other", "web-xscratch", "web-y-scratch"] {
            assert_eq!(template_of_pod(&pod, "web-x", claim), None, "{claim}");
        }
    }
}
