//! in → out: a request and the cluster it goes to → a response, or exactly one failure.
//! owns: picking through core, connections to endpoints and their reuse, trying again, live state of clusters.
//! may not touch: route matching, local replies.

mod acquire;
pub(crate) mod admit;
pub(crate) mod attempt;
pub(crate) mod attempts;
pub(crate) mod cluster;
pub(crate) mod connect;
pub(crate) mod counters;
pub(crate) mod endpoint;
mod h2;
mod h2_connection;
mod h2_lent;
pub(crate) mod h2_pool;
mod hashed;
pub(crate) mod observe;
pub(crate) mod original;
pub(crate) mod pool;
mod response;
mod tries;
