//! in → out: `ClusterInputs` → `envoy.config.cluster.v3.Cluster`.
//! owns: discovery, balancing, limits, outlier detection, upstream protocol and TLS, as Envoy spells them.
//! may not touch: the world, endpoints (but those that a DNS cluster carries itself), which policy applies.

mod balance;
mod cluster;
mod limits;
mod origin;
mod protocol;
mod tls;

pub use cluster::cluster;
