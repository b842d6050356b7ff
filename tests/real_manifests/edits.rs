//! What is tried on an object: every edit of a declared field, an added label, a deletion; and what became of it.

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::{Discovery, Scope};
use kube::{Api, Client};
use serde_json::{Value, json};

/// More of a CustomResourceDefinition's thousands of fields would prove nothing more.
const MOST_FIELDS: usize = 16;

/// A declared object in the cluster.
pub struct Target {
    pub manifest: Value,
    api: Api<DynamicObject>,
    resource: ApiResource,
    name: String,
    namespace: Option<String>,
}

#[derive(Debug)]
pub enum Answer {
    /// By gitadel; what it says.
    Denied(String),
    /// By the API server itself, which asks no webhook about an invalid object.
    Invalid,
}

impl Target {
    pub fn new(client: &Client, discovery: &Discovery, manifest: &Value) -> Self {
        let api_version = manifest["apiVersion"].as_str().unwrap();
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let kind = GroupVersionKind::gvk(group, version, manifest["kind"].as_str().unwrap());
        let (resource, capabilities) = discovery.resolve_gvk(&kind).unwrap_or_else(|| panic!("{kind:?} is served"));
        let namespace = (capabilities.scope == Scope::Namespaced)
            .then(|| manifest["metadata"]["namespace"].as_str().unwrap().to_owned());
        let api = match &namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
        Self { manifest: manifest.clone(), api, resource, name, namespace }
    }

    /// As denials name it: `deployments.apps "web" in "shop"`.
    pub fn title(&self) -> String {
        let ApiResource { plural, group, .. } = &self.resource;
        let kind = if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") };
        let namespace = self.namespace.as_ref().map(|namespace| format!(" in \"{namespace}\"")).unwrap_or_default();
        format!("{kind} \"{}\"{namespace}", self.name)
    }

    pub async fn live(&self) -> Value {
        serde_json::to_value(self.api.get(&self.name).await.unwrap()).unwrap()
    }

    /// Tries all that must be rejected. Returns how many edits gitadel denied.
    pub async fn attack(&self) -> Result<usize, String> {
        let fields = sample(editable(&self.manifest));
        let mut denied = 0;
        for (pointer, value) in &fields {
            let patch: json_patch::Patch =
                serde_json::from_value(json!([{"op": "replace", "path": pointer, "value": edited(value)}])).unwrap();
            let said =
                self.answer(self.patch(&Patch::Json::<()>(patch)).await).map_err(|e| format!("{pointer}: {e}"))?;
            if let Answer::Denied(message) = said {
                if !names_field(&message, pointer) {
                    return Err(format!("denied for the wrong reason: {pointer} was edited, it says {message}"));
                }
                denied += 1;
            }
        }
        if denied == 0 && !fields.is_empty() {
            return Err(format!("none of its edits reached gitadel: {fields:?}"));
        }
        let label = Patch::Merge(json!({"metadata": {"labels": {"added": "yes"}}}));
        self.expect(self.patch(&label).await, "metadata.labels[added] is not declared in Git")?;
        let deleted = self.api.delete(&self.name, &DeleteParams::background()).await;
        self.expect(deleted.map(|_| ()), "is governed by Git and must not be deleted")?;
        Ok(denied)
    }

    fn expect(&self, result: Result<(), kube::Error>, reason: &str) -> Result<(), String> {
        match self.answer(result)? {
            Answer::Denied(message) if message.contains(reason) => Ok(()),
            other => Err(format!("should say \"{reason}\": {other:?}")),
        }
    }

    async fn patch(&self, patch: &Patch<impl serde::Serialize + std::fmt::Debug>) -> Result<(), kube::Error> {
        self.api.patch(&self.name, &PatchParams::default(), patch).await.map(|_| ())
    }

    fn answer(&self, result: Result<(), kube::Error>) -> Result<Answer, String> {
        match result {
            Ok(()) => Err("admitted".into()),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                let denial =
                    status.message.strip_prefix("admission webhook \"enforce.gitadel.dev\" denied the request: ");
                match denial {
                    Some(denial) if denial.starts_with(&self.title()) => Ok(Answer::Denied(denial.to_owned())),
                    _ => Err(format!("refused for another reason: {}", status.message)),
                }
            }
            // A patch that does not fit the object is refused with 422 too: the declared field is not there.
            Err(kube::Error::Api(status))
                if matches!(status.code, 400 | 422) && !status.message.contains("the server rejected our request") =>
            {
                Ok(Answer::Invalid)
            }
            Err(error) => Err(format!("refused for another reason: {error}")),
        }
    }
}

/// Every declared value that can be changed without another object being meant, by its JSON pointer.
fn editable(manifest: &Value) -> Vec<(String, Value)> {
    let mut leaves = Vec::new();
    collect(manifest, String::new(), &mut leaves);
    leaves.retain(|(pointer, _)| {
        !matches!(pointer.as_str(), "/apiVersion" | "/kind" | "/metadata/name" | "/metadata/namespace")
    });
    leaves
}

fn collect(value: &Value, pointer: String, leaves: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                collect(value, format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")), leaves);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                collect(value, format!("{pointer}/{index}"), leaves);
            }
        }
        Value::Null => {}
        leaf => leaves.push((pointer, leaf.clone())),
    }
}

/// Evenly spread.
fn sample(leaves: Vec<(String, Value)>) -> Vec<(String, Value)> {
    let step = leaves.len().div_ceil(MOST_FIELDS).max(1);
    leaves.into_iter().step_by(step).collect()
}

fn edited(value: &Value) -> Value {
    match value {
        Value::String(text) => json!(format!("{text}x")),
        Value::Bool(flag) => json!(!flag),
        Value::Number(number) => json!(number.as_i64().unwrap() + 1),
        other => panic!("no leaf: {other}"),
    }
}

/// Whether a denial names the edited field, or one above it: below what is judged as a whole, that is what it names.
fn names_field(message: &str, pointer: &str) -> bool {
    let Some((_, findings)) = message.split_once("is governed by Git: ") else { return false };
    let verdicts = [" must be ", " is not declared ", " must not be there twice "];
    let ends = verdicts.iter().flat_map(|verdict| findings.match_indices(verdict)).map(|(end, _)| end);
    let fields = ends.filter_map(|end| findings[..end].rsplit(' ').next());
    fields.into_iter().any(|field| is_at_or_above(field, pointer))
}

/// `spec.containers[name=web].image` is `/spec/containers/0/image`.
fn is_at_or_above(field: &str, pointer: &str) -> bool {
    let (mut names, mut depth) = (String::new(), 0);
    for letter in field.chars() {
        match letter {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ if depth == 0 => names.push(letter),
            _ => {}
        }
    }
    let mut segments = pointer.split('/').skip(1);
    names.split('.').all(|name| segments.any(|segment| segment == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_must_name_the_field_that_was_edited() {
        let denial =
            |field: &str| format!("deployments.apps \"web\" in \"shop\" is governed by Git: {field} must be 1, not 2");
        let image = "/spec/template/spec/containers/0/image";
        assert!(names_field(&denial("spec.template.spec.containers[name=web.x].image"), image));
        assert!(names_field(&denial("spec.template.spec.containers"), image));
        assert!(!names_field(&denial("spec.template.spec.volumes"), image));
        assert!(!names_field(&denial("spec.replicas"), image));
        let two = denial("spec.paused must be true, not false (web.yaml:3), spec.template");
        assert!(names_field(&two, image) && !names_field(&two, "/spec/replicas"));
        assert!(!names_field("deployments.apps \"web\" is unknown", image));
    }
}
