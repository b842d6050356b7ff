//! JSON documents with the line of everything in them.
//!
//! `serde_json` tells no positions and lets the last of two equal keys win; this walks the structure itself and leaves
//! strings and numbers to it. A file may hold several documents one after another, as `kubectl` takes them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::position::{LineTree, Lines};
use super::problem::{FileProblem, ProblemKind};
use super::scalar::number;
use super::yaml::{Located, MAX_DEPTH};

/// The documents of a file up to the first thing that is wrong with it.
pub(super) fn documents(text: &str) -> (Vec<Located>, Option<FileProblem>) {
    let mut reader = Reader { text: text.strip_prefix('\u{feff}').unwrap_or(text), at: 0, line: 1 };
    let mut documents = Vec::new();
    loop {
        reader.skip_space();
        if reader.peek().is_none() {
            return (documents, None);
        }
        match reader.value(1) {
            Ok((value, lines)) => documents.push(Located::new(value, lines)),
            Err(kind) => return (documents, Some(FileProblem { line: Some(reader.line), kind })),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

type Parsed = Result<(Value, LineTree), ProblemKind>;

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(c @ (b' ' | b'\t' | b'\r' | b'\n')) = self.peek() {
            self.line += u32::from(c == b'\n');
            self.at += 1;
        }
    }

    fn unexpected<T>(&self, wanted: &str) -> Result<T, ProblemKind> {
        let found = match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(c) => format!("{c:?}"),
            None => "the end of the file".to_owned(),
        };
        Err(ProblemKind::Json(format!("{wanted} should stand where {found} does")))
    }

    fn value(&mut self, depth: usize) -> Parsed {
        if depth > MAX_DEPTH {
            return Err(ProblemKind::TooDeep(MAX_DEPTH));
        }
        let line = self.line;
        let leaf = |value| (value, LineTree { line, children: Lines::None });
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(leaf(Value::String(self.string()?))),
            Some(b't' | b'f' | b'n' | b'-' | b'0'..=b'9') => {
                let rest = &self.text.as_bytes()[self.at..];
                let plain = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.');
                let literal = &self.text[self.at..self.at + rest.iter().take_while(|c| plain(c)).count()];
                let value: Value = serde_json::from_str(literal).map_err(|_| {
                    ProblemKind::Json(format!("{literal:?} is neither a number nor true, false or null"))
                })?;
                self.at += literal.len();
                Ok(leaf(match value.as_f64() {
                    Some(float) if value.as_i64().is_none() => number(float)?,
                    _ => value,
                }))
            }
            _ => self.unexpected("a value"),
        }
    }

    fn string(&mut self) -> Result<String, ProblemKind> {
        let bytes = self.text.as_bytes();
        let mut end = self.at + 1;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
                None => return Err(ProblemKind::Json("a string has no end".to_owned())),
            }
        }
        let literal = &self.text[self.at..=end];
        let text = serde_json::from_str(literal).map_err(|error| {
            ProblemKind::Json(format!(
                "a string is wrong: {}",
                error.to_string().split(" at line").next().unwrap_or_default()
            ))
        })?;
        self.at = end + 1;
        Ok(text)
    }

    /// After an element: true where another one follows.
    fn goes_on(&mut self, close: u8) -> Result<bool, ProblemKind> {
        self.skip_space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.skip_space();
                Ok(true)
            }
            Some(c) if c == close => {
                self.at += 1;
                Ok(false)
            }
            _ => self.unexpected(&format!("',' or '{}'", char::from(close))),
        }
    }

    /// Steps over the opening bracket; true where something is in it.
    fn open(&mut self, close: u8) -> bool {
        self.at += 1;
        self.skip_space();
        let empty = self.peek() == Some(close);
        self.at += usize::from(empty);
        !empty
    }

    fn object(&mut self, depth: usize) -> Parsed {
        let line = self.line;
        let (mut fields, mut lines) = (Map::new(), BTreeMap::new());
        let mut more = self.open(b'}');
        while more {
            if self.peek() != Some(b'"') {
                return self.unexpected("a name in double quotes");
            }
            let name_line = self.line;
            let name = self.string()?;
            if fields.contains_key(&name) {
                return Err(ProblemKind::DuplicateKey(name));
            }
            self.skip_space();
            if self.peek() != Some(b':') {
                return self.unexpected("':'");
            }
            self.at += 1;
            self.skip_space();
            let (value, mut tree) = self.value(depth + 1)?;
            tree.line = name_line;
            lines.insert(name.clone(), tree);
            fields.insert(name, value);
            more = self.goes_on(b'}')?;
        }
        Ok((Value::Object(fields), LineTree { line, children: Lines::Map(lines) }))
    }

    fn array(&mut self, depth: usize) -> Parsed {
        let line = self.line;
        let (mut items, mut lines) = (Vec::new(), Vec::new());
        let mut more = self.open(b']');
        while more {
            let (value, tree) = self.value(depth + 1)?;
            items.push(value);
            lines.push(tree);
            more = self.goes_on(b']')?;
        }
        Ok((Value::Array(items), LineTree { line, children: Lines::List(lines) }))
    }
}
