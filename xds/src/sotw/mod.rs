//! in → out: state-of-the-world discovery requests → what changed, and the next response.
//! owns: the rules of the state-of-the-world protocol at the server; our proxy never speaks it.
//! may not touch: sockets, timers, the meaning of a resource.

pub mod server;

#[cfg(test)]
mod tests;
