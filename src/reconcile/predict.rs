//! What the API server would make of a manifest, concluded from one that it was asked about.
//!
//! A dry-run costs as much as a write, and most manifests of a repository differ from one another only in names, labels,
//! images and data. Defaults are added by form, not by such texts: from one asked pair of manifest and canonical object
//! follow the additions for every manifest of the same shape. A wrong prediction does no harm: the webhook admits only
//! what equals it, so that gitadel's own write would be refused and the server asked after all.

mod shape;

use std::collections::HashMap;

use serde_json::Value;

use super::canonicalise::{Declared, duplicate};
use crate::snapshot::KindInfo;
use shape::Shape;

/// More shapes than any real repository has; a bound for one that is made to fill memory.
const MAX_SHAPES: usize = 4096;

/// What was learned in one environment. Another environment needs another predictor.
#[derive(Debug)]
pub struct Predictor {
    environment: String,
    shapes: HashMap<blake3::Hash, Lesson>,
}

#[derive(Debug, PartialEq)]
enum Lesson {
    /// The server adds these.
    Additions(Vec<Addition>),
    /// Two manifests of this shape were treated differently.
    Unpredictable,
}

#[derive(Clone, Debug, PartialEq)]
struct Addition {
    path: Vec<Step>,
    value: Value,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Member(String),
    Item(usize),
}

impl Predictor {
    /// `environment` is the digest of what defaults depend on.
    pub fn new(environment: impl Into<String>) -> Self {
        Self { environment: environment.into(), shapes: HashMap::new() }
    }

    pub fn environment(&self) -> &str {
        &self.environment
    }

    /// Takes a lesson from a canonical object that the server was asked for.
    pub fn learn(&mut self, kind: &KindInfo, declared: &Declared, canonical: &Value) {
        let Some(shape) = Shape::of(kind, declared.object()) else { return };
        let mut additions = Vec::new();
        if !collect(declared.object(), canonical, &mut Vec::new(), &mut additions)
            || additions.iter().any(|addition| shape.may_copy(&addition.value))
        {
            return;
        }
        let full = self.shapes.len() >= MAX_SHAPES;
        match self.shapes.get_mut(&shape.digest) {
            Some(Lesson::Additions(known)) if *known == additions => {}
            Some(lesson) => *lesson = Lesson::Unpredictable,
            None if full => {}
            None => _ = self.shapes.insert(shape.digest, Lesson::Additions(additions)),
        }
    }

    /// The canonical object of a manifest whose shape is known.
    pub fn predict(&self, kind: &KindInfo, declared: &Declared) -> Option<Value> {
        let shape = Shape::of(kind, declared.object())?;
        let Some(Lesson::Additions(additions)) = self.shapes.get(&shape.digest) else { return None };
        let mut object = declared.object().clone();
        for addition in additions {
            put(&mut object, &addition.path, &addition.value)?;
        }
        // To be refused with a message, which is the asked way's.
        duplicate(&object, &kind.schema).is_none().then_some(object)
    }
}

/// Collects what the canonical object has beyond the manifest. False where anything declared was changed: normalisation
/// follows from values, not from form.
fn collect(declared: &Value, canonical: &Value, path: &mut Vec<Step>, additions: &mut Vec<Addition>) -> bool {
    match (declared, canonical) {
        (Value::Object(declared), Value::Object(canonical)) => {
            if !declared.keys().all(|name| canonical.contains_key(name)) {
                return false;
            }
            canonical.iter().all(|(name, value)| {
                path.push(Step::Member(name.clone()));
                let unchanged = match declared.get(name) {
                    Some(declared) => collect(declared, value, path, additions),
                    None => {
                        additions.push(Addition { path: path.clone(), value: value.clone() });
                        true
                    }
                };
                path.pop();
                unchanged
            })
        }
        (Value::Array(declared), Value::Array(canonical)) => {
            declared.len() == canonical.len()
                && declared.iter().zip(canonical).enumerate().all(|(index, (declared, canonical))| {
                    path.push(Step::Item(index));
                    let unchanged = collect(declared, canonical, path, additions);
                    path.pop();
                    unchanged
                })
        }
        (declared, canonical) => !declared.is_null() && declared == canonical,
    }
}

