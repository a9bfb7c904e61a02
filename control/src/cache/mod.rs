//! in → out: a node and the newest world → its resources, shared by all streams of equal scope.
//! owns: which scopes are in use, what each was generated from, the short cut for endpoints.
//! may not touch: who listens, what was acknowledged.

mod scopes;

pub use scopes::Cache;
