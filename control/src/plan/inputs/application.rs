//! What the way into an application depends on.

use std::net::SocketAddr;
use std::time::Duration;

use weft_policies::kind::protocol::Protocol;
use weft_policies::kind::virtual_service::HttpRetry;

use super::Provenance;

/// A port of an application, as its sidecar serves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InboundPort {
    /// The port of the pod that clients connect to.
    pub port: u16,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Cluster of the application: `inbound|8080||`.
    pub cluster: String,
    /// Port of the Service that it belongs to; the port itself where it belongs to none.
    pub service_port: u16,
    /// What a trace calls its requests: `web.shop.svc.cluster.local:80/*`.
    pub operation: String,
    /// Who may speak to it.
    pub peers: Peers,
    /// Retries towards the application (mesh `defaultInboundHttpRetryPolicy`); the built-in policy if absent.
    pub retries: Option<HttpRetry>,
    /// Both directions of an opaque connection silent for so long: closed; zero never, `None` as the protocol has it.
    pub idle_timeout: Option<Duration>,
    /// Longest life of an opaque connection.
    pub duration_max: Option<Duration>,
    /// The object that declares it.
    pub provenance: Provenance,
}

/// Who may speak to a port (PeerAuthentication `mtls.mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Peers {
    /// Everybody, in plain text or otherwise.
    #[default]
    Anybody,
    /// Workloads of the mesh, by mutual TLS.
    Mesh,
}

/// Where an application is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ApplicationAddress {
    /// Where its clients believe it to be: the address that they dialled.
    AsDialled,
    /// At this address.
    Tcp(SocketAddr),
    /// At this Unix socket: a path, or `@name` of an abstract one.
    Socket(String),
}
