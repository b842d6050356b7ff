//! Lists to which something may be added.

use serde_json::Value;

/// What a list of a child has to be: the template's items, and those of the child's others that are allowed. In the order
/// of the child where the template's items are in theirs.
pub fn extended(template: Option<&Value>, child: Option<&Value>, is_allowed: impl Fn(&Value) -> bool) -> Option<Value> {
    let items = |list: Option<&Value>| list.and_then(Value::as_array).cloned().unwrap_or_default();
    let (declared, found) = (items(template), items(child));
    let is_added = |item: &&Value| !declared.contains(item) && is_allowed(item);
    let added: Vec<Value> = found.iter().filter(is_added).cloned().collect();
    if added.is_empty() {
        return template.cloned();
    }
    let rest: Vec<&Value> = found.iter().filter(|item| !is_added(item)).collect();
    if rest.iter().copied().eq(&declared) {
        return Some(Value::Array(found));
    }
    Some(Value::Array(declared.into_iter().chain(added).collect()))
}

/// Sets a member, or takes it away.
pub fn set(object: &mut Value, field: &str, value: Option<Value>) {
    match (value, object.as_object_mut()) {
        (Some(value), Some(members)) => {
            members.insert(field.to_owned(), value);
        }
        (None, Some(members)) => {
            members.remove(field);
        }
        (_, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn additions_keep_the_order_in_which_they_came() {
        let allowed = |item: &Value| item.as_str().is_some_and(|text| text.starts_with('+'));
        let cases = [
            (json!(["a", "b"]), json!(["+x", "a", "+y", "b"]), json!(["+x", "a", "+y", "b"])),
            (json!(["a", "b"]), json!(["b", "+x", "a"]), json!(["a", "b", "+x"])),
            (json!(["a", "b"]), json!(["a", "evil", "b", "+x"]), json!(["a", "b", "+x"])),
            (json!(["a", "b"]), json!(["a"]), json!(["a", "b"])),
            (json!(["a", "+x"]), json!(["a"]), json!(["a", "+x"])),
        ];
        for (template, child, expected) in cases {
            assert_eq!(extended(Some(&template), Some(&child), allowed), Some(expected), "{template} {child}");
        }
        assert_eq!(extended(None, Some(&json!(["evil"])), allowed), None);
        assert_eq!(extended(None, Some(&json!(["+x"])), allowed), Some(json!(["+x"])));
    }
}
