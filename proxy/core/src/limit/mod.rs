//! in → out: a request for a place below a limit → a `Permit`, or none because the limit is reached.
//! owns: the count of permits, its bound, its high-water mark; that the bound holds across threads at every moment.
//! may not touch: what a permit stands for, who waits for one.

mod gate;
mod permits;
#[cfg(not(loom))]
#[cfg(test)]
mod tests;

#[cfg(all(test, loom))]
mod gate_models;
#[cfg(all(test, loom))]
mod loom_models;

pub use gate::{Gate, Ticket};
pub use permits::{Limit, Permit};
