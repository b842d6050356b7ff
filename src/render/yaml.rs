//! YAML documents as JSON values, with the line of everything in them.
//!
//! One pass over the parser's events makes both. Aliases are paid for from a budget, since a few lines of nested aliases
//! can stand for gigabytes.

use std::collections::{BTreeMap, HashMap};

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StrInput};
use serde_json::{Map, Value};

use super::position::{LineTree, Lines};
use super::problem::{FileProblem, ProblemKind};
use super::scalar::resolve;

/// As deep as the JSON parsers between here and the API server's client go.
pub(super) const MAX_DEPTH: usize = 120;

/// What the aliases of one file may stand for: more than the largest object that etcd takes.
const ALIAS_BUDGET: usize = 4 * 1024 * 1024;

/// A value and where it is.
#[derive(Clone, Debug)]
pub(super) struct Located {
    pub value: Value,
    pub lines: LineTree,
    /// Levels below this one.
    height: usize,
    /// Roughly the bytes that a copy takes.
    weight: usize,
}

/// The documents of a file up to the first thing that is wrong with it.
pub(super) fn documents(text: &str) -> (Vec<Located>, Option<FileProblem>) {
    if let Some(problem) = forbidden_character(text) {
        return (Vec::new(), Some(problem));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut reader = Reader {
        events: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        budget: ALIAS_BUDGET,
    };
    let mut documents = Vec::new();
    loop {
        match reader.document() {
            Ok(Some(document)) => documents.push(document),
            Ok(None) => return (documents, None),
            Err(problem) => return (documents, Some(problem)),
        }
    }
}

/// Characters that YAML forbids, and those on which YAML 1.1 and 1.2 disagree.
fn forbidden_character(text: &str) -> Option<FileProblem> {
    let (mut line, mut found) = (1, None);
    for (at, c) in text.char_indices() {
        found = match c {
            '\n' => {
                line += 1;
                None
            }
            '\t' | '\r' | ' '..='~' => None,
            '\u{feff}' if at == 0 => None,
            '\u{85}' | '\u{2028}' | '\u{2029}' => Some(ProblemKind::AmbiguousBreak(c.into())),
            '\0'..='\u{9f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => Some(ProblemKind::ControlCharacter(c.into())),
            _ => None,
        };
        if found.is_some() {
            break;
        }
    }
    found.map(|kind| FileProblem { line: Some(line), kind })
}

fn at(span: &Span) -> u32 {
    u32::try_from(span.start.line()).unwrap_or(u32::MAX)
}

fn problem(line: u32, kind: ProblemKind) -> FileProblem {
    FileProblem { line: Some(line), kind }
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Located>,
    budget: usize,
}

impl<'a> Reader<'a> {
    fn event(&mut self) -> Result<Option<(Event<'a>, Span)>, FileProblem> {
        match self.events.next_event() {
            None => Ok(None),
            Some(Ok(event)) => Ok(Some(event)),
            Some(Err(error)) => {
                let line = u32::try_from(error.marker().line()).unwrap_or(u32::MAX);
                Err(problem(line.max(1), ProblemKind::Yaml(error.info())))
            }
        }
    }

    fn document(&mut self) -> Result<Option<Located>, FileProblem> {
        loop {
            match self.event()? {
                None | Some((Event::StreamEnd, _)) => return Ok(None),
                Some((Event::DocumentStart(..), _)) => self.anchors.clear(),
                Some((Event::StreamStart | Event::DocumentEnd, _)) => {}
                Some((event, span)) => return self.node(event, &span, 1).map(Some),
            }
        }
    }

    fn next_node(&mut self) -> Result<(Event<'a>, Span), FileProblem> {
        // The parser closes whatever it opens; an end of events in between is its own failure.
        self.event()?.ok_or_else(|| FileProblem { line: None, kind: ProblemKind::Yaml("it ends too early".to_owned()) })
    }

    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Located, FileProblem> {
        let line = at(span);
        if depth > MAX_DEPTH {
            return Err(problem(line, ProblemKind::TooDeep(MAX_DEPTH)));
        }
        let (anchor, located) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.map(|tag| format!("{}{}", tag.handle(), tag.suffix()));
                let value = resolve(&text, style == ScalarStyle::Plain, tag.as_deref())
                    .and_then(|scalar| scalar.into_value())
                    .map_err(|kind| problem(line, kind))?;
                (anchor, Located::leaf(value, line, text.len()))
            }
            Event::SequenceStart(_, anchor, _) => (anchor, self.sequence(line, depth)?),
            Event::MappingStart(_, anchor, _) => (anchor, self.mapping(line, depth)?),
            Event::Alias(id) => return self.alias(id, line, depth),
            other => return Err(problem(line, ProblemKind::Yaml(format!("{other:?} stands where a value should")))),
        };
        if anchor != 0 {
            self.pay(located.weight, line)?;
            self.anchors.insert(anchor, located.clone());
        }
        Ok(located)
    }

    fn pay(&mut self, weight: usize, line: u32) -> Result<(), FileProblem> {
        let left = self.budget.checked_sub(weight);
        self.budget = left.ok_or_else(|| problem(line, ProblemKind::TooManyAliases(ALIAS_BUDGET)))?;
        Ok(())
    }

    fn alias(&mut self, id: usize, line: u32, depth: usize) -> Result<Located, FileProblem> {
        let Some((weight, height)) = self.anchors.get(&id).map(|anchored| (anchored.weight, anchored.height)) else {
            return Err(problem(line, ProblemKind::Yaml("an alias stands inside of what it names".to_owned())));
        };
        if depth + height > MAX_DEPTH {
            return Err(problem(line, ProblemKind::TooDeep(MAX_DEPTH)));
        }
        self.pay(weight, line)?;
        let mut located = self.anchors.get(&id).cloned().unwrap_or_else(|| Located::leaf(Value::Null, line, 0));
        // The use is here; what is in it was written at the anchor.
        located.lines.line = line;
        Ok(located)
    }

    fn sequence(&mut self, line: u32, depth: usize) -> Result<Located, FileProblem> {
        let (mut items, mut lines) = (Vec::new(), Vec::new());
        let (mut height, mut weight) = (0, Located::OVERHEAD);
        loop {
            let (event, span) = self.next_node()?;
            if event == Event::SequenceEnd {
                break;
            }
            let item = self.node(event, &span, depth + 1)?;
            height = height.max(item.height + 1);
            weight += item.weight;
            items.push(item.value);
            lines.push(item.lines);
        }
        Ok(Located {
            value: Value::Array(items),
            lines: LineTree { line, children: Lines::List(lines) },
            height,
            weight,
        })
    }

    fn mapping(&mut self, line: u32, depth: usize) -> Result<Located, FileProblem> {
        let mut mapping = Mapping::default();
        loop {
            let (event, span) = self.next_node()?;
            if event == Event::MappingEnd {
                break;
            }
            let key_line = at(&span);
            let key = self.key(event, key_line)?;
            let (event, span) = self.next_node()?;
            match key {
                Key::Merge => {
                    if mapping.merged.is_some() {
                        return Err(problem(key_line, ProblemKind::DuplicateKey("<<".to_owned())));
                    }
                    let merged = self.node(event, &span, depth)?;
                    mapping.merge(merged).map_err(|kind| problem(key_line, kind))?;
                }
                Key::Field(name) => {
                    let mut field = self.node(event, &span, depth + 1)?;
                    // A field is where its name is, also where its value begins on a later line.
                    field.lines.line = key_line;
                    mapping.set(name, field).map_err(|kind| problem(key_line, kind))?;
                }
            }
        }
        Ok(mapping.finish(line))
    }

    fn key(&mut self, event: Event<'a>, line: u32) -> Result<Key, FileProblem> {
        let name = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.map(|tag| format!("{}{}", tag.handle(), tag.suffix()));
                let merges = match tag.as_deref() {
                    None => style == ScalarStyle::Plain,
                    Some(tag) => tag == "tag:yaml.org,2002:merge",
                };
                if merges && text == "<<" {
                    return Ok(Key::Merge);
                }
                let scalar =
                    resolve(&text, style == ScalarStyle::Plain, tag.as_deref()).map_err(|kind| problem(line, kind))?;
                if anchor != 0 {
                    let value = scalar.clone().into_value().map_err(|kind| problem(line, kind))?;
                    self.pay(text.len() + Located::OVERHEAD, line)?;
                    self.anchors.insert(anchor, Located::leaf(value, line, text.len()));
                }
                scalar.into_key().map_err(|kind| problem(line, kind))?
            }
            Event::Alias(id) => match self.alias(id, line, 0)?.value {
                Value::String(text) => text,
                Value::Bool(value) => value.to_string(),
                Value::Number(value) => value.to_string(),
                _ => return Err(problem(line, ProblemKind::UnusableKey)),
            },
            _ => return Err(problem(line, ProblemKind::UnusableKey)),
        };
        Ok(Key::Field(name))
    }
}

