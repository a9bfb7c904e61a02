//! in → out: HTTP requests of operators and scrapers, on loopback → what the other rooms know.
//! owns: the paths, the limits on who asks.
//! may not touch: anything it could change.

mod answer;
mod server;

#[cfg(test)]
mod tests;

pub use answer::Sources;
pub use server::{CONNECTIONS_MAX, HEADER_TIMEOUT, serve};
