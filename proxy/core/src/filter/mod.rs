//! in → out: the filter settings of a route, a request's head, random numbers → what the filters make of the request.
//! owns: faults, cross-origin policies, copies: whether and with what.
//! may not touch: waiting, bodies, sockets.

mod cors;
mod decide;
mod fault;
mod mirror;
#[cfg(test)]
mod tests;

pub use cors::CorsGrant;
pub use decide::{Filtered, Then, decide};
pub use fault::grpc_name;
pub use mirror::shadow_authority;
