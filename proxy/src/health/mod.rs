//! in → out: clusters that eject outliers, and time → endpoints that come back.
//! owns: when a cluster is swept; one timer for all of them.
//! may not touch: picking, requests, why an endpoint is out.

mod schedule;
mod task;
#[cfg(test)]
mod tests;

pub(crate) use schedule::Schedule;
pub(crate) use task::run;
