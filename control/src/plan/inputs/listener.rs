//! What a listener depends on.

use std::net::IpAddr;
use std::time::Duration;

use weft_policies::mesh::PathNormalization;

use super::Provenance;

/// A listener (LDS resource).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenerInputs {
    /// `0.0.0.0_8080`, `virtualOutbound`.
    pub name: String,
    /// Address that it stands for.
    pub address: IpAddr,
    /// Port that it stands for.
    pub port: u16,
    /// What it does.
    pub kind: ListenerKind,
    /// The objects that asked for it.
    pub provenance: Vec<Provenance>,
    /// What becomes of the paths of its requests.
    pub path_normalization: PathNormalization,
    /// How long a client may stay silent where its protocol is found out; zero waits without a limit.
    pub detection_timeout: Duration,
}

/// What a listener does with a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenerKind {
    /// The plain HTTP port of a gateway.
    Gateway {
        /// Its route table.
        routes: String,
        /// How many proxies in front of it are believed about the client's address.
        trusted_proxies: u32,
    },
    /// Takes all captured connections, hands those with a listener of their own over and treats the others
    /// as unknown.
    VirtualOutbound {
        /// What becomes of unknown destinations.
        unknown: Unknown,
    },
    /// The plain TCP port of a gateway.
    GatewayTcp {
        /// The chains of the rules that apply; without any, connections are closed.
        chains: Vec<OpaqueInputs>,
    },
    /// Opaque bytes of captured connections.
    Tcp {
        /// What becomes of them.
        chains: Vec<OpaqueInputs>,
    },
    /// HTTP or opaque bytes, by what the client sends first.
    Detect {
        /// Route table of the requests.
        routes: String,
        /// What becomes of opaque bytes; without any, what becomes of unknown destinations.
        opaque: Vec<OpaqueInputs>,
        /// What becomes of unknown destinations.
        unknown: Unknown,
    },
}

/// One filter chain that copies bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpaqueInputs {
    /// Networks that the client has to have dialled into; empty takes every connection. No network occurs twice in a
    /// listener.
    pub networks: Vec<Network>,
    /// Clusters by weight; a single one takes everything.
    pub targets: Vec<(String, u32)>,
    /// Both directions silent for so long: closed; zero never, `None` as the protocol has it.
    pub idle_timeout: Option<Duration>,
    /// Longest life of a connection.
    pub duration_max: Option<Duration>,
    /// The rule that it was made from, if any.
    pub rule: Option<OpaqueRule>,
}

/// A network of destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// Its address.
    pub address: IpAddr,
    /// Length of its prefix.
    pub length: u8,
}

/// A rule of a VirtualService for opaque connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpaqueRule {
    /// The object.
    pub provenance: Provenance,
    /// Index in `spec.tcp`.
    pub index: usize,
    /// What counters call it: `name.namespace` of the object.
    pub name: String,
}

/// What becomes of destinations that nobody has declared (mesh `outboundTrafficPolicy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unknown {
    /// They are connected to as dialled.
    Allowed,
    /// They are refused.
    Refused,
}
