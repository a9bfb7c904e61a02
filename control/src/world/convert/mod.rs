//! in → out: Kubernetes types → the world's own.
//! owns: what of a Kubernetes object means something to the mesh.
//! may not touch: indexes, other objects.

mod pod;
mod service;
mod slice;

pub(in crate::world) use pod::pod;
pub(in crate::world) use service::service;
pub(in crate::world) use slice::{Slice, SliceEndpoint, slice};
