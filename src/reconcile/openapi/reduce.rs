//! From an OpenAPI v3 document to the list types of a kind. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;

use crate::compare::{ListKind, ListSchema, SchemaNode};

/// Of an OpenAPI document, what says something about lists. Descriptions, paths and formats are skipped in parsing.
#[derive(Debug, Deserialize)]
pub struct OpenApiDocument {
    #[serde(default)]
    components: Components,
}

#[derive(Debug, Default, Deserialize)]
struct Components {
    #[serde(default)]
    schemas: HashMap<String, Schema>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Schema {
    #[serde(rename = "$ref")]
    reference: Option<String>,
    all_of: Vec<Schema>,
    #[serde(rename = "type")]
    data_type: Option<String>,
    properties: BTreeMap<String, Schema>,
    additional_properties: Option<Additional>,
    items: Option<Box<Schema>>,
    any_of: Option<serde::de::IgnoredAny>,
    one_of: Option<serde::de::IgnoredAny>,
    #[serde(rename = "x-kubernetes-list-type")]
    list_type: Option<String>,
    #[serde(rename = "x-kubernetes-list-map-keys")]
    list_map_keys: Vec<String>,
    #[serde(rename = "x-kubernetes-map-type")]
    map_type: Option<String>,
    #[serde(rename = "x-kubernetes-preserve-unknown-fields")]
    preserve_unknown_fields: bool,
    #[serde(rename = "x-kubernetes-int-or-string")]
    int_or_string: bool,
    #[serde(rename = "x-kubernetes-group-version-kind")]
    kinds: Vec<GroupVersionKind>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Additional {
    Allowed(#[allow(dead_code, reason = "told apart from a schema by its form alone")] bool),
    Schema(Box<Schema>),
}

#[derive(Debug, Deserialize)]
struct GroupVersionKind {
    #[serde(default)]
    group: String,
    version: String,
    kind: String,
}

impl OpenApiDocument {
    /// # Errors
    /// The bytes are no OpenAPI document.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// What the document says about lists in objects of a kind; `None` where the kind is not in it.
    pub fn list_schema(&self, group: &str, version: &str, kind: &str) -> Option<ListSchema> {
        let is_kind = |k: &GroupVersionKind| k.group == group && k.version == version && k.kind == kind;
        let (name, _) = self.components.schemas.iter().find(|(_, schema)| schema.kinds.iter().any(is_kind))?;
        let mut builder = Builder { schemas: &self.components.schemas, nodes: Vec::new(), named: HashMap::new() };
        builder.named_node(name);
        Some(compact(builder.nodes))
    }
}

struct Builder<'a> {
    schemas: &'a HashMap<String, Schema>,
    nodes: Vec<SchemaNode>,
    /// Nodes of definitions, made once: a definition may refer to itself.
    named: HashMap<&'a str, u32>,
}

impl<'a> Builder<'a> {
    fn named_node(&mut self, name: &str) -> Option<u32> {
        let (name, schema) = self.schemas.get_key_value(name)?;
        if let Some(index) = self.named.get(name.as_str()) {
            return Some(*index);
        }
        let index = self.reserve()?;
        self.named.insert(name, index);
        let node = self.describe(schema);
        self.set(index, node);
        Some(index)
    }

    fn node(&mut self, schema: &'a Schema) -> Option<u32> {
        // A plain reference, bare or as the only part of `allOf`, shares the definition's node.
        if schema.list_type.is_none() && schema.map_type.is_none() && schema.properties.is_empty() {
            let reference = match (&schema.reference, schema.all_of.as_slice()) {
                (Some(reference), []) => Some(reference),
                (None, [Schema { reference: Some(reference), .. }]) => Some(reference),
                _ => None,
            };
            if let Some(reference) = reference {
                return self.named_node(definition_name(reference));
            }
        }
        let index = self.reserve()?;
        let node = self.describe(schema);
        self.set(index, node);
        Some(index)
    }

    fn reserve(&mut self) -> Option<u32> {
        let index = u32::try_from(self.nodes.len()).ok()?;
        self.nodes.push(SchemaNode::default());
        Some(index)
    }

    fn set(&mut self, index: u32, node: SchemaNode) {
        if let Some(slot) = usize::try_from(index).ok().and_then(|index| self.nodes.get_mut(index)) {
            *slot = node;
        }
    }

    fn describe(&mut self, schema: &'a Schema) -> SchemaNode {
        let mut node = SchemaNode::default();
        self.add(&mut node, schema);
        node
    }

    fn add(&mut self, node: &mut SchemaNode, schema: &'a Schema) {
        if let Some(definition) = schema.reference.as_deref().and_then(|r| self.schemas.get(definition_name(r))) {
            self.add(node, definition);
        }
        for part in &schema.all_of {
            self.add(node, part);
        }
        match schema.list_type.as_deref() {
            Some("map") => node.list = Some(ListKind::Map(schema.list_map_keys.clone())),
            Some("set") => node.list = Some(ListKind::Set),
            _ => {}
        }
        node.atomic |= schema.map_type.as_deref() == Some("atomic") || is_opaque(schema);
        for (name, property) in &schema.properties {
            if let Some(index) = self.node(property) {
                node.fields.insert(name.clone(), index);
            }
        }
        if let Some(Additional::Schema(values)) = &schema.additional_properties {
            node.values = self.node(values);
        }
        if let Some(items) = &schema.items {
            node.items = self.node(items);
        }
    }
}

/// A value of which the document says nothing (a default in a CRD), or no more than that it is an object (the data of a
/// ControllerRevision), is one unit.
fn is_opaque(schema: &Schema) -> bool {
    schema.data_type.as_deref().is_none_or(|data_type| data_type == "object")
        && schema.reference.is_none()
        && schema.all_of.is_empty()
        && schema.any_of.is_none()
        && schema.one_of.is_none()
        && schema.properties.is_empty()
        && schema.additional_properties.is_none()
        && schema.items.is_none()
        && !schema.preserve_unknown_fields
        && !schema.int_or_string
}

fn definition_name(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or(reference)
}

/// Drops the nodes that say nothing and unites equal ones.
fn compact(mut nodes: Vec<SchemaNode>) -> ListSchema {
    for node in &mut nodes {
        if node.atomic {
            // One unit: nothing below it is ever asked for.
            *node = SchemaNode { atomic: true, ..SchemaNode::default() };
        }
        if node.list.is_none() {
            // Without a list type a list is atomic, and so are its items.
            node.items = None;
        }
    }
    let telling = telling(&nodes);
    for node in &mut nodes {
        node.fields.retain(|_, index| telling.contains(index));
        node.values = node.values.filter(|index| telling.contains(index));
        node.items = node.items.filter(|index| telling.contains(index));
    }
    while unite_equal(&mut nodes) {}
    renumber(&nodes)
}

/// The nodes that say something themselves or lead to one that does.
fn telling(nodes: &[SchemaNode]) -> BTreeSet<u32> {
    let mut telling = BTreeSet::new();
    loop {
        let before = telling.len();
        for (index, node) in (0u32..).zip(nodes) {
            if node.atomic || node.list.is_some() || children(node).any(|child| telling.contains(&child)) {
                telling.insert(index);
            }
        }
        if telling.len() == before {
            return telling;
        }
    }
}

fn children(node: &SchemaNode) -> impl Iterator<Item = u32> + '_ {
    node.fields.values().copied().chain(node.values).chain(node.items)
}

fn redirect(node: &mut SchemaNode, to: impl Fn(u32) -> u32) {
    node.fields.values_mut().for_each(|index| *index = to(*index));
    node.values = node.values.map(&to);
    node.items = node.items.map(&to);
}

/// Lets references to equal nodes name the first of them; says whether there were any.
fn unite_equal(nodes: &mut [SchemaNode]) -> bool {
    let mut first: HashMap<String, u32> = HashMap::new();
    let mut replaced: HashMap<u32, u32> = HashMap::new();
    for (index, node) in (0u32..).zip(nodes.iter()) {
        let original = *first.entry(format!("{node:?}")).or_insert(index);
        if original != index {
            replaced.insert(index, original);
        }
    }
    let used = nodes.iter().flat_map(children).any(|child| replaced.contains_key(&child));
    for node in nodes.iter_mut() {
        redirect(node, |index| replaced.get(&index).copied().unwrap_or(index));
    }
    used
}

/// Keeps what the root leads to.
fn renumber(nodes: &[SchemaNode]) -> ListSchema {
    let get = |index: u32| usize::try_from(index).ok().and_then(|index| nodes.get(index));
    let mut order: Vec<u32> = Vec::from_iter((!nodes.is_empty()).then_some(0));
    let mut place: HashMap<u32, u32> = order.iter().map(|root| (*root, 0)).collect();
    let mut next = 0;
    while let Some(node) = order.get(next).copied().and_then(get) {
        for child in children(node) {
            if let Ok(free) = u32::try_from(order.len()) {
                place.entry(child).or_insert_with(|| {
                    order.push(child);
                    free
                });
            }
        }
        next += 1;
    }
    let nodes = order.iter().filter_map(|index| get(*index)).map(|node| {
        let mut node = node.clone();
        redirect(&mut node, |index| place.get(&index).copied().unwrap_or(0));
        node
    });
    ListSchema { nodes: nodes.collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reduce(schemas: serde_json::Value) -> ListSchema {
        let document = json!({"components": {"schemas": schemas}}).to_string();
        OpenApiDocument::parse(document.as_bytes()).unwrap().list_schema("g", "v1", "Kind").unwrap()
    }

    fn kind(properties: serde_json::Value) -> serde_json::Value {
        json!({
            "type": "object", "properties": properties,
            "x-kubernetes-group-version-kind": [{"group": "g", "version": "v1", "kind": "Kind"}],
        })
    }

    #[test]
    fn list_types_are_kept_and_silent_nodes_are_not() {
        let schema = reduce(json!({
            "K": kind(json!({
                "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
                    "items": {"type": "object", "properties": {"port": {"type": "integer"}}}},
                "args": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "atomic"},
                "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "selector": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}}},
                "name": {"type": "string"},
            })),
        }));
        let root = schema.root();
        assert_eq!(root.unwrap().fields.keys().collect::<Vec<_>>(), ["ports", "selector", "tags"]);
        assert_eq!(
            schema.field(root, "ports").unwrap().list,
            Some(ListKind::Map(vec!["port".into(), "protocol".into()]))
        );
        assert_eq!(schema.field(root, "tags").unwrap().list, Some(ListKind::Set));
        assert!(schema.field(root, "selector").unwrap().atomic);
        assert_eq!(schema.nodes.len(), 4);
    }

