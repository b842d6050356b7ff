//! Whether a rule permits something, as the RBAC authorizer reads it.

use k8s_openapi::api::rbac::v1::PolicyRule;

/// A request that a rule may permit: any of the verbs on one resource.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    pub group: &'static str,
    /// With its subresource: `pods/exec`.
    pub resource: &'static str,
    pub verbs: &'static [&'static str],
}

/// Names of the objects that a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names<'a> {
    All,
    Only(&'a [String]),
}

impl Names<'_> {
    pub fn include(self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|only| only == name),
        }
    }
}

/// For which objects the rule permits what is needed; none where for no object.
pub fn permits<'a>(rule: &'a PolicyRule, need: &Need) -> Option<Names<'a>> {
    let groups = rule.api_groups.as_deref().unwrap_or_default();
    let resources = rule.resources.as_deref().unwrap_or_default();
    let names = match rule.resource_names.as_deref() {
        None | Some([]) => Names::All,
        Some(names) => Names::Only(names),
    };
    let is_permitted = |verb: &str| {
        rule.verbs.iter().any(|permitted| permitted == "*" || permitted == verb)
            && (names == Names::All || is_asked_by_name(verb, need.resource))
    };
    let permitted = groups.iter().any(|group| group == "*" || group == need.group)
        && resources.iter().any(|resource| is_resource(resource, need.resource))
        && need.verbs.iter().any(|verb| is_permitted(verb));
    permitted.then_some(names)
}

fn is_resource(permitted: &str, needed: &str) -> bool {
    permitted == "*"
        || permitted == needed
        || needed.split_once('/').is_some_and(|(_, sub)| permitted.strip_prefix("*/") == Some(sub))
}

/// A request to create an object, or for a whole collection, tells no name: a rule with names never permits it.
fn is_asked_by_name(verb: &str, resource: &str) -> bool {
    resource.contains('/') || !matches!(verb, "create" | "deletecollection")
}

/// Whether a rule permits everything on everything.
pub fn permits_everything(rule: &PolicyRule) -> bool {
    let all = |list: Option<&[String]>| list.unwrap_or_default().iter().any(|item| item == "*");
    all(Some(&rule.verbs))
        && all(rule.api_groups.as_deref())
        && all(rule.resources.as_deref())
        && rule.resource_names.as_deref().unwrap_or_default().is_empty()
}

/// Whether these rules permit all that `rule` does.
pub fn cover(rules: &[PolicyRule], rule: &PolicyRule) -> bool {
    broken_down(rule).iter().all(|atom| rules.iter().any(|owner| covers(owner, atom)))
}

/// Each verb on each resource by itself, as different rules may cover them.
fn broken_down(rule: &PolicyRule) -> Vec<PolicyRule> {
    let one = |item: &String| Some(vec![item.clone()]);
    let mut atoms = Vec::new();
    for verb in &rule.verbs {
        for url in rule.non_resource_urls.iter().flatten() {
            atoms.push(PolicyRule { verbs: vec![verb.clone()], non_resource_urls: one(url), ..PolicyRule::default() });
        }
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                let atom = PolicyRule {
                    verbs: vec![verb.clone()],
                    api_groups: one(group),
                    resources: one(resource),
                    ..PolicyRule::default()
                };
                match rule.resource_names.as_deref() {
                    None | Some([]) => atoms.push(atom),
                    Some(names) => {
                        atoms.extend(names.iter().map(|name| PolicyRule { resource_names: one(name), ..atom.clone() }));
                    }
                }
            }
        }
    }
    atoms
}

