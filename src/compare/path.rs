//! Where something is in an object, and patterns for such places.
//!
//! The notation is the one that denials and delegations use: `spec.template.spec.containers[name=web].image`,
//! `metadata.annotations[example.com/*]`, `spec.ports[*].nodePort`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A place in one object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Path(pub Vec<Segment>);

#[derive(Clone, Debug, PartialEq)]
pub enum Segment {
    /// Member of a map or struct.
    Field(String),
    /// Item of an atomic list.
    Index(usize),
    /// Item of a keyed list, by its keys.
    Item(Vec<(String, Value)>),
    /// Member of a set.
    Member(Value),
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            // Labels and annotations are always in brackets: their names are data, and mostly hold dots.
            let named = position.checked_sub(1).is_some_and(|before| is_name_map(&self.0[before]));
            match segment {
                Segment::Field(name) if is_plain(name) && !named => {
                    write!(f, "{}{name}", if position == 0 { "" } else { "." })?;
                }
                Segment::Field(name) => write!(f, "[{name}]")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Item(keys) => {
                    f.write_str("[")?;
                    for (n, (key, value)) in keys.iter().enumerate() {
                        write!(f, "{}{key}={}", if n == 0 { "" } else { "," }, Bare(value))?;
                    }
                    f.write_str("]")?;
                }
                Segment::Member(value) => write!(f, "[={}]", Bare(value))?,
            }
        }
        Ok(())
    }
}

fn is_name_map(segment: &Segment) -> bool {
    matches!(segment, Segment::Field(name) if name == "labels" || name == "annotations")
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'$'))
}

/// A JSON value, strings without quotes.
struct Bare<'a>(&'a Value);

impl fmt::Display for Bare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => f.write_str(text),
            other => write!(f, "{other}"),
        }
    }
}

/// Places in objects. A pattern matches a place and everything below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPattern(pub Vec<PatternSegment>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternSegment {
    /// `spec`, or `[app.kubernetes.io/name]` for a name that holds dots.
    Field(String),
    /// `[example.com/*]`: members whose name begins so.
    Prefix(String),
    /// `[*]`: every member or item.
    Any,
    /// `[name=web]` or `[port=80,protocol=TCP]`: the item with these keys, values as text.
    Item(Vec<(String, String)>),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{pattern}\" is no field path: {reason}. Write it like spec.replicas, metadata.annotations[example.com/*] or spec.ports[*].nodePort"
)]
pub struct PatternError {
    pattern: String,
    reason: &'static str,
}

impl PathPattern {
    /// Whether the pattern matches the place of a field that is in no list.
    pub fn covers_fields(&self, fields: &[&str]) -> bool {
        let agrees = |(segment, field): (&PatternSegment, &&str)| match segment {
            PatternSegment::Any => true,
            PatternSegment::Field(name) => name == field,
            PatternSegment::Prefix(prefix) => field.starts_with(prefix.as_str()),
            PatternSegment::Item(_) => false,
        };
        self.0.len() <= fields.len() && self.0.iter().zip(fields).all(agrees)
    }
}

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(pattern: &str) -> Result<Self, PatternError> {
        let error = |reason| PatternError { pattern: pattern.to_owned(), reason };
        let mut segments = Vec::new();
        let mut rest = pattern;
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                let end = inner.find(']').ok_or_else(|| error("a bracket is not closed"))?;
                segments.push(bracketed(&inner[..end]).ok_or_else(|| error("a bracket is empty"))?);
                rest = &inner[end + 1..];
                continue;
            }
            let plain = if segments.is_empty() {
                rest
            } else {
                rest.strip_prefix('.').ok_or_else(|| error("a dot or a bracket is missing"))?
            };
            let end = plain.find(['.', '[']).unwrap_or(plain.len());
            if end == 0 {
                return Err(error("a name is empty"));
            }
            segments.push(PatternSegment::Field(plain[..end].to_owned()));
            rest = &plain[end..];
        }
        if segments.is_empty() {
            return Err(error("it is empty"));
        }
        Ok(Self(segments))
    }
}

fn bracketed(inner: &str) -> Option<PatternSegment> {
    if inner.is_empty() {
        return None;
    }
    if inner == "*" {
        return Some(PatternSegment::Any);
    }
    if let Some(prefix) = inner.strip_suffix('*') {
        return Some(PatternSegment::Prefix(prefix.to_owned()));
    }
    let keys: Option<Vec<_>> =
        inner.split(',').map(|pair| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))).collect();
    Some(keys.map_or_else(|| PatternSegment::Field(inner.to_owned()), PatternSegment::Item))
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                PatternSegment::Field(name) if is_plain(name) => {
                    write!(f, "{}{name}", if position == 0 { "" } else { "." })?;
                }
                PatternSegment::Field(name) => write!(f, "[{name}]")?,
                PatternSegment::Prefix(prefix) => write!(f, "[{prefix}*]")?,
                PatternSegment::Any => f.write_str("[*]")?,
                PatternSegment::Item(keys) => {
                    let keys: Vec<_> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                    write!(f, "[{}]", keys.join(","))?;
                }
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for PathPattern {
    type Error = PatternError;

    fn try_from(pattern: String) -> Result<Self, PatternError> {
        pattern.parse()
    }
}

impl From<PathPattern> for String {
    fn from(pattern: PathPattern) -> Self {
        pattern.to_string()
    }
}

/// A field that somebody may set, within bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeField {
    pub pattern: PathPattern,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<Bounds>,
}

/// Inclusive bounds of a number. A value that is no integer is out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    pub minimum: Option<i64>,
    pub maximum: Option<i64>,
}

impl Bounds {
    pub fn hold(self, value: i64) -> bool {
        self.minimum.is_none_or(|m| value >= m) && self.maximum.is_none_or(|m| value <= m)
    }

    pub(super) fn to_value(self) -> Value {
        let bounds = [("minimum", self.minimum), ("maximum", self.maximum)];
        bounds.into_iter().filter_map(|(name, bound)| Some((name.to_owned(), Value::from(bound?)))).collect()
    }

    pub(super) fn nearest(self, value: i64) -> i64 {
        let value = self.minimum.map_or(value, |minimum| value.max(minimum));
        self.maximum.map_or(value, |maximum| value.min(maximum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_and_printed_alike() {
        for pattern in [
            "spec.replicas",
            "spec.ports[*].nodePort",
            "metadata.annotations[pv.kubernetes.io/*]",
            "metadata.annotations[deployment.kubernetes.io/revision]",
            "spec.template.spec.containers[name=web].image",
            "spec.ports[port=80,protocol=TCP].nodePort",
            "data",
        ] {
            let parsed: PathPattern = pattern.parse().unwrap();
            assert_eq!(parsed.to_string(), pattern);
        }
    }

    #[test]
    fn a_pattern_covers_a_field_and_what_is_below_it() {
        for (pattern, covers) in [
            ("spec", true),
            ("spec.replicas", true),
            ("[*].replicas", true),
            ("spec.replicas.x", false),
            ("spec.template", false),
            ("spec[name=replicas]", false),
        ] {
            assert_eq!(
                pattern.parse::<PathPattern>().unwrap().covers_fields(&["spec", "replicas"]),
                covers,
                "{pattern}"
            );
        }
    }

    #[test]
    fn broken_patterns_are_refused() {
        for pattern in ["", ".", "spec.", "spec..replicas", "spec[", "spec[]", "spec[*]x"] {
            assert!(pattern.parse::<PathPattern>().is_err(), "{pattern}");
        }
    }
}