fn put(object: &mut Value, path: &[Step], value: &Value) -> Option<()> {
    let (last, parents) = path.split_last()?;
    let parent = parents.iter().try_fold(object, |value, step| match step {
        Step::Member(name) => value.get_mut(name),
        Step::Item(index) => value.get_mut(*index),
    })?;
    let Step::Member(name) = last else { return None };
    parent.as_object_mut()?.insert(name.clone(), value.clone());
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn kind(group: &str, kind: &str) -> KindInfo {
        KindInfo {
            group: group.into(),
            kind: kind.into(),
            resource: String::new(),
            version: "v1".into(),
            namespaced: true,
            subresources: Default::default(),
            scale_paths: Default::default(),
            schema: Default::default(),
            registered: true,
        }
    }

    fn deployment() -> KindInfo {
        kind("apps", "Deployment")
    }

    fn declared(kind: &KindInfo, manifest: Value) -> Declared {
        Declared::new(kind, &manifest).unwrap()
    }

    /// Defaults as the server sets them: some constant, some by an image's tag, some copied.
    fn server(declared: &Value) -> Value {
        let mut object = declared.clone();
        let spec = object["spec"].as_object_mut().unwrap();
        spec.entry("replicas").or_insert(json!(1));
        spec.insert("revisionHistoryLimit".into(), json!(10));
        let pod = spec["template"]["spec"].as_object_mut().unwrap();
        pod.insert("dnsPolicy".into(), json!("ClusterFirst"));
        if let Some(account) = pod.get("serviceAccountName").cloned() {
            pod.insert("serviceAccount".into(), account);
        }
        for container in pod["containers"].as_array_mut().unwrap() {
            let name = container["image"].as_str().unwrap().rsplit('/').next().unwrap();
            let policy = if name.ends_with(":latest") || !name.contains(':') { "Always" } else { "IfNotPresent" };
            container.as_object_mut().unwrap().entry("imagePullPolicy").or_insert(json!(policy));
        }
        object
    }

    fn manifest(name: &str, replicas: Option<u32>, images: &[String], account: Option<&str>) -> Value {
        let containers: Vec<Value> = images
            .iter()
            .enumerate()
            .map(|(n, image)| json!({"name": format!("{name}-{n}"), "image": image}))
            .collect();
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers}},
            },
        });
        if let Some(replicas) = replicas {
            object["spec"]["replicas"] = replicas.into();
        }
        if let Some(account) = account {
            object["spec"]["template"]["spec"]["serviceAccountName"] = account.into();
        }
        object
    }

    fn any_manifest() -> impl Strategy<Value = Value> {
        let image =
            prop::sample::select(vec!["nginx", "nginx:latest", "nginx:1.27", "r.example:5000/a", "r.example:5000/a:2"]);
        (
            "[a-z]{2,6}",
            prop::option::of(0u32..4),
            prop::collection::vec(image.prop_map(str::to_owned), 1..3),
            prop::option::of(prop::sample::select(vec!["robot", "other"])),
        )
            .prop_map(|(name, replicas, images, account)| manifest(&name, replicas, &images, account))
    }

    proptest! {
        #[test]
        fn a_prediction_is_what_the_server_would_answer(manifests in prop::collection::vec(any_manifest(), 1..40)) {
            let kind = deployment();
            let mut predictor = Predictor::new("e");
            for manifest in manifests {
                let declared = declared(&kind, manifest);
                let answer = server(declared.object());
                if let Some(predicted) = predictor.predict(&kind, &declared) {
                    prop_assert_eq!(&predicted, &answer);
                }
                predictor.learn(&kind, &declared, &answer);
            }
        }
    }

    #[test]
    fn names_images_and_numbers_of_replicas_do_not_matter() {
        let kind = deployment();
        let mut predictor = Predictor::new("e");
        let learned = declared(&kind, manifest("web", Some(2), &["nginx:1.27".into()], None));
        assert_eq!(predictor.predict(&kind, &learned), None);
        predictor.learn(&kind, &learned, &server(learned.object()));
        let other = declared(&kind, manifest("shop", Some(3), &["redis:7".into()], None));
        assert_eq!(predictor.predict(&kind, &other), Some(server(other.object())));
        for different in [
            manifest("shop", None, &["redis:7".into()], None),
            manifest("shop", Some(0), &["redis:7".into()], None),
            manifest("shop", Some(2), &["redis".into()], None),
            manifest("shop", Some(2), &["redis:7".into(), "redis:7".into()], None),
            manifest("shop", Some(2), &["redis:7".into()], Some("robot")),
        ] {
            assert_eq!(predictor.predict(&kind, &declared(&kind, different.clone())), None, "{different}");
        }
    }

    #[test]
    fn a_shape_with_normalised_values_is_never_predicted() {
        let kind = deployment();
        let mut predictor = Predictor::new("e");
        let learned = declared(&kind, manifest("web", Some(2), &["nginx:1.27".into()], None));
        let mut answer = server(learned.object());
        answer["spec"]["replicas"] = json!("2");
        predictor.learn(&kind, &learned, &answer);
        assert_eq!(predictor.predict(&kind, &learned), None);
    }

    #[test]
    fn an_addition_that_may_be_a_copy_of_a_name_teaches_nothing() {
        let kind = deployment();
        let mut predictor = Predictor::new("e");
        let learned = declared(&kind, manifest("web", Some(2), &["nginx:1.27".into()], None));
        let mut answer = server(learned.object());
        answer["metadata"]["labels"]["copied"] = json!("x");
        answer["spec"]["hostname"] = json!("web");
        predictor.learn(&kind, &learned, &answer);
        assert_eq!(predictor.predict(&kind, &learned), None);
    }

    #[test]
    fn contradicting_answers_end_prediction() {
        let kind = deployment();
        let mut predictor = Predictor::new("e");
        let learned = declared(&kind, manifest("web", Some(2), &["nginx:1.27".into()], None));
        let mut other = server(learned.object());
        predictor.learn(&kind, &learned, &other);
        other["spec"]["injected"] = json!(true);
        predictor.learn(&kind, &learned, &other);
        assert_eq!(predictor.predict(&kind, &learned), None);
    }

    #[test]
    fn secrets_are_predicted_only_with_canonical_base64() {
        let kind = kind("", "Secret");
        let mut predictor = Predictor::new("e");
        let secret = |value: &str| json!({"metadata": {"name": "s", "namespace": "n"}, "data": {"a": value}});
        let learned = declared(&kind, secret("YQ=="));
        let mut answer = learned.object().clone();
        answer["type"] = json!("Opaque");
        predictor.learn(&kind, &learned, &answer);
        let other = predictor.predict(&kind, &declared(&kind, secret("Yg=="))).unwrap();
        assert_eq!((&other["type"], &other["data"]["a"]), (&json!("Opaque"), &json!("Yg==")));
        assert_eq!(predictor.predict(&kind, &declared(&kind, secret("not base64"))), None);
    }

    #[test]
    fn kinds_whose_defaults_copy_values_are_never_predicted() {
        for (group, name) in [("", "Namespace"), ("batch", "Job"), ("", "Pod"), ("example.com", "Widget")] {
            let kind = kind(group, name);
            let learned = declared(&kind, json!({"metadata": {"name": "a"}}));
            let mut predictor = Predictor::new("e");
            predictor.learn(&kind, &learned, learned.object());
            assert_eq!(predictor.predict(&kind, &learned), None, "{name}");
        }
    }
}
