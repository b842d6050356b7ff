//! Where the control plane's binaries come from.
//!
//! `KUBEBUILDER_ASSETS`, the convention of Kubernetes' own test environments, names a directory that has them. Else they
//! are built once from the pinned Go modules in `tests/control-plane/`, which are part of this binary so that the demo
//! runs from anywhere, and kept in the user's cache under a digest of those modules.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::build::{self, BuildError};

/// The variable that Kubernetes' test environments read.
const ASSETS_VARIABLE: &str = "KUBEBUILDER_ASSETS";

#[derive(Debug, thiserror::Error)]
pub enum AssetError {
    #[error(
        "{ASSETS_VARIABLE} is {}, where there is no {missing}: add it, or unset {ASSETS_VARIABLE} to have the control \
         plane built from source",
        directory.display()
    )]
    Incomplete { directory: PathBuf, missing: String },
    #[error(
        "neither XDG_CACHE_HOME nor HOME is set: set one, so that the control plane can be built in a cache directory"
    )]
    NoCache,
    #[error("kubectl is neither in {ASSETS_VARIABLE} nor on the PATH: install it")]
    NoKubectl,
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// The binaries of a control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assets {
    pub etcd: PathBuf,
    pub kube_apiserver: PathBuf,
    /// envtest's own bundles lack it.
    pub kube_controller_manager: PathBuf,
}

impl Assets {
    /// Finds the binaries, and builds them if need be, which takes minutes, once.
    pub async fn find_or_build() -> Result<Self, AssetError> {
        match Location::from_environment(|name| std::env::var_os(name))? {
            Location::Given(directory) => Self::in_directory(&directory),
            Location::Cache(cache) => Ok(Self::paths(&build::ensure_built(&cache).await?)),
        }
    }

    fn in_directory(directory: &Path) -> Result<Self, AssetError> {
        let assets = Self::paths(directory);
        let missing: Vec<&str> = [&assets.etcd, &assets.kube_apiserver, &assets.kube_controller_manager]
            .into_iter()
            .filter(|path| !path.is_file())
            .filter_map(|path| path.file_name()?.to_str())
            .collect();
        if missing.is_empty() {
            Ok(assets)
        } else {
            Err(AssetError::Incomplete { directory: directory.into(), missing: missing.join(", no ") })
        }
    }

    fn paths(directory: &Path) -> Self {
        Self {
            etcd: directory.join("etcd"),
            kube_apiserver: directory.join("kube-apiserver"),
            kube_controller_manager: directory.join("kube-controller-manager"),
        }
    }
}

/// The kubectl to use: the one among the given binaries, else the first on the PATH.
pub fn kubectl() -> Result<PathBuf, AssetError> {
    let directories = std::env::var_os(ASSETS_VARIABLE).map(PathBuf::from).into_iter();
    let path = std::env::var_os("PATH").unwrap_or_default();
    directories
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join("kubectl"))
        .find(|candidate| candidate.is_file())
        .ok_or(AssetError::NoKubectl)
}

#[derive(Debug, PartialEq, Eq)]
enum Location {
    Given(PathBuf),
    Cache(PathBuf),
}

impl Location {
    fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, AssetError> {
        // An empty variable counts as unset everywhere else, too; a relative cache is invalid by its specification.
        let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(directory) = path(ASSETS_VARIABLE) {
            return Ok(Self::Given(directory));
        }
        let cache = path("XDG_CACHE_HOME")
            .filter(|cache| cache.is_absolute())
            .or_else(|| path("HOME").map(|home| home.join(".cache")))
            .ok_or(AssetError::NoCache)?;
        Ok(Self::Cache(cache.join("gitadel").join("control-plane")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::control_plane::guard::Scratch;

    #[test]
    fn where_the_binaries_are_looked_for() {
        let cache = |path: &str| Location::Cache(path.into());
        let found = |environment: &[(&str, &str)]| {
            Location::from_environment(|name| {
                environment.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
            })
        };
        let home = ("HOME", "/h");
        for (environment, expected) in [
            (vec![("KUBEBUILDER_ASSETS", "/k"), home], Location::Given("/k".into())),
            (vec![("KUBEBUILDER_ASSETS", ""), ("XDG_CACHE_HOME", "/c"), home], cache("/c/gitadel/control-plane")),
            (vec![("XDG_CACHE_HOME", "relative"), home], cache("/h/.cache/gitadel/control-plane")),
            (vec![home], cache("/h/.cache/gitadel/control-plane")),
        ] {
            assert_eq!(found(&environment).unwrap(), expected, "{environment:?}");
        }
        assert!(matches!(found(&[]), Err(AssetError::NoCache)));
    }

    #[test]
    fn what_a_given_directory_lacks_is_named() {
        let scratch = Scratch::temporary().unwrap();
        std::fs::write(scratch.path().join("etcd"), "").unwrap();
        let error = Assets::in_directory(scratch.path()).unwrap_err().to_string();
        assert!(error.contains("no kube-apiserver, no kube-controller-manager"), "{error}");
        assert!(!error.contains("no etcd"), "{error}");
        for name in ["kube-apiserver", "kube-controller-manager"] {
            std::fs::write(scratch.path().join(name), "").unwrap();
        }
        assert_eq!(Assets::in_directory(scratch.path()).unwrap(), Assets::paths(scratch.path()));
    }
}
