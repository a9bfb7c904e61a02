//! in → out: a downstream connection → requests, each answered by an upstream or by ourselves.
//! owns: hyper's server side, the life of a request, local replies, what is counted about both.
//! may not touch: sockets of upstreams, pools.

pub(crate) mod conn;
mod conn_h2;
pub(crate) mod conn_state;
mod connect;
pub(crate) mod guard;

mod filter;
mod find;
pub(crate) mod forward;
mod grpc;
mod head;
mod prepare;
pub(crate) mod relay_headers;
mod upgrade;

pub(crate) mod body;
mod copy;
pub(crate) mod deadline;
pub(crate) mod exchange;
pub(crate) mod failure;
mod finish;
pub(crate) mod flags;
pub(crate) mod replay;
mod reply;
