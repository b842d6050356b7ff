//! What a YAML scalar means to Kubernetes.
//!
//! `kubectl` and every tool around it read YAML with `sigs.k8s.io/yaml`, which resolves scalars by YAML 1.1 (`yes`, `on`
//! and `y` are booleans, `0644` is 420) and then passes everything through JSON, where `1.0` becomes `1`. Anything else
//! here would make objects that differ from what the author sees when trying them out.

use serde_json::{Number, Value};

use super::problem::ProblemKind;

const CORE: &str = "tag:yaml.org,2002:";

/// A scalar of YAML, before it is a value or a key of JSON.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
}

impl Scalar {
    fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Integer(_) | Self::Unsigned(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
        }
    }

    pub fn into_value(self) -> Result<Value, ProblemKind> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Integer(value) => Value::Number(value.into()),
            Self::Unsigned(value) => number(value as f64)?,
            Self::Float(value) => number(value)?,
            Self::Text(text) => Value::String(text),
        })
    }

    pub fn into_key(self) -> Result<String, ProblemKind> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Integer(value) => Ok(value.to_string()),
            Self::Bool(value) => Ok(value.to_string()),
            Self::Float(value) => Ok(float_key(value)),
            Self::Null | Self::Unsigned(_) => Err(ProblemKind::UnusableKey),
        }
    }
}

/// A number as Kubernetes' JSON decoder sees it: an integer wherever its shortest decimal form is one.
pub(super) fn number(value: f64) -> Result<Value, ProblemKind> {
    if value.is_finite() && value.abs() < 1e21 && value.fract() == 0.0 {
        // The detour by text is the decoder's own: 2^62 is written 4611686018427388000, and that is what is read.
        if let Ok(integer) = format!("{value}").parse::<i64>() {
            return Ok(Value::Number(integer.into()));
        }
    }
    Number::from_f64(value).map(Value::Number).ok_or_else(|| ProblemKind::NotFinite(value.to_string()))
}

/// A float as a key: Go's `%g` in single precision.
fn float_key(value: f64) -> String {
    if !value.is_finite() {
        return match () {
            () if value.is_nan() => ".nan".to_owned(),
            () if value > 0.0 => ".inf".to_owned(),
            () => "-.inf".to_owned(),
        };
    }
    let single = value as f32;
    if single.is_infinite() {
        return if single > 0.0 { ".inf".to_owned() } else { "-.inf".to_owned() };
    }
    let scientific = format!("{single:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => format!("{single}"),
    }
}

/// `plain` is false for quoted and block scalars; `tag` is the resolved one.
pub(super) fn resolve(text: &str, plain: bool, tag: Option<&str>) -> Result<Scalar, ProblemKind> {
    let short = match tag {
        None if plain => return Ok(implicit(text)),
        None => return Ok(Scalar::Text(text.to_owned())),
        // A tag of the author's own means nothing to Kubernetes and leaves a string.
        Some(tag) => tag.strip_prefix(CORE).unwrap_or("str"),
    };
    let refuse = || ProblemKind::Tag { value: text.to_owned(), tag: format!("!!{short}") };
    match short {
        "bool" | "int" | "float" | "null" => {
            let scalar = implicit(text);
            match (short, &scalar) {
                ("float", Scalar::Integer(value)) => Ok(Scalar::Float(*value as f64)),
                _ if scalar.name() == short => Ok(scalar),
                _ => Err(refuse()),
            }
        }
        "binary" => {
            use base64::Engine as _;
            let bytes = base64::engine::general_purpose::STANDARD.decode(text.replace(['\n', '\r'], ""));
            bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok()).map(Scalar::Text).ok_or_else(refuse)
        }
        _ => Ok(Scalar::Text(text.to_owned())),
    }
}

fn implicit(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let number = match text.as_bytes().first() {
        Some(b'.') => float(text),
        Some(b'0'..=b'9' | b'+' | b'-') => {
            let digits = text.replace('_', "");
            integer(&digits).or_else(|| float(&digits))
        }
        _ => None,
    };
    number.unwrap_or_else(|| Scalar::Text(text.to_owned()))
}

/// With the prefixes of Go: `0x`, `0o`, `0b`, and a leading zero for octal.
fn integer(text: &str) -> Option<Scalar> {
    let (negative, signed, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, true, &text[1..]),
        b'+' => (false, true, &text[1..]),
        _ => (false, false, text),
    };
    let prefix = unsigned.get(..2).map(str::to_ascii_lowercase);
    let (radix, digits) = match prefix.as_deref() {
        Some("0x") => (16, &unsigned[2..]),
        Some("0o") => (8, &unsigned[2..]),
        Some("0b") => (2, &unsigned[2..]),
        Some(_) if unsigned.starts_with('0') => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    // A sign behind the prefix is Rust's licence; Go's parser has it for `0b` alone, by an oversight that is not kept.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    match i64::from_str_radix(&format!("{sign}{digits}"), radix) {
        Ok(value) => Some(Scalar::Integer(value)),
        Err(_) if signed => None,
        Err(_) => u64::from_str_radix(digits, radix).ok().map(Scalar::Unsigned),
    }
}

/// Decimal floats only; one that is too large for 64 bits stays a string.
fn float(text: &str) -> Option<Scalar> {
    let numeric = text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let value = text.parse::<f64>().ok().filter(|value| numeric && value.is_finite())?;
    Some(Scalar::Float(value))
}
