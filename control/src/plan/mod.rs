//! in → out: `World` × `Scope` → [`Plan`]: the inputs of every resource that the scope is given.
//! owns: precedence among objects, what a proxy sees, names of resources, what refers to what.
//! may not touch: Envoy's messages.

mod application;
mod clusters;
mod codes;
mod context;
mod destination;
mod egress;
mod forward_proxy;
mod gateway;
pub mod inputs;
pub mod names;
mod opaque;
#[cfg(test)]
mod opaque_tests;
mod registry;
mod rules;
mod shared;
mod sidecar;
mod slots;
mod stage;
#[cfg(test)]
mod tests;
mod unknown;
mod virtual_hosts;

pub use clusters::EndpointsPlan;
pub use shared::Shared;
pub use stage::{Plan, plan, serves_other_ports};
