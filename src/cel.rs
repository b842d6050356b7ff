//! Text of CEL, in which match conditions are written.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_cannot_be_ended_from_within() {
        let cases = [("shop", "'shop'"), ("a'b", r"'a\'b'"), (r"a\", r"'a\\'"), ("a\nb", r"'a\u000ab'")];
        for (text, expected) in cases {
            assert_eq!(quote(text), expected);
        }
    }
}
