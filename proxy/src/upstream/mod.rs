//! in → out: a request and the cluster it goes to → a response, or exactly one failure.
//! owns: picking through core, connections to endpoints and their reuse, live state of clusters.
//! may not touch: route matching, local replies.

pub(crate) mod attempt;
pub(crate) mod cluster;
mod connect;
pub(crate) mod counters;
pub(crate) mod endpoint;
pub(crate) mod pool;
mod response;
