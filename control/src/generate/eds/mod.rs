//! in → out: `EndpointsInputs` → `envoy.config.endpoint.v3.ClusterLoadAssignment`.
//! owns: addresses, health, weights, localities and the workload behind each endpoint.
//! may not touch: the world, clusters, policies.

mod assignment;
mod origin;

pub(super) use assignment::assignment;
pub use assignment::endpoints;
