//! What is wrong at one place of an object, in words.

use std::fmt;

use serde_json::Value;

use super::mask::is_masked;
use super::path::Path;

/// One place where an object is not, or would not be, as it has to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub path: Path,
    pub fault: Fault,
    /// What Git declares there; for [`Fault::OutOfBounds`] the bounds (`minimum`, `maximum`).
    pub wanted: Option<Value>,
    pub given: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Another value than the declared one.
    Changed,
    /// A value where Git declares none.
    Undeclared,
    /// A declared value is gone.
    Removed,
    /// The items of a list stand in another order.
    Reordered,
    /// Two items of a list have the same key, or two members of a set are the same.
    Duplicate,
    /// A delegated field has a value that the delegation does not allow.
    OutOfBounds,
    /// A value that the server sets once, and that may not change afterwards.
    Allotted,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "declared in Git", "the value that Git declares")
    }
}

/// A finding about an object whose desired state was recorded, and is not in Git.
pub struct AgainstRecord<'a>(pub &'a Finding);

impl fmt::Display for AgainstRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, "in the recorded state", "the recorded value")
    }
}

impl Finding {
    fn write(&self, f: &mut fmt::Formatter<'_>, known: &str, masked: &str) -> fmt::Result {
        let path = if self.path.0.is_empty() { &"the object" as &dyn fmt::Display } else { &self.path };
        match (self.fault, &self.wanted, &self.given) {
            // The hashes that stand for the values of a Secret tell nobody anything.
            (Fault::Changed, Some(wanted), given) if is_masked(wanted) || given.as_ref().is_some_and(is_masked) => {
                write!(f, "{path} must be {masked}")
            }
            (Fault::Changed, Some(wanted), Some(given)) => {
                let (wanted, given) = (wanted.to_string(), given.to_string());
                let from = first_to_show(&wanted, &given);
                write!(f, "{path} must be {}, not {}", Excerpt(&wanted, from), Excerpt(&given, from))
            }
            (Fault::Changed, Some(wanted), None) => write!(f, "{path} must be {}, but is missing", Short(wanted)),
            (Fault::Changed, None, _) | (Fault::Undeclared, _, _) => write!(f, "{path} is not {known}"),
            (Fault::Removed, _, _) => write!(f, "{path} must not be removed"),
            (Fault::Reordered, _, _) => write!(f, "{path} must keep the order of its items"),
            (Fault::Duplicate, _, _) => write!(f, "{path} must not be there twice"),
            (Fault::OutOfBounds, bounds, given) => {
                write!(f, "{path} must be {}", BoundsText(bounds.as_ref()))?;
                given.as_ref().map_or(Ok(()), |given| write!(f, ", not {}", Short(given)))
            }
            (Fault::Allotted, _, _) => write!(f, "{path} is set once by the API server and cannot be changed"),
        }
    }
}

/// JSON text, cut where it gets long.
struct Short<'a>(&'a Value);

const SHORT: usize = 72;
/// How much of what two long values have in common is shown before the place where they differ.
const COMMON: usize = 24;

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Excerpt(&self.0.to_string(), 0).fmt(f)
    }
}

/// Text from this character on, cut where it gets long.
struct Excerpt<'a>(&'a str, usize);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text, from) = *self;
        let at = |position| text.char_indices().nth(position).map(|(byte, _)| byte);
        let start = at(from).unwrap_or(text.len());
        let end = at(from + SHORT);
        if from > 0 {
            f.write_str("…")?;
        }
        f.write_str(text.get(start..end.unwrap_or(text.len())).unwrap_or_default())?;
        if end.is_some() { f.write_str("…") } else { Ok(()) }
    }
}

/// Two values must not read alike because both are cut before they differ.
fn first_to_show(wanted: &str, given: &str) -> usize {
    let common = wanted.chars().zip(given.chars()).take_while(|(wanted, given)| wanted == given).count();
    if common + COMMON < SHORT { 0 } else { common - COMMON }
}

struct BoundsText<'a>(Option<&'a Value>);

