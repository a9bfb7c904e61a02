//! in → out: a sidecar's `Context` → the listeners and clusters by which others reach its application.
//! owns: which ports are served, as what, and where the application is.
//! may not touch: what the application calls.

mod clusters;
mod limits;
mod listeners;
mod peers;
mod place;
mod ports;
mod targets;
#[cfg(test)]
mod tests;

pub(super) use listeners::plan;
pub(super) use targets::moved;
