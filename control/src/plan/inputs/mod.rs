//! in → out: none; the generators' keys: all that a generated resource depends on, and nothing else.
//! owns: which facts those are, compared and hashed as a whole.
//! may not touch: the world, Envoy's messages.

mod application;
mod cluster;
mod endpoints;
mod listener;
mod route;

pub use application::{ApplicationAddress, InboundPort, Peers};
pub use cluster::{ClusterInputs, ClusterKind, HostFacts, MeshFacts};
pub use endpoints::{EndpointsInputs, EndpointsSource};
pub use listener::{ListenerInputs, ListenerKind, Network, OpaqueInputs, OpaqueRule, Unknown};
pub use route::{Provenance, RouteInputs, RouteTableInputs, RuleInputs, TargetInputs, VirtualHostInputs};
