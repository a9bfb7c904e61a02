//! in → out: an accepted connection's facts and the listeners → the `Listener` and `FilterChain` that get it.
//! owns: listeners, filter chains and their match, what a connection manager or TCP proxy is told.
//! may not touch: requests, sockets, bytes.

mod find;
mod http;
mod listener;
mod listeners;
mod origin;
mod tcp;
#[cfg(test)]
mod tests;

pub use find::{ConnectionFacts, TransportProtocol};
pub use http::{
    Codec, Http1Options, Http2Options, HttpConnectionManager, HttpFilters, HttpTimeouts, RouteSource, ServerHeader,
    StripPort,
};
pub use listener::{ChainMatch, Cidr, CidrError, Direction, FilterChain, Inspectors, Listener, Network, SourceType};
pub use listeners::Listeners;
pub use origin::{Origin, Spoken};
pub use tcp::{TcpDestination, TcpProxy};
