//! in → out: a script, call → [`Http2Behaviour`] → an HTTP/2 server on loopback, port 0, and what it saw; and a client.
//! owns: HTTP/2 with prior knowledge, frame by frame where a test needs it: refusals, resets, GOAWAY, trailers.
//! may not touch: the proxy under test.

mod client;
mod upstream;

pub use client::{Http2Client, Http2Reply};
pub use upstream::{Call, Http2Behaviour, Http2Counts, Http2Upstream};