/// `atom` has one item in each of its lists.
fn covers(owner: &PolicyRule, atom: &PolicyRule) -> bool {
    let has = |owned: Option<&[String]>, wanted: Option<&[String]>, fits: &dyn Fn(&str, &str) -> bool| {
        let mut wanted = wanted.unwrap_or_default().iter();
        wanted.all(|wanted| owned.unwrap_or_default().iter().any(|owned| owned == "*" || fits(owned, wanted)))
    };
    let same = |owned: &str, wanted: &str| owned == wanted;
    let url = |owned: &str, wanted: &str| {
        owned == wanted || owned.strip_suffix('*').is_some_and(|prefix| wanted.starts_with(prefix))
    };
    let names = match (owner.resource_names.as_deref(), atom.resource_names.as_deref()) {
        (None | Some([]), _) => true,
        (Some(_), None | Some([])) => false,
        (owned, wanted) => has(owned, wanted, &same),
    };
    names
        && has(Some(&owner.verbs), Some(&atom.verbs), &same)
        && has(owner.api_groups.as_deref(), atom.api_groups.as_deref(), &same)
        && has(owner.resources.as_deref(), atom.resources.as_deref(), &is_resource)
        && has(owner.non_resource_urls.as_deref(), atom.non_resource_urls.as_deref(), &url)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rule(group: &str, resource: &str, verb: &str, names: &[&str]) -> PolicyRule {
        serde_json::from_value(
            json!({"apiGroups": [group], "resources": [resource], "verbs": [verb], "resourceNames": names}),
        )
        .unwrap()
    }

    #[test]
    fn rules_permit_as_the_authorizer_has_it() {
        let need = |group, resource, verbs| Need { group, resource, verbs };
        let exec = need("", "pods/exec", &["create", "get"]);
        let configurations = need("admissionregistration.k8s.io", "validatingwebhookconfigurations", &["update"]);
        let creation = need("admissionregistration.k8s.io", "validatingwebhookconfigurations", &["create"]);
        let group = "admissionregistration.k8s.io";
        let cases = [
            (rule("", "pods/exec", "create", &[]), exec, true),
            (rule("", "pods/exec", "get", &[]), exec, true),
            (rule("", "pods/exec", "list", &[]), exec, false),
            (rule("", "pods", "*", &[]), exec, false),
            (rule("", "pods/*", "*", &[]), exec, false),
            (rule("", "*/exec", "*", &[]), exec, true),
            (rule("*", "*", "*", &[]), exec, true),
            (rule("apps", "*", "*", &[]), exec, false),
            (rule("", "pods/exec", "create", &["web"]), exec, true),
            (rule(group, "*", "update", &[]), configurations, true),
            (rule(group, "*", "patch", &[]), configurations, false),
            (rule(group, "validatingwebhookconfigurations", "update", &["gitadel"]), configurations, true),
            (rule(group, "validatingwebhookconfigurations", "create", &["gitadel"]), creation, false),
            (rule(group, "validatingwebhookconfigurations", "*", &[]), creation, true),
        ];
        for (rule, need, expected) in cases {
            assert_eq!(permits(&rule, &need).is_some(), expected, "{rule:?} {need:?}");
        }
        let named = rule(group, "*", "update", &["a", "b"]);
        let names = permits(&named, &configurations).unwrap();
        assert!(names.include("b") && !names.include("gitadel"));
    }

    #[test]
    fn several_rules_cover_one() {
        let rules = |value: Value| serde_json::from_value::<Vec<PolicyRule>>(value).unwrap();
        let own = rules(json!([
            {"apiGroups": [""], "resources": ["pods", "*/status"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"], "resourceNames": ["a"]},
            {"apiGroups": [""], "resources": ["services"], "verbs": ["get"]},
            {"nonResourceURLs": ["/healthz*"], "verbs": ["get"]},
        ]));
        let cases = [
            (json!([{"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get"]}]), true),
            (json!([{"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["list"]}]), false),
            (json!([{"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["list"]}]), true),
            (json!([{"apiGroups": ["*"], "resources": ["pods"], "verbs": ["get"]}]), false),
            (json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["a"]}]), true),
            (
                json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["a", "b"]}]),
                false,
            ),
            (json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]), false),
            (json!([{"nonResourceURLs": ["/healthz/etcd"], "verbs": ["get"]}]), true),
            (json!([{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]), false),
        ];
        for (other, expected) in cases {
            assert_eq!(rules(other.clone()).iter().all(|rule| cover(&own, rule)), expected, "{other}");
        }
    }

    #[test]
    fn everything_is_all_of_it_without_names() {
        assert!(permits_everything(&rule("*", "*", "*", &[])));
        assert!(!permits_everything(&rule("*", "*", "*", &["a"])));
        assert!(!permits_everything(&rule("*", "*", "get", &[])));
        assert!(!permits_everything(&rule("apps", "*", "*", &[])));
    }
}
