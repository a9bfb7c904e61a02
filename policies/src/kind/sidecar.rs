//! Sidecar: what one namespace, or some of its workloads, can see and listen on.

use std::collections::BTreeMap;

use crate::kind::connection_pool::ConnectionPool;
use crate::kind::destination::Destination;
use crate::kind::protocol::Protocol;
use crate::kind::server_tls::ServerTls;

/// `networking.istio.io` Sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Sidecar {
    /// Labels of the workloads; unset: all of the namespace.
    pub workload_selector: Option<BTreeMap<String, String>>,
    /// Inbound listeners; unset (empty): from the Services.
    pub ingress: Vec<IngressListener>,
    /// Outbound listeners; unset (empty): everything visible.
    pub egress: Vec<EgressListener>,
    /// Server-side limits for all inbound ports.
    pub inbound_connection_pool: Option<ConnectionPool>,
    /// What becomes of unknown destinations; unset: as the mesh says.
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
}

/// A port of a Sidecar listener. Number 0: none (unix sockets).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ListenerPort {
    /// Number.
    pub number: u32,
    /// What is spoken.
    pub protocol: Protocol,
    /// Label only.
    pub name: String,
}

/// `ingress[]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct IngressListener {
    /// Port of the workload.
    pub port: ListenerPort,
    /// Address to listen on.
    pub bind: Option<String>,
    /// How traffic arrives.
    pub capture_mode: CaptureMode,
    /// Where requests are forwarded in the pod; unset: pod IP and port.
    pub default_endpoint: Option<String>,
    /// TLS termination by the sidecar.
    pub tls: Option<ServerTls>,
    /// Limits for this port.
    pub connection_pool: Option<ConnectionPool>,
}

/// `egress[]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct EgressListener {
    /// Port; unset: everything that no other listener serves.
    pub port: Option<ListenerPort>,
    /// Address or unix path.
    pub bind: Option<String>,
    /// How traffic arrives.
    pub capture_mode: CaptureMode,
    /// Which services are visible here.
    pub hosts: Vec<EgressHost>,
}

/// An entry `ns/host` of an egress listener.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EgressHost {
    /// Whose services.
    pub namespace: EgressNamespace,
    /// Exact name, `*` or `*.suffix`; lower case.
    pub host: String,
}

/// The `ns/` part of an egress host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EgressNamespace {
    /// `*`.
    Any,
    /// `.`: the Sidecar's own.
    Own,
    /// `~`: none; the entry selects nothing.
    None,
    /// By name.
    Named(String),
    /// `~name`: this one is left out.
    Except(String),
}

/// `captureMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CaptureMode {
    /// As the pod was injected.
    #[default]
    Default,
    /// Intercepted.
    Iptables,
    /// A socket that applications address themselves.
    None,
}

/// `outboundTrafficPolicy` of a Sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct OutboundTrafficPolicy {
    /// What becomes of unknown destinations.
    pub mode: OutboundMode,
    /// Deprecated: a service that unknown traffic goes to.
    pub egress_proxy: Option<Destination>,
}

/// `outboundTrafficPolicy.mode`. The zero value is `RegistryOnly`: a block without a mode means that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OutboundMode {
    /// Unknown destinations are refused.
    #[default]
    RegistryOnly,
    /// Unknown destinations are passed through.
    AllowAny,
}
