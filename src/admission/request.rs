//! An `AdmissionReview` as the rules see it: borrowed from the parsed body, nothing copied but the list of groups.
//!
//! Everything here comes from outside. What is missing or contradicts itself is an error, never a default that a rule
//! could mistake for harmless.

use crate::document::{Document, Node};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

impl Operation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Create, Self::Update, Self::Delete, Self::Connect].into_iter().find(|o| o.as_str() == text)
    }
}

/// Who asks. Rules prefer not to look: whoever may impersonate can be anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User<'a> {
    pub name: &'a str,
    pub groups: Vec<&'a str>,
}

/// The kind of the objects in a review. For subresources such as `scale` it is not the kind of the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReviewedKind<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
}

#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub uid: &'a str,
    pub operation: Operation,
    pub group: &'a str,
    pub version: &'a str,
    /// The version that was asked for, where it was converted to that of the rule.
    pub requested_version: &'a str,
    pub resource: &'a str,
    pub subresource: Option<&'a str>,
    pub kind: ReviewedKind<'a>,
    /// Empty for cluster-scoped objects, apart from Namespaces, where it is the name of the Namespace itself.
    pub namespace: &'a str,
    /// Empty for every object of a `deletecollection`.
    pub name: &'a str,
    pub user: User<'a>,
    pub object: Option<Node<'a>>,
    pub old: Option<Node<'a>>,
    pub dry_run: bool,
    pub options: Option<Node<'a>>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error(
        "the body is no AdmissionReview of admission.k8s.io/v1 but {kind:?} of {api_version:?}: register the webhook with admissionReviewVersions [v1]"
    )]
    NotAReview { api_version: String, kind: String },
    #[error("the AdmissionReview has no {0}")]
    Missing(&'static str),
    #[error("the AdmissionReview's {0} is no string")]
    NotAString(&'static str),
    #[error("the AdmissionReview's operation {0:?} is none of CREATE, UPDATE, DELETE and CONNECT")]
    UnknownOperation(String),
}

impl<'a> Request<'a> {
    /// Reads a review.
    ///
    /// # Errors
    /// A body that is no v1 AdmissionReview or lacks what a verdict depends on.
    pub fn parse(body: &'a Document) -> Result<Self, RequestError> {
        let root = body.root();
        let text = |node: Option<Node<'a>>| node.and_then(Node::as_str).unwrap_or_default();
        let (api_version, kind) = (text(root.get("apiVersion")), text(root.get("kind")));
        if api_version != "admission.k8s.io/v1" || kind != "AdmissionReview" {
            return Err(RequestError::NotAReview { api_version: api_version.into(), kind: kind.into() });
        }
        Self::from_node(present(root, "request").ok_or(RequestError::Missing("request"))?)
    }

    /// Reads the `request` of a review.
    ///
    /// # Errors
    /// See [`Request::parse`].
    pub fn from_node(request: Node<'a>) -> Result<Self, RequestError> {
        let operation = required(request, "operation", "request.operation")?;
        let operation =
            Operation::parse(operation).ok_or_else(|| RequestError::UnknownOperation(operation.to_owned()))?;
        let kind = present(request, "kind").ok_or(RequestError::Missing("request.kind"))?;
        let resource = present(request, "resource").ok_or(RequestError::Missing("request.resource"))?;
        let user = present(request, "userInfo").ok_or(RequestError::Missing("request.userInfo"))?;
        let subresource = optional(request, "subResource", "request.subResource")?;
        let parsed = Self {
            uid: required(request, "uid", "request.uid")?,
            operation,
            group: optional(resource, "group", "request.resource.group")?,
            version: required(resource, "version", "request.resource.version")?,
            requested_version: match present(request, "requestResource") {
                Some(requested) => required(requested, "version", "request.requestResource.version")?,
                None => required(resource, "version", "request.resource.version")?,
            },
            resource: required(resource, "resource", "request.resource.resource")?,
            subresource: (!subresource.is_empty()).then_some(subresource),
            kind: ReviewedKind {
                group: optional(kind, "group", "request.kind.group")?,
                version: optional(kind, "version", "request.kind.version")?,
                kind: required(kind, "kind", "request.kind.kind")?,
            },
            namespace: optional(request, "namespace", "request.namespace")?,
            name: optional(request, "name", "request.name")?,
            user: User {
                name: optional(user, "username", "request.userInfo.username")?,
                groups: present(user, "groups")
                    .and_then(Node::list)
                    .map(|groups| groups.iter().filter_map(Node::as_str).collect())
                    .unwrap_or_default(),
            },
            object: present(request, "object"),
            old: present(request, "oldObject"),
            dry_run: request.get("dryRun").and_then(Node::as_bool).unwrap_or(false),
            options: present(request, "options"),
        };
        parsed.complete()?;
        Ok(parsed)
    }

    /// A verdict on a write needs both of its states.
    fn complete(&self) -> Result<(), RequestError> {
        match self.operation {
            Operation::Create if self.object.is_none() => Err(RequestError::Missing("request.object")),
            Operation::Update if self.object.is_none() => Err(RequestError::Missing("request.object")),
            Operation::Update if self.old.is_none() => Err(RequestError::Missing("request.oldObject")),
            Operation::Delete if self.old.is_none() && self.name.is_empty() => {
                Err(RequestError::Missing("request.oldObject"))
            }
            _ => Ok(()),
        }
    }
}

fn present<'a>(node: Node<'a>, key: &str) -> Option<Node<'a>> {
    node.get(key).filter(|value| !value.is_null())
}

