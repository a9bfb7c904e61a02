//! in → out: accepted resources → one immutable snapshot, published by one swap.
//! owns: which resources are in force, and that live state is carried over by key.
//! may not touch: messages; anything after publish.

mod accepted;
mod endpoints;
mod store;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use accepted::Accepted;
pub(crate) use store::Store;
pub(crate) use table::Snapshot;
