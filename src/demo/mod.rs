//! The story that the README tells, on a real control plane.

pub mod control_plane;
