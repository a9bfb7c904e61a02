//! in → out: outcomes of attempts, and the time of a sweep → ejections and returns of endpoints.
//! owns: the consecutive counters, the cap on ejections, the length of an ejection and its growth.
//! may not touch: picking, panic, retries, clocks: a local reply is never told to it, `now` is an argument.

mod cluster;
mod endpoint;
mod event;
mod runs;

#[cfg(all(test, loom))]
mod loom_models;
#[cfg(not(loom))]
#[cfg(test)]
mod tests;

pub use cluster::ClusterHealth;
pub use endpoint::{Detection, EndpointHealth, Standing, Verdict, ejection_time};
pub use event::{Cause, Event};
