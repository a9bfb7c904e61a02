//! Gateway: which ports and hosts a gateway proxy serves.

use std::collections::BTreeMap;

use crate::kind::protocol::Protocol;
use crate::kind::server_tls::ServerTls;

/// `networking.istio.io` Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Gateway {
    /// Servers, in order.
    pub servers: Vec<Server>,
    /// Labels of the proxies that load this; empty: every gateway.
    pub selector: BTreeMap<String, String>,
}

/// One port and the hosts served on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Server {
    /// Port.
    pub port: ServerPort,
    /// Address to listen on; unset: all.
    pub bind: Option<String>,
    /// `[ns/]host` entries.
    pub hosts: Vec<ServerHost>,
    /// TLS settings.
    pub tls: Option<ServerTls>,
    /// Free name.
    pub name: Option<String>,
}

/// Port of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ServerPort {
    /// Number that clients address on the gateway's Service.
    pub number: u32,
    /// What is spoken.
    pub protocol: Protocol,
    /// Unique name within the Gateway.
    pub name: String,
}

/// A host of a server, with the namespaces whose VirtualServices may bind to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerHost {
    /// Whose VirtualServices may bind.
    pub namespace: HostNamespace,
    /// Exact name, `*` or `*.suffix`; lower case.
    pub host: String,
}

/// The `ns/` part of a server host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostNamespace {
    /// None given, or `*`.
    Any,
    /// `.`: the Gateway's own.
    Own,
    /// A namespace by name.
    Named(String),
}

impl ServerHost {
    /// Whether a VirtualService of `namespace` may bind, for a Gateway that lives in `own`.
    pub fn admits(&self, own: &str, namespace: &str) -> bool {
        match &self.namespace {
            HostNamespace::Any => true,
            HostNamespace::Own => own == namespace,
            HostNamespace::Named(named) => named == namespace,
        }
    }
}
