//! Which configuration a node gets: the part of its identity that plans and generators may read.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::world::World;

/// An xDS client, seen as the receiver of configuration. Equal scopes receive equal resources.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The whole node id, `sidecar~10.1.1.2~web-1.shop~shop.svc.cluster.local`.
    pub id: String,
    /// Gateway or sidecar.
    pub node_type: NodeType,
    /// Address of its pod.
    pub ip: IpAddr,
    /// Name of its pod.
    pub name: String,
    /// Namespace of its pod.
    pub namespace: String,
    /// DNS suffix of its node id, `shop.svc.cluster.local`.
    pub dns_domain: String,
    /// Labels of its pod.
    pub labels: BTreeMap<String, String>,
    /// Service account of its pod.
    pub service_account: String,
    /// How traffic reaches it.
    pub interception: Interception,
    /// `CLUSTER_ID` of its metadata; empty when unset.
    pub cluster_id: String,
    /// Workload that owns its pod.
    pub workload: String,
    /// Container ports of its application (`APP_CONTAINERS` apart: `POD_PORTS` of Istio's metadata).
    pub app_ports: Vec<u16>,
    /// `false` for a gateway that may not bind ports below 1024.
    pub privileged_ports: bool,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeType {
    /// Beside an application (`sidecar~…`).
    Sidecar,
    /// At the edge (`router~…`).
    Router,
}

/// How traffic reaches a sidecar (`INTERCEPTION_MODE` of its metadata).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Interception {
    /// Connections are redirected, their destination address kept by the kernel.
    #[default]
    Redirect,
    /// Connections are redirected with both addresses in place.
    Tproxy,
    /// Nothing is captured: the proxy binds the ports that applications dial.
    None,
}

impl Scope {
    /// The scope of a node that states `id` and `metadata`. Where the world knows the node's pod (same
    /// namespace and name, or same address), what the pod says is preferred.
    pub fn from_node_parts(id: &str, metadata: &serde_json::Value, world: &World) -> Result<Self, ScopeError> {
        let _ = (metadata, world);
        Err(ScopeError::Id(id.to_owned()))
    }
}

/// Why a node gets nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// The id is not `type~ip~name.namespace~domain`.
    #[error("node id {0:?} is not of the form sidecar~IP~NAME.NAMESPACE~DOMAIN or router~…")]
    Id(String),
    /// The address within the id is none.
    #[error("node id {0:?} has {1:?} where an IP address belongs")]
    Address(String, String),
}
