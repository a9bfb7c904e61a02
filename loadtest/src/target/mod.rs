//! in → out: URLs and flags about requests → a scenario with the bytes to send.
//! owns: the form of URLs, of headers, of a request's head.
//! may not touch: sockets; names are looked up by whom it is given.

mod assemble;
mod check;
mod http1;
mod http2;
mod place;

pub(crate) use assemble::{TargetError, scenario};
