//! From a commit to the state of the cluster, and back to it.
