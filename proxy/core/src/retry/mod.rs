//! in → out: what became of an attempt → whether there is another, after which wait, on which endpoint.
//! owns: the meaning of every retry condition, backoff, the choice of an endpoint not yet tried, the budget.
//! may not touch: bodies, whether a request can be replayed, timers, connections.

mod backoff;
mod budget;
mod decide;
mod grpc;
mod host;

#[cfg(not(loom))]
#[cfg(test)]
mod tests;

pub use backoff::backoff;
pub use budget::retries_max;
pub use decide::{Break, Decision, Outcome, applies, decide, follows_sending};
pub use grpc::{grpc_status, http_of_grpc};
pub use host::{Avoiding, Untried, avoided_priorities, pick_untried};
