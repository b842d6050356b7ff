//! From files in a commit to manifests.