enum Key {
    Merge,
    Field(String),
}

impl Located {
    /// For what came without aliases.
    pub fn new(value: Value, lines: LineTree) -> Self {
        Self { value, lines, height: 0, weight: 0 }
    }

    /// Of a value and its line, in memory.
    const OVERHEAD: usize = 64;

    fn leaf(value: Value, line: u32, length: usize) -> Self {
        Self { value, lines: LineTree { line, children: Lines::None }, height: 0, weight: length + Self::OVERHEAD }
    }
}

#[derive(Default)]
struct Mapping {
    fields: Map<String, Value>,
    lines: BTreeMap<String, LineTree>,
    /// What `<<` brought, where it stood.
    merged: Option<(Map<String, Value>, BTreeMap<String, LineTree>)>,
    height: usize,
    weight: usize,
}

impl Mapping {
    fn set(&mut self, name: String, field: Located) -> Result<(), ProblemKind> {
        if self.fields.contains_key(&name) {
            return Err(ProblemKind::DuplicateKey(name));
        }
        self.grow(&field, name.len());
        self.lines.insert(name.clone(), field.lines);
        self.fields.insert(name, field.value);
        Ok(())
    }

    fn grow(&mut self, field: &Located, name: usize) {
        self.height = self.height.max(field.height + 1);
        self.weight += field.weight + 2 * name;
    }

