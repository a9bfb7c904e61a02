//! The VirtualService itself.

use super::{HttpRoute, TcpRoute, TlsRoute};

/// `networking.istio.io` VirtualService.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct VirtualService {
    /// Hosts as written; empty: a delegate. Short names belong to the object's namespace.
    pub hosts: Vec<String>,
    /// Gateway references as written; empty: `mesh`.
    pub gateways: Vec<String>,
    /// Rules of HTTP ports, in order.
    pub http: Vec<HttpRoute>,
    /// Rules of TLS ports, by SNI.
    pub tls: Vec<TlsRoute>,
    /// Rules of TCP ports.
    pub tcp: Vec<TcpRoute>,
    /// Namespaces that see it; empty: the mesh default.
    pub export_to: Vec<String>,
}

impl VirtualService {
    /// Whether the rules take part in the mesh, that is, in sidecars (`gateways` empty or naming `mesh`).
    pub fn binds_mesh(&self) -> bool {
        self.gateways.is_empty() || self.gateways.iter().any(|g| g == crate::defaults::MESH_GATEWAY)
    }
}
