//! The addresses behind a Service.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// One address behind a Service, with a port for each of its named ports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where to connect.
    pub address: IpAddr,
    /// Name of the service port (empty for the unnamed one) → port to connect to.
    pub ports: BTreeMap<String, u16>,
    /// Labels of the pod; subsets select by them. Empty when no pod is known.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Name of the workload that owns the pod (the pod's own name if nobody does); empty when no pod is known.
    pub workload: String,
    /// Namespace of the workload.
    pub namespace: String,
    /// Service account of the pod; empty when no pod is known.
    pub service_account: String,
    /// Whether it may be given traffic.
    pub readiness: Readiness,
    /// Relative weight among its neighbours; 1 unless something says otherwise.
    pub weight: u32,
    /// Where it is.
    pub locality: Locality,
    /// Node that it runs on.
    pub node: Option<String>,
}

/// What the conditions of an endpoint allow (Kubernetes: EndpointSlice `conditions`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Readiness {
    /// Takes traffic.
    Ready,
    /// Known and not ready: counted in its group, marked unhealthy, given nothing.
    NotReady,
    /// Shutting down: no new traffic.
    Terminating,
}

/// Region, zone and sub-zone; empty where unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Locality {
    /// `topology.kubernetes.io/region`.
    pub region: String,
    /// `topology.kubernetes.io/zone`.
    pub zone: String,
    /// `topology.istio.io/subzone`.
    pub sub_zone: String,
}
