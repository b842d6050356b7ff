//! The comparison of an object with the state that Git declares: may this write happen, what differs, how is it mended.
//!
//! Pure functions of documents. Nothing here knows of HTTP, the API server, Git or time.

mod carry;
mod difference;
mod finding;
mod identical;
mod judge;
mod mask;
mod members;
mod patch;
mod path;
mod place;
mod roster;
mod schema;
mod unit;
mod wanted;

pub use carry::carry;
pub use difference::difference;
pub use finding::{AgainstRecord, Fault, Finding};
pub use identical::identical;
pub use judge::{judge, judge_create};
pub use mask::{MaskKey, MaskKeyError, mask_secret};
pub use patch::json_patch;
pub use path::{Bounds, FreeField, Path, PathPattern, PatternError, PatternSegment, Segment};
pub use schema::{ListKind, ListSchema, SchemaNode};

/// In it, `kubectl apply` keeps what it applied last. Free for everybody where it describes the same object: else a plain
/// `kubectl apply` of Git's own manifest would be refused.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What besides the desired state a write may touch.
#[derive(Clone, Copy, Debug)]
pub struct Latitude<'a> {
    /// Which lists are keyed, which are sets, which are atomic.
    pub schema: &'a ListSchema,
    /// `status` is written through a subresource of its own and is no part of the state judged.
    pub status_subresource: bool,
    /// Values that the server sets once: admitted where they were absent, frozen afterwards.
    pub allotted: &'a [PathPattern],
    /// Fields that this writer may set, within bounds.
    pub free: &'a [FreeField],
    /// Fields that the desired state lacks, items of keyed lists among them, may be set by anybody
    /// (`undeclaredFields: Allow`). Owners and finalizers may not.
    pub undeclared_fields: bool,
}

#[cfg(test)]
mod tests;
