//! in → out: an `EndpointSet`, the load and a random number → the place of the endpoint that gets the request.
//! owns: priorities, panic, and the arithmetic of the policies.
//! may not touch: connections, counters beyond reading them.

mod cursor;
mod eligible;
mod hash;
#[cfg(test)]
mod hash_tests;
mod pick;
#[cfg(test)]
mod tests;

pub use cursor::Cursor;
pub use eligible::NoEndpoint;
pub use hash::{HashChoice, HashedTable};
pub use pick::{Load, pick};
