//! Numbers, each value in one representation only.

use std::fmt;

/// A JSON number. An integral value is an integer however it was written (`2.0` is `2`), as it is to the API server;
/// integers of more than 64 bits are floats, as they are to the API server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number(Kind);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Integer(i64),
    /// Above `i64::MAX`.
    Unsigned(u64),
    /// Not integral, or of more than 64 bits.
    Float(f64),
}

/// 2^63 and 2^64: the first floats beyond `i64` and `u64`.
const BEYOND_I64: f64 = 9_223_372_036_854_775_808.0;
const BEYOND_U64: f64 = 18_446_744_073_709_551_616.0;

impl Number {
    pub(super) fn kind(self) -> Kind {
        self.0
    }

    pub fn as_i64(self) -> Option<i64> {
        match self.0 {
            Kind::Integer(value) => Some(value),
            Kind::Unsigned(_) | Kind::Float(_) => None,
        }
    }

    pub fn to_json(self) -> serde_json::Number {
        match self.0 {
            Kind::Integer(value) => value.into(),
            Kind::Unsigned(value) => value.into(),
            // JSON text cannot hold an infinite number, so that only damaged bytes get here with one.
            Kind::Float(value) => serde_json::Number::from_f64(value).unwrap_or_else(|| 0.into()),
        }
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self(Kind::Integer(value))
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self(i64::try_from(value).map_or(Kind::Unsigned(value), Kind::Integer))
    }
}

impl From<f64> for Number {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the ranges are checked")]
    fn from(value: f64) -> Self {
        if value.fract() == 0.0 && (-BEYOND_I64..BEYOND_I64).contains(&value) {
            Self(Kind::Integer(value as i64))
        } else if value.fract() == 0.0 && (BEYOND_I64..BEYOND_U64).contains(&value) {
            Self(Kind::Unsigned(value as u64))
        } else {
            Self(Kind::Float(value))
        }
    }
}

impl From<&serde_json::Number> for Number {
    fn from(value: &serde_json::Number) -> Self {
        if let Some(integer) = value.as_i64() {
            integer.into()
        } else if let Some(unsigned) = value.as_u64() {
            unsigned.into()
        } else {
            value.as_f64().unwrap_or_default().into()
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_json().fmt(f)
    }
}
