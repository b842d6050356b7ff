//! What an entry of the snapshot was made from: equal inputs give an equal entry, so that a restart or a new commit asks
//! the API server only about what changed.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// Digest of the manifest.
    pub digest: String,
    /// Digest of what canonical objects depend on besides.
    pub environment: String,
    /// Object id of the file, on which the line numbers depend.
    pub blob: String,
}

impl Inputs {
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let inputs = Self {
            digest: parts.next()?.to_owned(),
            environment: parts.next()?.to_owned(),
            blob: parts.next()?.to_owned(),
        };
        parts.next().is_none().then_some(inputs)
    }
}

impl fmt::Display for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.digest, self.environment, self.blob)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_read_as_they_were_written() {
        let inputs = Inputs { digest: "d".into(), environment: "e".into(), blob: "b".into() };
        assert_eq!(Inputs::parse(&inputs.to_string()), Some(inputs));
        assert_eq!(Inputs::parse("d e"), None);
        assert_eq!(Inputs::parse("d e b x"), None);
    }
}
