//! One way round gitadel, who has it, and what closes it.

use std::fmt;

use serde::Serialize;

/// How much a finding is worth to somebody who wants to get round gitadel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// By design, or not to be told from here: named so that nobody takes the report for more than it is.
    Info,
    /// Needs something else to be of use.
    Low,
    /// Weakens enforcement, or stops it for a while.
    Medium,
    /// Gets round it in a part of the cluster, or with one step more.
    High,
    /// Gets round all of it.
    Critical,
}

impl Severity {
    /// The most severe first.
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Info];

    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum SubjectKind {
    User,
    Group,
    ServiceAccount,
}

/// Somebody whom RBAC can name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Who {
    pub kind: SubjectKind,
    /// Of a service account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub name: String,
}

impl Who {
    /// A user by name, who may be a service account.
    pub fn user(name: &str) -> Self {
        match name.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':')) {
            Some((namespace, account)) => Self::service_account(namespace, account),
            None => Self { kind: SubjectKind::User, namespace: None, name: name.to_owned() },
        }
    }

    pub fn group(name: &str) -> Self {
        Self { kind: SubjectKind::Group, namespace: None, name: name.to_owned() }
    }

    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self { kind: SubjectKind::ServiceAccount, namespace: Some(namespace.to_owned()), name: name.to_owned() }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, &self.namespace) {
            (SubjectKind::User, _) => write!(f, "User {}", self.name),
            (SubjectKind::Group, _) => write!(f, "Group {}", self.name),
            (SubjectKind::ServiceAccount, Some(namespace)) => write!(f, "ServiceAccount {namespace}/{}", self.name),
            (SubjectKind::ServiceAccount, None) => write!(f, "ServiceAccount {}", self.name),
        }
    }
}

/// Who has a way round, where, and through what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    #[serde(flatten)]
    pub who: Who,
    /// The namespace where they have it; everywhere where absent.
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What gives it to them: `ClusterRoleBinding ops`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
}

impl Subject {
    pub fn new(who: Who) -> Self {
        Self { who, place: None, through: None }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.who)?;
        if let Some(place) = &self.place {
            write!(f, " in {place}")?;
        }
        if let Some(through) = &self.through {
            write!(f, " ({through})")?;
        }
        Ok(())
    }
}

/// Equal findings of two runs over one cluster are equal to the byte: nothing in them tells of the time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of way it is; the same in every cluster and version.
    pub id: &'static str,
    pub severity: Severity,
    /// What there is.
    pub title: String,
    /// The object that it is about: `ClusterRole ops`, `Pod kube-system/debug`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub object: String,
    pub subjects: Vec<Subject>,
    /// Why it gets round gitadel.
    pub why: String,
    /// What to do about it.
    pub fix: String,
}

impl Finding {
    pub fn new(id: &'static str, severity: Severity, title: impl Into<String>) -> Self {
        Self {
            id,
            severity,
            title: title.into(),
            object: String::new(),
            subjects: Vec::new(),
            why: String::new(),
            fix: String::new(),
        }
    }

    pub fn object(self, object: impl Into<String>) -> Self {
        Self { object: object.into(), ..self }
    }

    pub fn subjects(self, subjects: impl IntoIterator<Item = Subject>) -> Self {
        let mut subjects: Vec<_> = subjects.into_iter().collect();
        subjects.sort();
        subjects.dedup();
        Self { subjects, ..self }
    }

    pub fn why(self, why: impl Into<String>) -> Self {
        Self { why: why.into(), ..self }
    }

    pub fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: fix.into(), ..self }
    }
}

/// `a, b and 3 more`: enough of a list to act on.
pub fn some_of<T: fmt::Display>(items: impl IntoIterator<Item = T>, most: usize) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    let shown = items.iter().take(most).cloned().collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_listed_from_the_most_severe_on() {
        assert!(Severity::ALL.windows(2).all(|pair| pair[0] > pair[1]));
    }

    #[test]
    fn a_service_account_is_one_by_either_name() {
        assert_eq!(Who::user("system:serviceaccount:shop:web"), Who::service_account("shop", "web"));
        assert_eq!(Who::user("alice").to_string(), "User alice");
        let subject = Subject {
            place: Some("shop".into()),
            through: Some("RoleBinding shop/ops".into()),
            ..Subject::new(Who::group("ops"))
        };
        assert_eq!(subject.to_string(), "Group ops in shop (RoleBinding shop/ops)");
    }

    #[test]
    fn a_long_list_is_cut() {
        assert_eq!(some_of(["a", "b"], 2), "a, b");
        assert_eq!(some_of(["a", "b", "c", "d"], 2), "a, b and 2 more");
    }
}
