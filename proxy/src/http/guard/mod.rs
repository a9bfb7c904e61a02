//! in → out: raw bytes of an HTTP/1 client → the same bytes, up to the first that could be read in two ways.
//! owns: the framing check in front of the parser (RFC 9112, sections 2.2, 6 and 7.1) and where a message starts and ends.
//! may not touch: header values it does not need for framing, routes, the reply.

mod chunk;
mod field;
mod framing;
mod stream;
mod watch;

pub(crate) use framing::Refusal;
pub(crate) use stream::GuardedStream;
pub(crate) use watch::WatchedStream;
