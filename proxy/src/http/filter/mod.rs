//! in → out: what core made of a request by the filters of its route → a wait, a reply, headers of the response.
//! owns: doing it.
//! may not touch: whether it is done, clusters, pools.

mod apply;
mod mirror;
mod place;

pub(super) use apply::{Passed, cross, hold, preflight};
pub(super) use mirror::{Mirroring, copy};
pub(super) use place::{place, remember};
