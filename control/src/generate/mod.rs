//! in → out: inputs → Envoy v3 messages, encoded and versioned.
//! owns: how Envoy spells what the plan means; the memory of what has been generated.
//! may not touch: clocks, flags; the world, but to hand it to the plan.

mod cds;
mod eds;
mod lds;
mod memo;
mod rds;
mod references;
mod stage;
#[cfg(test)]
mod tests;
mod wire;

pub use cds::cluster;
pub use eds::endpoints;
pub use lds::listener;
pub use memo::{Memo, Work};
pub use rds::route_table;
pub use references::{clusters, clusters_of_listener, keep_last_good};
pub use stage::{Generator, Planned, ResourceSet, resources};
