//! in → out: what core made of a request by its route's filters → a wait, a reply, headers, copies, a key.
//! owns: doing it; the life of a copy, and how many a worker has under way.
//! may not touch: whether it is done, which endpoint is picked, pools.

mod apply;
mod mirror;
mod place;

pub(super) use apply::{Passed, cross, hold, preflight};
pub(super) use mirror::{Mirroring, copy};
pub(super) use place::{place, remember};
