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
    /// Opaque bytes to one cluster.
    Tcp {
        /// The cluster.
        cluster: String,
    },
    /// HTTP or opaque bytes, by what the client sends first.
    Detect {
        /// Route table of the requests.
        routes: String,
        /// Where opaque bytes go; as unknown destinations do if absent.
        cluster: Option<String>,
        /// What becomes of unknown destinations.
        unknown: Unknown,
    },
}

/// What becomes of destinations that nobody has declared (mesh `outboundTrafficPolicy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unknown {
    /// They are connected to as dialled.
    Allowed,
    /// They are refused.
    Refused,
}
