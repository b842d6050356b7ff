//! Every write that an API server takes, classified: what it is to gitadel, and who judges it.
//!
//! One table ([`ROWS`]) is behind three things that must not disagree: the requests that the webhook configuration keeps
//! out of the webhook ([`exemptions`]) and the rules by which it registers the others ([`registrable`]), what a test holds
//! against everything that a real API server serves ([`classify`]), and the table in `docs/enforcement.md`.
//!
//! Objects of all kinds, custom ones included, are judged alike, so one row stands for them. Subresources are named one by
//! one: what a subresource does cannot be told from its name. One that no row names still reaches the webhook, where no
//! rule knows it, but the test fails until somebody has thought about it.

mod exemption;
mod expression;
mod rows;

use super::request::Operation;
use super::verdict::Class;
use crate::snapshot::KindInfo;

pub use exemption::{Exemption, OWN_DRY_RUN, SERVICE_NAME, can_keep_out, exemptions};
pub use rows::ROWS;

/// The rules that may decide any request at all, and are in no row: a dry-run of the reconciler, a place that nobody
/// governs, and a snapshot that cannot be read.
pub const RULES_FOR_ALL: [&str; 3] = ["rehearsal", "scope", "snapshot"];

/// A group, and resources in it.
pub type Resources = (&'static str, &'static [&'static str]);

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Objects of any kind that is stored.
    Objects,
    /// A subresource that the definition of any custom kind may have, and these built-in kinds do.
    Common { subresource: &'static str, builtin: &'static [Resources] },
    /// These resources, or their subresource where it is not empty.
    Named { resources: &'static [Resources], subresource: &'static str },
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Treatment {
    /// The webhook, always.
    Judged,
    /// A match condition where it holds, else the webhook. The rules admit whatever the condition does.
    PreDecided(&'static Exemption),
    /// Nobody: the API server asks no webhook about it.
    NeverAsked { closed_by: &'static str },
}

#[derive(Debug, PartialEq)]
pub struct Row {
    pub target: Target,
    pub operations: &'static [Operation],
    /// What such a write may turn out to be. Empty where nobody is asked.
    pub classes: &'static [Class],
    /// The rules that may decide it, beside [`RULES_FOR_ALL`].
    pub rules: &'static [&'static str],
    pub treatment: Treatment,
    /// A sentence for people.
    pub means: &'static str,
}

/// A resource or subresource as discovery lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    pub group: String,
    pub resource: String,
    /// Empty for the resource itself.
    pub subresource: String,
    pub verbs: Vec<String>,
    /// Whether a CustomResourceDefinition defines it.
    pub custom: bool,
}

impl Row {
    /// Whether the row is about this resource or subresource.
    pub fn is_about(&self, group: &str, resource: &str, subresource: &str, custom: bool) -> bool {
        let among = |all: &[Resources]| all.iter().any(|(g, names)| *g == group && names.contains(&resource));
        match self.target {
            Target::Objects => subresource.is_empty(),
            Target::Common { subresource: name, builtin } => subresource == name && (custom || among(builtin)),
            Target::Named { resources, subresource: name } => subresource == name && among(resources),
        }
    }
}

impl Endpoint {
    fn has(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    /// Whether it keeps what is written to it. A resource that can be created and not read is a question, not an object.
    fn is_stored(&self) -> bool {
        ["get", "list"].iter().all(|verb| self.has(verb))
    }

    /// The operations of reviews to which its verbs lead. Whether a subresource connects cannot be told from its verbs:
    /// all of them do, or none.
    fn operations(&self, connects: bool) -> Vec<Operation> {
        let any = |verbs: &[&str]| verbs.iter().any(|verb| self.has(verb));
        if connects {
            return if any(&["get", "create", "update", "patch", "delete"]) {
                vec![Operation::Connect]
            } else {
                vec![]
            };
        }
        let verbs: [(&[&str], _); 3] = [
            (&["create"], Operation::Create),
            (&["update", "patch"], Operation::Update),
            (&["delete", "deletecollection"], Operation::Delete),
        ];
        verbs.into_iter().filter(|(verbs, _)| any(verbs)).map(|(_, operation)| operation).collect()
    }
}

/// The row of each operation that an endpoint offers; none where it cannot be written to.
///
/// # Errors
/// The operations that no row is about.
pub fn classify(endpoint: &Endpoint) -> Result<Vec<(Operation, &'static Row)>, Vec<Operation>> {
    let Endpoint { group, resource, subresource, custom, .. } = endpoint;
    let fits = |row: &&'static Row| {
        row.is_about(group, resource, subresource, *custom) && (row.target != Target::Objects || endpoint.is_stored())
    };
    let rows: Vec<_> = ROWS.iter().filter(fits).collect();
    let connects = rows.iter().any(|row| row.operations.contains(&Operation::Connect));
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for operation in endpoint.operations(connects) {
        match rows.iter().find(|row| row.operations.contains(&operation)) {
            Some(row) => found.push((operation, *row)),
            None => unknown.push(operation),
        }
    }
    if unknown.is_empty() { Ok(found) } else { Err(unknown) }
}

/// The row of a request that was made, whoever defines its kind.
pub fn row(group: &str, resource: &str, subresource: &str, operation: Operation) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.is_about(group, resource, subresource, true) && row.operations.contains(&operation))
}

