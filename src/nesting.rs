//! JSON that is nested deeper than whoever reads it follows.
//!
//! The API server stores ten thousand levels for whoever sends them: in `managedFields`, or in the status of a custom object,
//! about which nobody is asked. A reader that gives up after 128 would never again get past a list, or a watch, with one such
//! object in it. So what lies too deep is replaced by a text that stands for it: equal texts for equal things.

use hyper::body::Bytes;

/// Down to here nothing is replaced: whatever Git may declare, in a list, an event or a review.
pub const LIMIT: usize = 124;

/// How such a text begins. The digest of what it stands for follows.
const MARK: &str = "gitadel.dev/nested-too-deep:";

/// Replaces what lies too deep in JSON that comes in pieces, one document after the other.
#[derive(Default)]
pub struct Cutter {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// Digest of what is being replaced.
    cut: Option<Box<blake3::Hasher>>,
}

impl Cutter {
    /// The next piece. It is not copied where nothing in it lies too deep.
    pub fn cut(&mut self, piece: Bytes) -> Bytes {
        let mut kept = None;
        // What was neither kept nor replaced yet.
        let mut from = 0;
        for (at, &byte) in piece.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    if self.depth == LIMIT {
                        kept.get_or_insert_with(Vec::new).extend_from_slice(&piece[from..at]);
                        from = at;
                        self.cut = Some(Box::default());
                    }
                    self.depth += 1;
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == LIMIT
                        && let Some(mut digest) = self.cut.take()
                    {
                        digest.update(&piece[from..=at]);
                        from = at + 1;
                        let text = format!("\"{MARK}{}\"", digest.finalize().to_hex());
                        kept.get_or_insert_with(Vec::new).extend_from_slice(text.as_bytes());
                    }
                }
                _ => {}
            }
        }
        let rest = &piece[from..];
        match (&mut self.cut, kept) {
            (None, None) => piece,
            (None, Some(mut kept)) => {
                kept.extend_from_slice(rest);
                kept.into()
            }
            (Some(digest), kept) => {
                digest.update(rest);
                kept.unwrap_or_default().into()
            }
        }
    }
}

/// A whole text, without what lies too deep in it.
pub fn cut(json: &[u8]) -> Bytes {
    Cutter::default().cut(Bytes::copy_from_slice(json))
}

/// Whether something in this value was replaced.
pub fn is_cut(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.starts_with(MARK),
        serde_json::Value::Array(items) => items.iter().any(is_cut),
        serde_json::Value::Object(members) => members.values().any(is_cut),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn nested(depth: usize, innermost: &Value) -> String {
        format!("{}{innermost}{}", r#"{"a":["#.repeat(depth / 2), "]}".repeat(depth / 2))
    }

    fn in_pieces(text: &str, length: usize) -> Vec<u8> {
        let mut cutter = Cutter::default();
        text.as_bytes().chunks(length).flat_map(|piece| cutter.cut(Bytes::copy_from_slice(piece)).to_vec()).collect()
    }

    #[test]
    fn what_lies_too_deep_becomes_a_text() {
        let (deep, other) = (nested(10_000, &json!("x")), nested(10_000, &json!("y")));
        let read = |text: &str| serde_json::from_slice::<Value>(&cut(text.as_bytes())).unwrap();
        assert!(is_cut(&read(&deep)));
        assert_eq!(read(&deep), read(&deep));
        assert_ne!(read(&deep), read(&other));
        let beside = format!(r#"{{"before":1,"deep":{deep},"after":[{{}}]}}"#);
        assert_eq!((&read(&beside)["before"], &read(&beside)["after"]), (&json!(1), &json!([{}])));
    }

    #[test]
    fn what_does_not_stays_as_it_is() {
        for text in [nested(LIMIT, &json!(1)), json!({"a": "}{[\"\\", "b": [[], {}]}).to_string()] {
            assert_eq!(cut(text.as_bytes()), text.as_bytes());
        }
        assert!(!is_cut(&json!({"a": ["nested"]})));
    }

    #[test]
    fn where_the_pieces_end_makes_no_difference() {
        let events = format!("{}\n{}\n{}\n", json!({"a": "\\\"}"}), nested(300, &json!("{[\"")), json!({"b": 2}));
        let whole = in_pieces(&events, events.len());
        for length in 1..40 {
            assert_eq!(in_pieces(&events, length), whole, "{length}");
        }
        let lines: Vec<Value> = whole
            .split(|byte| *byte == b'\n')
            .filter(|l| !l.is_empty())
            .map(|l| serde_json::from_slice(l).unwrap())
            .collect();
        assert_eq!((lines.len(), &lines[0], &lines[2]), (3, &json!({"a": "\\\"}"}), &json!({"b": 2})));
    }
}