/// Absent and null are the empty string; anything else that is no string is an error.
fn optional<'a>(node: Node<'a>, key: &str, path: &'static str) -> Result<&'a str, RequestError> {
    match present(node, key) {
        None => Ok(""),
        Some(value) => value.as_str().ok_or(RequestError::NotAString(path)),
    }
}

fn required<'a>(node: Node<'a>, key: &str, path: &'static str) -> Result<&'a str, RequestError> {
    match optional(node, key, path)? {
        "" => Err(RequestError::Missing(path)),
        text => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn review() -> Value {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u-1", "operation": "UPDATE", "namespace": "shop", "name": "web",
            "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
            "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
            "subResource": "status", "dryRun": true,
            "userInfo": {"username": "alice", "groups": ["system:masters", "dev"]},
            "object": {"a": 1}, "oldObject": {"a": 0}, "options": null,
        }})
    }

    #[test]
    fn a_review_is_read() {
        let body = Document::from_value(&review());
        let request = Request::parse(&body).unwrap();
        assert_eq!(
            (request.uid, request.operation, request.group, request.version, request.resource, request.subresource),
            ("u-1", Operation::Update, "apps", "v1", "deployments", Some("status"))
        );
        assert_eq!((request.kind.kind, request.namespace, request.name), ("Deployment", "shop", "web"));
        assert_eq!(request.user, User { name: "alice", groups: vec!["system:masters", "dev"] });
        assert_eq!(request.object.unwrap().to_value(), json!({"a": 1}));
        assert!(request.dry_run && request.options.is_none());
    }

    #[test]
    fn what_a_verdict_needs_must_be_there() {
        let cases: [(&str, Value, RequestError); 9] = [
            (
                "/kind",
                json!("Pod"),
                RequestError::NotAReview { api_version: "admission.k8s.io/v1".into(), kind: "Pod".into() },
            ),
            (
                "/apiVersion",
                json!("admission.k8s.io/v1beta1"),
                RequestError::NotAReview {
                    api_version: "admission.k8s.io/v1beta1".into(),
                    kind: "AdmissionReview".into(),
                },
            ),
            ("/request", Value::Null, RequestError::Missing("request")),
            ("/request/uid", Value::Null, RequestError::Missing("request.uid")),
            ("/request/uid", json!(7), RequestError::NotAString("request.uid")),
            ("/request/operation", json!("PATCH"), RequestError::UnknownOperation("PATCH".into())),
            ("/request/object", Value::Null, RequestError::Missing("request.object")),
            ("/request/oldObject", Value::Null, RequestError::Missing("request.oldObject")),
            ("/request/userInfo", Value::Null, RequestError::Missing("request.userInfo")),
        ];
        for (pointer, value, expected) in cases {
            let mut review = review();
            *review.pointer_mut(pointer).unwrap() = value;
            assert_eq!(Request::parse(&Document::from_value(&review)).unwrap_err(), expected, "{pointer}");
        }
    }

    #[test]
    fn a_deletion_is_told_by_its_old_object_or_its_name() {
        let mut review = review();
        review["request"]["operation"] = json!("DELETE");
        review["request"]["object"] = Value::Null;
        review["request"]["name"] = json!("");
        assert!(Request::parse(&Document::from_value(&review)).is_ok());
        review["request"]["oldObject"] = Value::Null;
        let error = Request::parse(&Document::from_value(&review)).unwrap_err();
        assert_eq!(error, RequestError::Missing("request.oldObject"));
    }
}
