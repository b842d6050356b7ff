//! Text of CEL, in which match conditions and policies are written.

use serde_json::Value;

/// A list of strings.
pub fn list<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| quote(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

/// A string literal. Names from outside (an Enforcement's namespaces, a user) must not end the literal.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for c in text.chars() {
        match c {
            '\'' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// A literal that is equal to this value where it stands in an object.
pub fn literal(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quote(text),
        Value::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            // The values of one literal are to be of one type, or of none.
            let is_uniform = fields.values().all(Value::is_string);
            let value = |value| if is_uniform { literal(value) } else { format!("dyn({})", literal(value)) };
            let fields: Vec<_> = fields.iter().map(|(key, item)| format!("{}: {}", quote(key), value(item))).collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_literal_cannot_be_ended_from_within() {
        let cases = [("shop", "'shop'"), ("a'b", r"'a\'b'"), (r"a\", r"'a\\'"), ("a\nb", r"'a\u000ab'")];
        for (text, expected) in cases {
            assert_eq!(quote(text), expected);
        }
    }

    #[test]
    fn every_value_has_a_literal() {
        let mixed = json!({"a": [1, 2], "b": {}, "c": null, "d": true});
        assert_eq!(literal(&mixed), "{'a': dyn([1, 2]), 'b': dyn({}), 'c': dyn(null), 'd': dyn(true)}");
        let texts = json!([{"b'": "it's \\ here\n"}]);
        assert_eq!(literal(&texts), r"[{'b\'': 'it\'s \\ here\u000a'}]");
    }
}
