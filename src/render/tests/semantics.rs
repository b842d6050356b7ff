//! The meaning of YAML. The expectations were made with `sigs.k8s.io/yaml` v1.6.0 and Kubernetes' JSON decoder.

use serde_json::json;

use super::super::problem::ProblemKind;
use super::value;

#[test]
fn scalars_mean_what_they_mean_to_kubectl() {
    let cases = [
        // Booleans and null of YAML 1.1, in three spellings each.
        ("yes", json!(true)),
        ("No", json!(false)),
        ("on", json!(true)),
        ("OFF", json!(false)),
        ("y", json!(true)),
        ("N", json!(false)),
        ("True", json!(true)),
        ("yEs", json!("yEs")),
        ("~", json!(null)),
        ("NULL", json!(null)),
        ("nULL", json!("nULL")),
        // Integers.
        ("0644", json!(420)),
        ("0o644", json!(420)),
        ("0O17", json!(15)),
        ("0X1f", json!(31)),
        ("-0xF", json!(-15)),
        ("+0x1F", json!(31)),
        ("0b101", json!(5)),
        ("-0b11", json!(-3)),
        ("-017", json!(-15)),
        ("+12", json!(12)),
        ("1_000", json!(1000)),
        ("0_7", json!(7)),
        ("1__0", json!(10)),
        ("_1", json!("_1")),
        ("-0", json!(0)),
        ("9223372036854775807", json!(i64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("9223372036854775808", json!(9223372036854775808f64)),
        ("18446744073709551615", json!(18446744073709551615f64)),
        ("-9223372036854775809", json!(-9223372036854775809f64)),
        ("0777777777777777777777777", json!(7.777777777777778e23)),
        // Floats; a whole one is an integer to Kubernetes.
        ("089", json!(89)),
        ("08.5", json!(8.5)),
        ("1.0", json!(1)),
        ("1.", json!(1)),
        (".5", json!(0.5)),
        ("+.5", json!(0.5)),
        (".5e1", json!(5)),
        ("1e3", json!(1000)),
        ("1E+3", json!(1000)),
        ("12e03", json!(12000)),
        ("1_0.5", json!(10.5)),
        ("1e-7", json!(1e-7)),
        ("1e20", json!(1e20)),
        ("1e21", json!(1e21)),
        ("1e400", json!("1e400")),
        ("4611686018427387904.0", json!(4611686018427388000i64)),
        // Strings that look like something.
        ("2001-01-01", json!("2001-01-01")),
        ("2001-01-01T00:00:00Z", json!("2001-01-01T00:00:00Z")),
        ("12:30:45", json!("12:30:45")),
        ("190:20:30", json!("190:20:30")),
        ("1e", json!("1e")),
        ("0x", json!("0x")),
        ("0b12", json!("0b12")),
        ("+", json!("+")),
        ("..", json!("..")),
        ("1.2.3", json!("1.2.3")),
        ("100m", json!("100m")),
        ("\"yes\"", json!("yes")),
        ("'0644'", json!("0644")),
        // Tags.
        ("!!str 123", json!("123")),
        ("!!int \"5\"", json!(5)),
        ("!!float 1", json!(1)),
        ("!!bool \"yes\"", json!(true)),
        ("!!null ''", json!(null)),
        ("!!binary aGVsbG8=", json!("hello")),
        ("!foo 5", json!("5")),
        ("!!timestamp 2001-01-01", json!("2001-01-01")),
    ];
    for (text, expected) in cases {
        assert_eq!(value(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn keys_become_strings() {
    let cases = [
        ("1: a", "1"),
        ("yes: a", "true"),
        ("y: a", "true"),
        ("0x10: a", "16"),
        ("1.5: a", "1.5"),
        ("1.10: a", "1.1"),
        ("1e6: a", "1e+06"),
        ("1234567.0: a", "1.234567e+06"),
        ("123456.0: a", "123456"),
        ("1e30: a", "1e+30"),
        ("1e-5: a", "1e-05"),
        ("2001-01-01: a", "2001-01-01"),
        ("\"1\": a", "1"),
        ("\"<<\": a", "<<"),
    ];
    for (text, key) in cases {
        assert_eq!(value(text).unwrap(), json!({key: "a"}), "{text}");
    }
}

#[test]
fn structures_aliases_and_merges() {
    let cases = [
        ("a: &x [1, {b: 2}]\nc: *x", json!({"a": [1, {"b": 2}], "c": [1, {"b": 2}]})),
        ("&k a: *k", json!({"a": "a"})),
        ("a: &x 1\nb: &x 2\nc: *x", json!({"a": 1, "b": 2, "c": 2})),
        ("base: &b {a: 1, b: 2}\nuse:\n  <<: *b\n  a: 3", json!({"base": {"a": 1, "b": 2}, "use": {"a": 3, "b": 2}})),
        ("<<: [{a: 1}, {a: 2, b: 3}]", json!({"a": 1, "b": 3})),
        ("a: !!set {b}", json!({"a": {"b": null}})),
        ("a: |\n  x\n   y\n", json!({"a": "x\n y\n"})),
        ("a: >-\n  x\n  y\n", json!({"a": "x y"})),
        ("a: \"\\u0085\\u2028\\x07é\"", json!({"a": "\u{85}\u{2028}\u{7}é"})),
        ("a: 😀\r\nb: c\r\n", json!({"a": "😀", "b": "c"})),
        ("a:\nb: ''", json!({"a": null, "b": ""})),
        ("'': x", json!({"": "x"})),
    ];
    for (text, expected) in cases {
        assert_eq!(value(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn what_has_no_one_meaning_is_refused_with_its_line() {
    let deep = format!("{}1{}", "[".repeat(130), "]".repeat(130));
    let laughs: String = (1..30).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}, *a{0}]\n", n - 1)).collect();
    let laughs = format!("a0: &a0 lol\n{laughs}");
    // Each of these lines is shallow, but the last alias stands for more levels than any parser takes.
    let chain: String = (1..100).map(|n| format!("a{n}: &a{n} [[*a{}]]\n", n - 1)).collect();
    let chain = format!("a0: &a0 x\n{chain}");
    let duplicate = |name: &str| ProblemKind::DuplicateKey(name.into());
    let cases: Vec<(&str, u32, ProblemKind)> = vec![
        ("a: 1\nb: 2\na: 3", 3, duplicate("a")),
        ("1: a\n\"1\": b", 2, duplicate("1")),
        ("true: a\nyes: b", 2, duplicate("true")),
        ("<<: {a: 1}\n<<: {b: 1}", 2, duplicate("<<")),
        ("a: 1\n<<: {a: 2}", 2, ProblemKind::KeyBeforeMerge("a".into())),
        ("x: 1\n<<: 1", 2, ProblemKind::MergeOfNoMap),
        ("x:\n  ~: a", 2, ProblemKind::UnusableKey),
        ("? [a]\n: b", 1, ProblemKind::UnusableKey),
        ("18446744073709551615: a", 1, ProblemKind::UnusableKey),
        ("a:\n- .inf", 2, ProblemKind::NotFinite("inf".into())),
        ("a: .nan", 1, ProblemKind::NotFinite("NaN".into())),
        ("a: !!int x", 1, ProblemKind::Tag { value: "x".into(), tag: "!!int".into() }),
        ("a: !!binary /w==", 1, ProblemKind::Tag { value: "/w==".into(), tag: "!!binary".into() }),
        ("a: b\nc: \u{7}", 2, ProblemKind::ControlCharacter(7)),
        ("a: \0", 1, ProblemKind::ControlCharacter(0)),
        ("a: b\n\n# \u{2028}", 3, ProblemKind::AmbiguousBreak(0x2028)),
        ("a: x\u{85}y", 1, ProblemKind::AmbiguousBreak(0x85)),
        (&deep, 1, ProblemKind::TooDeep(120)),
        (&laughs, 9, ProblemKind::TooManyAliases(4 * 1024 * 1024)),
        (&chain, 61, ProblemKind::TooDeep(120)),
    ];
    for (text, line, kind) in cases {
        let problem = value(text).unwrap_err();
        assert_eq!((problem.line, problem.kind), (Some(line), kind), "{}", &text[..text.len().min(60)]);
    }
}

#[test]
fn syntax_errors_have_their_line() {
    for (text, line) in [("a: b\nc: [1, 2\nd: e", 3), ("a: b\n  c: d", 2), ("a: *nowhere", 1)] {
        let problem = value(text).unwrap_err();
        assert!(matches!(problem.kind, ProblemKind::Yaml(_)), "{text}: {problem:?}");
        assert_eq!(problem.line, Some(line), "{text}: {problem:?}");
    }
    let endless = value("a: &a [1, *a]").unwrap_err();
    assert!(endless.kind.to_string().contains("alias"), "{endless:?}");
}
