//! JSON text into the flat form, without a tree in between.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::write::{Builder, Mark, Member};
use crate::nesting;

/// More than the API server and etcd would ever store, and far below what the flat form can address.
const MAX_LENGTH: usize = 256 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    #[error("this is no acceptable JSON document: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a JSON document of {0} bytes is too large; the limit is {MAX_LENGTH} bytes")]
    TooLarge(usize),
}

pub(super) fn parse(json: &[u8]) -> Result<Vec<u8>, ParseError> {
    if json.len() > MAX_LENGTH {
        return Err(ParseError::TooLarge(json.len()));
    }
    match parse_shallow(json) {
        Err(error @ ParseError::Json(_)) => match nesting::cut(json) {
            shallow if shallow != json => parse_shallow(&shallow),
            _ => Err(error),
        },
        parsed => parsed,
    }
}

fn parse_shallow(json: &[u8]) -> Result<Vec<u8>, ParseError> {
    // The offset tables weigh about as much as the punctuation that goes.
    let mut builder = Builder::with_capacity(json.len() + json.len() / 4 + 16);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Any(&mut builder).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(builder.finish())
}

/// Writes whatever value comes to the builder.
struct Any<'b>(&'b mut Builder);

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.null();
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.bool(value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.0.number(value.into());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.0.number(value.into());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.0.number(value.into());
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.0.string(value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let list = self.0.begin_list();
        while items.next_element_seed(Any(&mut *self.0))?.is_some() {
            self.0.item_done(list);
        }
        self.0.end_list(list);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let map = self.0.begin_map();
        while let Some(member) = members.next_key_seed(Key(&mut *self.0, map))? {
            members.next_value_seed(Any(&mut *self.0))?;
            self.0.member_done(map, member);
        }
        // The last one would win silently, here and in the API server, but not everywhere in between.
        self.0.end_map(map).map_err(|twice| A::Error::custom(format!("the key \"{}\" is there twice", twice.0)))
    }
}

struct Key<'b>(&'b mut Builder, Mark);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Member;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Member, E> {
        Ok(self.0.key(self.1, key))
    }
}