impl fmt::Display for BoundsText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = |name| self.0.and_then(|bounds| bounds.get(name)).and_then(Value::as_i64);
        match (bound("minimum"), bound("maximum")) {
            (Some(minimum), Some(maximum)) => write!(f, "between {minimum} and {maximum}"),
            (Some(minimum), None) => write!(f, "at least {minimum}"),
            (None, Some(maximum)) => write!(f, "at most {maximum}"),
            (None, None) => f.write_str("within the bounds of its delegation"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::path::Segment;
    use super::*;

    #[test]
    fn long_values_are_shown_where_they_differ() {
        let rules =
            |verbs: &[&str]| json!([{"apiGroups": [""], "resources": ["endpoints", "services"], "verbs": verbs}]);
        let finding = |wanted, given| Finding {
            path: Path(vec![Segment::Field("rules".into())]),
            fault: Fault::Changed,
            wanted: Some(wanted),
            given: Some(given),
        };
        assert_eq!(
            finding(rules(&["list", "watch"]), rules(&["list", "watch", "delete"])).to_string(),
            r#"rules must be …,"verbs":["list","watch"]}], not …,"verbs":["list","watch","delete"]}]"#
        );
        assert_eq!(
            finding(json!("ä".repeat(99)), json!("ä".repeat(80))).to_string(),
            format!("rules must be …{}, not …{}\"", "ä".repeat(43) + "\"", "ä".repeat(24))
        );
    }

    #[test]
    fn findings_read_like_sentences() {
        let field = |name: &str| Segment::Field(name.to_owned());
        let item = Segment::Item(vec![("name".to_owned(), json!("web"))]);
        let template = || vec![field("spec"), field("template"), field("spec"), field("containers")];
        let long = "a".repeat(200);
        for (path, fault, wanted, given, text) in [
            (
                vec![field("spec"), field("replicas")],
                Fault::Changed,
                Some(json!(2)),
                Some(json!(5)),
                "spec.replicas must be 2, not 5".to_owned(),
            ),
            (
                vec![field("spec"), field("replicas")],
                Fault::Changed,
                Some(json!(2)),
                None,
                "spec.replicas must be 2, but is missing".to_owned(),
            ),
            (
                vec![field("metadata"), field("labels"), field("example.com/x")],
                Fault::Undeclared,
                None,
                Some(json!("y")),
                "metadata.labels[example.com/x] is not declared in Git".to_owned(),
            ),
            (
                [template(), vec![item]].concat(),
                Fault::Removed,
                Some(json!({"name": "web"})),
                None,
                "spec.template.spec.containers[name=web] must not be removed".to_owned(),
            ),
            (
                template(),
                Fault::Reordered,
                None,
                None,
                "spec.template.spec.containers must keep the order of its items".to_owned(),
            ),
            (
                vec![field("spec"), field("replicas")],
                Fault::OutOfBounds,
                Some(json!({"minimum": 2, "maximum": 10})),
                Some(json!(50)),
                "spec.replicas must be between 2 and 10, not 50".to_owned(),
            ),
            (
                vec![field("data"), field("password")],
                Fault::Changed,
                Some(json!(format!("masked:{}", "a".repeat(64)))),
                Some(json!("YQ==")),
                "data.password must be the value that Git declares".to_owned(),
            ),
            (
                vec![field("data")],
                Fault::Changed,
                Some(json!({"password": format!("masked:{}", "a".repeat(64))})),
                None,
                "data must be the value that Git declares".to_owned(),
            ),
            (
                vec![field("data"), field("text")],
                Fault::Changed,
                Some(json!("masked:ball")),
                None,
                "data.text must be \"masked:ball\", but is missing".to_owned(),
            ),
            (
                vec![field("data")],
                Fault::Changed,
                Some(json!(long)),
                Some(json!("é")),
                format!("data must be \"{}…, not \"é\"", &long[..71]),
            ),
        ] {
            assert_eq!(Finding { path: Path(path), fault, wanted, given }.to_string(), text);
        }
    }
}
