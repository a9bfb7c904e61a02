//! in → out: a listener of the configuration → bound sockets, accepted connections, each with the chain that takes it.
//! owns: bind, `SO_REUSEPORT`, accept limits, original destinations, the end of a listener without losing who waits.
//! may not touch: a byte of payload.

pub(crate) mod accept;
mod accepted;
pub(crate) mod bind;
mod serve;
pub(crate) mod set;
mod warm;

pub(crate) use accepted::Accepted;
pub(crate) use serve::chain;
use warm::is_warm;
