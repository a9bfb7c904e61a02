//! in → out: a listener of the configuration → bound sockets, accepted connections.
//! owns: bind, `SO_REUSEPORT`, accept limits, the end of a listener without losing who waits.
//! may not touch: a byte of payload.

pub(crate) mod accept;
pub(crate) mod bind;
pub(crate) mod set;