/// What of a kind is registered in the version that Git uses, as webhook rules name it: what the API server asks about and
/// a row knows. The rest of it reaches the entry for everything else.
pub fn registrable(kind: &KindInfo) -> impl Iterator<Item = String> {
    let KindInfo { group, resource, subresources, .. } = kind;
    let is_asked = |subresource: &str| {
        let rows = ROWS.iter().filter(|row| row.is_about(group, resource, subresource, true));
        rows.into_iter().next().is_some_and(|row| !matches!(row.treatment, Treatment::NeverAsked { .. }))
    };
    let names = [String::new()].into_iter().chain(subresources.iter().cloned());
    names.filter(move |name| is_asked(name)).map(move |subresource| match subresource.as_str() {
        "" => resource.clone(),
        subresource => format!("{resource}/{subresource}"),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::admission::builtin::with_kept_status;
    use crate::admission::rule_names;
    use crate::admission::testing::World;

    fn endpoint(path: (&str, &str, &str), verbs: &[&str], custom: bool) -> Endpoint {
        let (group, resource, subresource) = path;
        let verbs = verbs.iter().map(|verb| (*verb).to_owned()).collect();
        Endpoint { group: group.into(), resource: resource.into(), subresource: subresource.into(), verbs, custom }
    }

    /// Group, resource and subresource; verbs; whether it is custom; operations.
    type Case = ((&'static str, &'static str, &'static str), &'static [&'static str], bool, &'static [Operation]);

    const STORED: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    const CHANGED: &[&str] = &["get", "patch", "update"];

    #[test]
    fn what_nobody_thought_about_is_not_classified() {
        use Operation::{Create, Update};
        let cases: [Case; 7] = [
            (("", "pods", "teleport"), CHANGED, false, &[Update]),
            (("apps", "deployments", "rollback"), &["create"], false, &[Create]),
            (("apps", "controllerrevisions", "status"), CHANGED, false, &[Update]),
            (("batch", "jobs", "scale"), CHANGED, false, &[Update]),
            (("example.org", "widgets", "status"), CHANGED, false, &[Update]),
            // A question of a kind that is not known: nothing says what its answer leads to.
            (("authorization.k8s.io", "oracles", ""), &["create"], false, &[Create]),
            // A row knows the subresource, and not this operation on it.
            (("", "pods", "binding"), &["create", "update"], false, &[Update]),
        ];
        for (path, verbs, custom, unknown) in cases {
            assert_eq!(classify(&endpoint(path, verbs, custom)).unwrap_err(), unknown, "{path:?}");
        }
    }

    #[test]
    fn what_is_known_has_one_row_for_each_operation() {
        use Operation::{Connect, Create, Delete, Update};
        let cases: [Case; 8] = [
            (("", "configmaps", ""), STORED, false, &[Create, Update, Delete]),
            (("example.org", "widgets", ""), STORED, true, &[Create, Update, Delete]),
            (("example.org", "widgets", "status"), CHANGED, true, &[Update]),
            (("example.org", "widgets", "scale"), CHANGED, true, &[Update]),
            (("", "pods", "exec"), &["create", "get"], false, &[Connect]),
            (("", "pods", "log"), &["get"], false, &[]),
            (("", "componentstatuses", ""), &["get", "list"], false, &[]),
            (("", "bindings", ""), &["create"], false, &[Create]),
        ];
        for (path, verbs, custom, operations) in cases {
            let found = classify(&endpoint(path, verbs, custom)).unwrap();
            assert_eq!(found.iter().map(|(operation, _)| *operation).collect::<Vec<_>>(), operations, "{path:?}");
        }
    }

    #[test]
    fn the_nearest_row_speaks() {
        let name = |row: &Row| match row.treatment {
            Treatment::PreDecided(exemption) => exemption.name,
            Treatment::Judged => "judged",
            Treatment::NeverAsked { .. } => "never asked",
        };
        for ((group, resource, subresource, operation), expected) in [
            (("", "nodes", "", Operation::Create), "node-create"),
            (("", "nodes", "", Operation::Update), "node-taints"),
            (("", "nodes", "", Operation::Delete), "judged"),
            (("apps", "deployments", "status", Operation::Update), "deployment-status"),
            (("apps", "daemonsets", "status", Operation::Update), "pure-status"),
            (("discovery.k8s.io", "endpointslices", "", Operation::Delete), "judged"),
            (
                ("admissionregistration.k8s.io", "validatingadmissionpolicies", "status", Operation::Update),
                "never asked",
            ),
        ] {
            assert_eq!(name(row(group, resource, subresource, operation).unwrap()), expected, "{resource}");
        }
        assert_eq!(row("", "pods", "teleport", Operation::Create), None);
    }

    #[test]
    fn rows_name_rules_that_exist_and_every_rule_has_a_row() {
        let known: BTreeSet<_> = rule_names().collect();
        let named: BTreeSet<_> = ROWS.iter().flat_map(|row| row.rules.iter().copied()).chain(RULES_FOR_ALL).collect();
        // The one that speaks where no row is.
        assert_eq!(known.difference(&named).collect::<Vec<_>>(), [&"unjudged"]);
        assert_eq!(named.difference(&known).count(), 0, "{named:?}");
    }

    #[test]
    fn what_nobody_is_asked_about_has_no_judge_and_all_else_has_one() {
        for row in ROWS {
            let asked = !matches!(row.treatment, Treatment::NeverAsked { .. });
            assert_eq!((asked, asked), (!row.rules.is_empty(), !row.classes.is_empty()), "{row:?}");
        }
    }

    #[test]
    fn status_that_others_act_on_is_judged_and_no_other() {
        let kept: BTreeSet<_> =
            with_kept_status().map(|(group, kind)| (group, format!("{}s", kind.to_lowercase()))).collect();
        let judged = ROWS.iter().filter(|row| row.rules.contains(&"status"));
        let resources = judged.flat_map(|row| match row.target {
            Target::Named { resources, subresource: "status" } => resources,
            _ => &[],
        });
        let named = resources.flat_map(|(group, names)| names.iter().map(move |name| (*group, (*name).to_owned())));
        assert_eq!(named.collect::<BTreeSet<_>>(), kept);
    }

    #[test]
    fn reads_are_not_registered_nor_what_nobody_is_asked_about() {
        let kind = |group: &str, resource: &str, subresources: &[&str]| {
            let kind = KindInfo {
                group: group.into(),
                resource: resource.into(),
                subresources: subresources.iter().map(|name| (*name).to_owned()).collect(),
                ..World::new().meta.kinds.remove(0)
            };
            registrable(&kind).collect::<Vec<_>>()
        };
        assert_eq!(kind("", "pods", &["exec", "log", "status", "teleport"]), ["pods", "pods/exec", "pods/status"]);
        assert_eq!(
            kind("example.org", "widgets", &["scale", "status"]),
            ["widgets", "widgets/scale", "widgets/status"]
        );
        assert!(kind("admissionregistration.k8s.io", "validatingadmissionpolicies", &["status"]).is_empty());
    }
}
