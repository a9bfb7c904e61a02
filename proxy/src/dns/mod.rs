//! in → out: clusters whose endpoints are names → their addresses, looked up again and again.
//! owns: the resolver, when each name is asked for, what was last answered. Runs on the main thread.
//! may not touch: requests, picking.

mod pending;
mod resolver;
mod task;

pub(crate) use pending::Pending;
pub(crate) use task::run;
