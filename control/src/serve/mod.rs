//! in → out: streams of proxies and the resources of their scopes → pushes in safe order.
//! owns: subscriptions, one push at a time for each stream, what each proxy acknowledged or refused, stream limits.
//! may not touch: where objects come from, how a resource is made.

mod client;
mod held_back;
mod push;
mod server;
mod session;
mod wire;

#[cfg(test)]
mod tests;

pub use client::{Client, Outgoing, Protocol};
pub use push::{PHASE_DEADLINE, Phase};
pub use server::{Generate, ServeError, Settings, serve};
