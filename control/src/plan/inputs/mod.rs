//! The keys of the generators: everything that a generated resource depends on, and nothing else.

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
