//! What a row of the table is: who tries what, exactly, and what must come of it.

use serde_json::Value;

/// Who makes the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A person in `system:masters`, whom RBAC refuses nothing.
    ClusterAdmin,
    /// A person with the ClusterRole `admin` in the namespace `shop`.
    NamespaceAdmin,
    /// Anybody whom a person in `system:masters` impersonates. The impersonated user is in that group as well, so that a
    /// refusal is never RBAC's.
    Impersonated(&'static str),
    /// Whoever holds a token of gitadel's own service account.
    StolenReconcilerToken,
    /// The kubelet of the node `n1`, by its certificate.
    Node,
}

impl Identity {
    pub fn described(self) -> String {
        match self {
            Self::ClusterAdmin => "cluster admin".into(),
            Self::NamespaceAdmin => "namespace admin".into(),
            Self::Impersonated(user) => {
                let short = user.strip_prefix("system:serviceaccount:kube-system:").unwrap_or(user);
                format!("impersonated `{short}`")
            }
            Self::StolenReconcilerToken => "stolen reconciler token".into(),
            Self::Node => "node `n1`".into(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Json,
    JsonPatch,
    Merge,
    Strategic,
    Apply,
    Protobuf,
}

impl Content {
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonPatch => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

pub type Edit = fn(&mut Value);

#[derive(Clone, Debug)]
pub enum Body {
    Nothing,
    /// As it is, but for [`uid_of`].
    Sent(Value),
    /// The live object, edited: what a client sends that reads and writes back.
    Edited(Edit),
    /// A new object like a living one, edited.
    Like {
        path: String,
        edit: Edit,
    },
    /// The live object, with one text for another of the same length: so its protobuf form stays one.
    Retyped {
        from: &'static str,
        to: &'static str,
    },
}

/// In a body: stands for the uid that the object at a path has at that moment.
pub fn uid_of(path: &str) -> String {
    format!("uid of {path}")
}

#[derive(Clone, Debug)]
pub enum Act {
    Request {
        verb: &'static str,
        /// `{web-}` in it stands for the first name there that begins so.
        path: String,
        content: Content,
        body: Body,
    },
    /// A command of the person, in the words of the shell, and its input.
    Kubectl { arguments: Vec<String>, input: String },
}

/// What must come of an attack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Denied at admission, by this rule; nothing in the cluster changed.
    Rejected(&'static str),
    /// Stored, and undone by gitadel; nothing else changed.
    Undone,
    /// Admitted, and nothing that is governed changed, because.
    Harmless(&'static str),
    /// Stored, and undone by somebody else than gitadel, as this says; nothing else changed.
    PutBack(&'static str),
    /// Admitted, with an effect that gitadel does not undo.
    Open { closed_by: &'static str },
}

#[derive(Clone, Debug)]
pub struct Attack {
    pub what: &'static str,
    pub by: Identity,
    pub act: Act,
    pub outcome: Outcome,
    /// Made while gitadel's webhook configuration has just been deleted.
    pub past_admission: bool,
    /// The object to look at, where the path is not its own.
    pub about: Option<String>,
    /// What the API server answers to a write that gitadel lets pass, where that is no success for another reason.
    pub answer: Option<u16>,
    /// What the cluster admin does so that the next row finds the cluster as this one did.
    pub afterwards: Vec<Act>,
}

/// An attack as a cluster admin, expected to be rejected by the rule for declared objects: the table says where it differs.
fn attack(what: &'static str, act: Act) -> Attack {
    Attack {
        what,
        by: Identity::ClusterAdmin,
        act,
        outcome: Outcome::Rejected("declared"),
        past_admission: false,
        about: None,
        answer: None,
        afterwards: Vec::new(),
    }
}

pub fn request(verb: &'static str, path: &str, content: Content, body: Body) -> Act {
    Act::Request { verb, path: path.to_owned(), content, body }
}

pub fn patch(what: &'static str, path: &str, content: Content, body: Value) -> Attack {
    attack(what, request("PATCH", path, content, Body::Sent(body)))
}

/// A merge patch, which most clients send.
pub fn merge(what: &'static str, path: &str, body: Value) -> Attack {
    patch(what, path, Content::Merge, body)
}

pub fn json_patch(what: &'static str, path: &str, body: Value) -> Attack {
    patch(what, path, Content::JsonPatch, body)
}

pub fn put(what: &'static str, path: &str, edit: Edit) -> Attack {
    attack(what, request("PUT", path, Content::Json, Body::Edited(edit)))
}

pub fn create(what: &'static str, path: &str, object: Value) -> Attack {
    Attack {
        outcome: Outcome::Rejected("undeclared"),
        ..attack(what, request("POST", path, Content::Json, Body::Sent(object)))
    }
}

pub fn create_like(what: &'static str, path: &str, model: &str, edit: Edit) -> Attack {
    attack(what, request("POST", path, Content::Json, Body::Like { path: model.to_owned(), edit }))
}

pub fn delete(what: &'static str, path: &str) -> Attack {
    attack(what, request("DELETE", path, Content::Json, Body::Nothing))
}

pub fn delete_with(what: &'static str, path: &str, options: Value) -> Attack {
    attack(what, request("DELETE", path, Content::Json, Body::Sent(options)))
}

/// Asks for something to be done: evictions, bindings, tokens.
pub fn post(what: &'static str, path: &str, body: Value) -> Attack {
    attack(what, request("POST", path, Content::Json, Body::Sent(body)))
}

pub fn any(what: &'static str, act: Act) -> Attack {
    attack(what, act)
}

/// A command in words that hold no blanks.
pub fn kubectl(what: &'static str, command: &str) -> Attack {
    kubectl_with(what, command, "")
}

pub fn kubectl_with(what: &'static str, command: &str, input: &str) -> Attack {
    let arguments = command.split_whitespace().map(str::to_owned).collect();
    attack(what, Act::Kubectl { arguments, input: input.to_owned() })
}

impl Attack {
    pub fn by(self, by: Identity) -> Self {
        Self { by, ..self }
    }

    /// As one of kube-controller-manager's controllers, or another account of `kube-system`.
    pub fn impersonating(self, user: &'static str) -> Self {
        self.by(Identity::Impersonated(user))
    }

    pub fn rejected_by(self, rule: &'static str) -> Self {
        Self { outcome: Outcome::Rejected(rule), ..self }
    }

    /// Of a kind about which Kubernetes asks nobody, so it needs no way round admission.
    pub fn undone(self) -> Self {
        Self { outcome: Outcome::Undone, ..self }
    }

    pub fn past_admission(self) -> Self {
        Self { past_admission: true, ..self }
    }

    /// Made while the webhook configuration is gone.
    pub fn undone_past_admission(self) -> Self {
        self.past_admission().undone()
    }

    pub fn put_back(self, by: &'static str) -> Self {
        Self { outcome: Outcome::PutBack(by), ..self }
    }

    pub fn harmless(self, because: &'static str) -> Self {
        Self { outcome: Outcome::Harmless(because), ..self }
    }

    pub fn open(self, closed_by: &'static str) -> Self {
        Self { outcome: Outcome::Open { closed_by }, ..self }
    }

    pub fn about(self, path: &str) -> Self {
        Self { about: Some(path.to_owned()), ..self }
    }

    pub fn answers(self, status: u16) -> Self {
        Self { answer: Some(status), ..self }
    }

    pub fn then(mut self, act: Act) -> Self {
        self.afterwards.push(act);
        self
    }

    /// Whether the object goes, so that undoing it is making another.
    pub fn is_deletion(&self) -> bool {
        matches!(&self.act, Act::Request { verb, path, .. } if *verb == "DELETE" || path.ends_with("/eviction"))
    }

    /// The object that the row is about, where it is one.
    pub fn target(&self) -> Option<String> {
        if let Some(path) = &self.about {
            return Some(path.clone());
        }
        let Act::Request { verb, path, body, .. } = &self.act else { return None };
        let path = path.split('?').next().unwrap_or_default();
        match (*verb, body) {
            ("POST", Body::Like { .. }) => None,
            ("POST", Body::Sent(object)) => {
                let name = object["metadata"]["name"].as_str()?;
                Some(format!("{path}/{name}"))
            }
            _ => Some(path.to_owned()),
        }
    }
}

impl Act {
    /// As the table says it.
    pub fn described(&self) -> String {
        match self {
            Self::Request { verb, path, content, .. } => {
                let form = match content {
                    Content::Json => "",
                    Content::JsonPatch => " (JSON patch)",
                    Content::Merge => " (merge patch)",
                    Content::Strategic => " (strategic merge patch)",
                    Content::Apply => " (server-side apply)",
                    Content::Protobuf => " (protobuf)",
                };
                format!("`{verb} {path}`{form}")
            }
            Self::Kubectl { arguments, .. } => format!("`kubectl {}`", arguments.join(" ")),
        }
    }
}
