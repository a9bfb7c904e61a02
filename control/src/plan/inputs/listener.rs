//! What a listener depends on.

use std::net::IpAddr;
use std::time::Duration;

use weft_policies::mesh::PathNormalization;

use super::{InboundPort, Peers, Provenance};

/// A listener (LDS resource).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenerInputs {
    /// `0.0.0.0_8080`, `virtualOutbound`.
    pub name: String,
    /// Address that it stands for.
    pub address: IpAddr,
    /// Port that it stands for.
    pub port: u16,
    /// Whether it has a socket of its own; otherwise the listener that captures hands connections over to it.
    pub bound: bool,
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
    /// One port of the application, at a socket of its own.
    Inbound {
        /// The port.
        port: InboundPort,
    },
    /// Takes all captured connections to the application.
    VirtualInbound {
        /// Ports that are declared, each once.
        ports: Vec<InboundPort>,
        /// Who may speak to all others.
        others: Peers,
    },
    /// Opaque bytes.
    Tcp {
        /// What becomes of them.
        chains: Vec<OpaqueInputs>,
        /// What becomes of connections that no chain takes.
        unknown: Unknown,
    },
    /// Requests, and nothing else.
    Http {
        /// Their route table.
        routes: String,
    },
    /// A forward proxy: requests in absolute form, and CONNECT.
    HttpProxy {
        /// Their route table.
        routes: String,
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
    /// Names that the client has to have asked for in its TLS handshake, exact or `*.suffix`; empty takes every
    /// connection.
    pub server_names: Vec<String>,
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

impl Network {
    /// An address or a network, by the network's own address: two spellings of one network must not become two chains,
    /// which Envoy refuses.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length: u8 = length.map_or(Some(bits), |length| length.parse().ok())?;
        Some(Self {
            address: masked(address, length),
            length,
        })
    }

    /// Whether it is one address.
    pub fn is_single(&self) -> bool {
        self.length == if self.address.is_ipv4() { 32 } else { 128 }
    }
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    let length = u32::from(length);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length)).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length)).unwrap_or(0);
            IpAddr::V6((u128::from(address) & mask).into())
        }
    }
}

/// A rule of a VirtualService for opaque connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpaqueRule {
    /// The object.
    pub provenance: Provenance,
    /// Index in `spec.tcp` or `spec.tls`.
    pub index: usize,
    /// What counters call it: `name.namespace` of the object.
    pub name: String,
}

/// What becomes of destinations that nobody has declared (`outboundTrafficPolicy` of the Sidecar or the mesh).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Unknown {
    /// They are connected to as dialled.
    Allowed,
    /// They are refused.
    Refused,
    /// Their traffic goes to this cluster instead (`egressProxy`).
    Through(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_known_by_its_own_address() {
        for (text, address, length) in [
            ("10.1.2.3", "10.1.2.3", 32),
            ("10.1.2.3/8", "10.0.0.0", 8),
            ("0.0.0.0/0", "0.0.0.0", 0),
            ("2001:db8::1", "2001:db8::1", 128),
            ("2001:db8::1/32", "2001:db8::", 32),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(Network::parse(text), Some(Network { address, length }), "{text}");
        }
    }
}