    #[test]
    fn references_are_followed_through_all_of_maps_and_cycles() {
        let reference = json!({"default": {}, "allOf": [{"$ref": "#/components/schemas/Props"}]});
        let schema = reduce(json!({
            "K": kind(json!({"schema": reference})),
            "Props": {"type": "object", "properties": {
                "properties": {"type": "object", "additionalProperties": reference},
                "not": {"$ref": "#/components/schemas/Props"},
                "rules": {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["rule"]},
                "default": {"$ref": "#/components/schemas/Json"},
                "description": {"type": "string"},
            }},
            "Json": {"description": "any value", "type": "object"},
        }));
        let props = schema.field(schema.root(), "schema");
        let nested = schema.field(schema.field(schema.field(props, "properties"), "anything"), "not");
        assert_eq!(schema.field(nested, "rules").unwrap().list, Some(ListKind::Map(vec!["rule".into()])));
        assert!(schema.field(nested, "default").unwrap().atomic);
        assert!(schema.field(nested, "description").is_none());
        assert_eq!(schema.nodes.len(), 5);
    }

    #[test]
    fn a_definition_that_leads_only_to_itself_is_silent() {
        let schema = reduce(json!({
            "K": kind(json!({"tree": {"$ref": "#/components/schemas/Tree"}})),
            "Tree": {"type": "object", "properties": {"left": {"$ref": "#/components/schemas/Tree"}}},
        }));
        assert_eq!(schema, ListSchema { nodes: vec![SchemaNode::default()] });
    }

    #[test]
    fn equal_definitions_written_out_many_times_are_one() {
        let selector = json!({"type": "object", "properties": {
            "labels": {"type": "object", "x-kubernetes-map-type": "atomic"}}});
        let schema = reduce(json!({"K": kind(json!({"a": selector, "b": selector, "c": selector}))}));
        assert_eq!(schema.nodes.len(), 3);
    }

    #[test]
    fn lists_within_atomic_lists_are_no_concern() {
        let schema =
            reduce(json!({"K": kind(json!({"rules": {"type": "array", "items": {"type": "object", "properties": {
            "hosts": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}}}}}))}));
        assert_eq!(schema, ListSchema { nodes: vec![SchemaNode::default()] });
    }

    #[test]
    fn free_form_custom_fields_are_granular() {
        let schema = reduce(json!({"K": kind(json!({
            "config": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "port": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true},
        }))}));
        assert_eq!(schema.nodes.len(), 1);
    }

    #[test]
    fn a_kind_that_is_not_there() {
        let document = OpenApiDocument::parse(br#"{"components": {"schemas": {}}}"#).unwrap();
        assert!(document.list_schema("g", "v1", "Kind").is_none());
    }
}
