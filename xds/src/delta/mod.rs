//! in → out: incremental discovery messages → what changed, and the next message.
//! owns: the rules of the incremental protocol, for both ends.
//! may not touch: sockets, timers, the meaning of a resource.

pub mod client;
pub mod server;

#[cfg(test)]
mod tests;
