//! The comparison of an object with the state that Git declares: may this write happen, what differs, how is it mended.
//!
//! Pure functions of documents. Nothing here knows of HTTP, the API server, Git or time.

mod path;
mod schema;

pub use path::{Bounds, FreeField, Path, PathPattern, PatternError, PatternSegment, Segment};
pub use schema::{ListKind, ListSchema, SchemaNode};

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
    /// Fields that the desired state lacks may be set by anybody (`undeclaredFields: Allow`).
    pub undeclared_fields: bool,
}