    /// Of several maps, the first that has a field counts.
    fn merge(&mut self, merged: Located) -> Result<(), ProblemKind> {
        self.grow(&merged, 0);
        let parts = match (merged.value, merged.lines.children) {
            (Value::Object(fields), Lines::Map(lines)) => vec![(fields, lines)],
            (Value::Array(items), Lines::List(lines)) => {
                let part = |(value, tree): (Value, LineTree)| match (value, tree.children) {
                    (Value::Object(fields), Lines::Map(lines)) => Ok((fields, lines)),
                    _ => Err(ProblemKind::MergeOfNoMap),
                };
                items.into_iter().zip(lines).map(part).collect::<Result<_, _>>()?
            }
            _ => return Err(ProblemKind::MergeOfNoMap),
        };
        let (mut fields, mut lines) = (Map::new(), BTreeMap::new());
        for (part_fields, mut part_lines) in parts {
            for (name, value) in part_fields {
                if self.fields.contains_key(&name) {
                    return Err(ProblemKind::KeyBeforeMerge(name));
                }
                if let (false, Some(tree)) = (fields.contains_key(&name), part_lines.remove(&name)) {
                    lines.insert(name.clone(), tree);
                    fields.insert(name, value);
                }
            }
        }
        self.merged = Some((fields, lines));
        Ok(())
    }

    fn finish(mut self, line: u32) -> Located {
        if let Some((fields, mut lines)) = self.merged.take() {
            for (name, value) in fields {
                if let (false, Some(tree)) = (self.fields.contains_key(&name), lines.remove(&name)) {
                    self.lines.insert(name.clone(), tree);
                    self.fields.insert(name, value);
                }
            }
        }
        Located {
            value: Value::Object(self.fields),
            lines: LineTree { line, children: Lines::Map(self.lines) },
            height: self.height,
            weight: self.weight + Located::OVERHEAD,
        }
    }
}
