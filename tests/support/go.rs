//! Manifests that no one here wrote come as Go modules: pinned, and proven by their checksums.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// The directory of a Go module, whose checksum Go verifies.
pub fn module(module: &str) -> PathBuf {
    // Outside of any Go module of this repository.
    let directory = std::env::temp_dir();
    let output = Command::new("go").current_dir(directory).args(["mod", "download", "-json", module]).output();
    let output = output.expect("Go is installed");
    let said: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("go mod download {module}: {}", String::from_utf8_lossy(&output.stderr)));
    let directory = said["Dir"].as_str().unwrap_or_else(|| panic!("go mod download {module}: {said}"));
    directory.into()
}
