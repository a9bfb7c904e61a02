//! in → out: a prepared request and a connection → what came back, or in which phase it failed.
//! owns: connecting, and speaking each protocol.
//! may not touch: when to send, and what is counted.

pub(crate) mod answer;
mod body;
pub(crate) mod connect;
pub(crate) mod echo;
pub(crate) mod failure;
pub(crate) mod http1;
pub(crate) mod http2;
mod message;
pub(crate) mod progress;
pub(crate) mod response;
pub(crate) mod stream;
pub(crate) mod timer;
pub(crate) mod tls;

pub(crate) use failure::{Failure, Kind, Phase};
