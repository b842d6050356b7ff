//! The parts of which match conditions are made.
//!
//! Traps: absent request fields (`subResource`, `namespace`) must be read with `.?`; `object` is null in a DELETE and
//! `oldObject` in a CREATE, so the operation is tested first; an erroring condition denies. A map entry with an empty
//! value is an entry: compare with `key in old && new[key] == old[key]`, never with a default of `''`.

use super::{ROWS, Resources, Row, Target, Treatment};
use crate::admission::request::Operation;
use crate::api::SYSTEM_NAMESPACE;
use crate::cel::{list, quote};

/// True for the requests that the row is about.
pub fn requests_of(row: &Row) -> String {
    let (resources, subresource) = match row.target {
        Target::Objects => (None, ""),
        // Which kinds are custom is known to the API server alone.
        Target::Common { subresource, .. } => (None, subresource),
        Target::Named { resources, subresource } => (Some(resources), subresource),
    };
    let mut terms: Vec<_> = resources.into_iter().map(among).collect();
    terms.push(format!("request.?subResource.orValue('') == {}", quote(subresource)));
    // All that can be done to an object.
    if row.operations.len() < 3 {
        let operations: Vec<_> = row.operations.iter().map(|operation| operation.as_str()).collect();
        terms.push(one_of("request.operation", &operations));
    }
    // What another row has judged is not meant by the one for all.
    if let Target::Common { subresource, .. } = row.target {
        let judged: Vec<_> =
            ROWS.iter().filter(|row| row.treatment == Treatment::Judged).filter_map(named_in).collect();
        let judged = judged.iter().filter(|(_, name)| *name == subresource).flat_map(|(resources, _)| resources.iter());
        let judged: Vec<Resources> = judged.copied().collect();
        if !judged.is_empty() {
            terms.push(format!("!({})", among(&judged)));
        }
    }
    terms.join(" && ")
}

fn named_in(row: &Row) -> Option<(&'static [Resources], &'static str)> {
    match row.target {
        Target::Named { resources, subresource } => Some((resources, subresource)),
        Target::Objects | Target::Common { .. } => None,
    }
}

fn among(resources: &[Resources]) -> String {
    let terms: Vec<_> = resources
        .iter()
        .map(|(group, names)| {
            format!("request.resource.group == {} && {}", quote(group), one_of("request.resource.resource", names))
        })
        .collect();
    match terms.as_slice() {
        [only] => only.clone(),
        several => format!("({})", several.iter().map(|term| format!("({term})")).collect::<Vec<_>>().join(" || ")),
    }
}

pub fn one_of(value: &str, texts: &[&str]) -> String {
    match texts {
        [only] => format!("{value} == {}", quote(only)),
        several => format!("{value} in {}", list(several)),
    }
}

pub fn is(operation: Operation) -> String {
    format!("request.operation == {}", quote(operation.as_str()))
}

pub fn in_system_namespace() -> String {
    in_namespace(&[SYSTEM_NAMESPACE])
}

pub fn in_namespace(names: &[&str]) -> String {
    one_of("request.?namespace.orValue('')", names)
}

/// The list in a field; an empty one where it is null, as an EndpointSlice may have it, or absent.
pub fn items(object: &str, field: &str) -> String {
    format!("({object}.?{field}.orValue(null) == null ? [] : {object}.{field})")
}

/// Both objects have an equal value at each of these places in `metadata`, or both have none.
pub fn same_metadata(fields: &[&str]) -> String {
    let same = |field: &&str| format!("object.metadata.?{field} == oldObject.metadata.?{field}");
    fields.iter().map(same).collect::<Vec<_>>().join(" && ")
}

/// Two maps have the same entries, apart from the keys `k` for which `except` holds.
pub fn same_entries(new: &str, old: &str, except: &str) -> String {
    format!(
        "({new}).all(k, {except} || (k in ({old}) && ({new})[k] == ({old})[k])) && ({old}).all(k, {except} || k in ({new}))"
    )
}

/// The same annotations, apart from the keys `k` for which `settable` holds: those may be added or changed, but not
/// removed.
pub fn annotations_but(settable: &str) -> String {
    let new = "object.metadata.?annotations.orValue({})";
    let old = "oldObject.metadata.?annotations.orValue({})";
    format!("{new}.all(k, {settable} || (k in {old} && {new}[k] == {old}[k])) && {old}.all(k, k in {new})")
}
