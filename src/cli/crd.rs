//! `gitadel crd`: the API, generated from the types that the program itself uses.

use std::io::{self, Write};

use kube::CustomResourceExt;

use crate::api::Enforcement;

#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    #[error("the CustomResourceDefinition cannot be written as YAML: {0}")]
    Yaml(String),
    #[error("standard output cannot be written: {0}")]
    Output(#[from] io::Error),
}

pub fn run() -> Result<(), CrdError> {
    io::stdout().write_all(manifest()?.as_bytes())?;
    Ok(())
}

fn manifest() -> Result<String, CrdError> {
    serde_saphyr::to_string(&Enforcement::crd()).map_err(|error| CrdError::Yaml(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_manifest_reads_back_as_the_definition() {
        let read: Value = serde_saphyr::from_str(&manifest().unwrap()).unwrap();
        assert_eq!(read, serde_json::to_value(Enforcement::crd()).unwrap());
    }
}
