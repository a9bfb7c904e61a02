use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::http::HttpConnectionManager;
use super::tcp::TcpProxy;
use crate::Provenance;

/// An address together with what is done with its connections.
#[derive(Debug)]
pub struct Listener {
    /// The name.
    pub name: Arc<str>,
    /// Where it listens, or would.
    pub address: SocketAddr,
    /// Further addresses.
    pub additional: Vec<SocketAddr>,
    /// It has a socket of its own. Others get their connections from one that restores original destinations.
    pub bind_to_port: bool,
    /// Connections are handed to the listener of the address that the client dialled, if there is one.
    pub use_original_dst: bool,
    /// Position relative to the application.
    pub direction: Direction,
    /// Chains with conditions.
    pub chains: Vec<Arc<FilterChain>>,
    /// The chain of what no other takes.
    pub default_chain: Option<Arc<FilterChain>>,
    /// What is read of a connection before a chain is chosen.
    pub inspectors: Inspectors,
    /// Limit of buffers per connection, in bytes.
    pub buffer_bytes_max: u32,
    /// Where it comes from.
    pub provenance: Option<Provenance>,
}

/// Position relative to the application.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Neither; a gateway's.
    #[default]
    Unspecified,
    /// Towards the application.
    Inbound,
    /// Away from the application.
    Outbound,
}

/// What is read of a connection before a chain is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspectors {
    /// Server name and protocols of a TLS handshake.
    pub tls: bool,
    /// Version of HTTP.
    pub http: bool,
    /// The original destination is asked of the kernel.
    pub original_dst: bool,
    /// A PROXY header is expected.
    pub proxy_protocol: bool,
    /// How long the first bytes are waited for; `None` without limit.
    pub timeout: Option<Duration>,
    /// On expiry the connection goes on as if nothing had been read; otherwise it is closed.
    pub continue_on_timeout: bool,
    /// Destination ports for which the HTTP inspector does not wait (server-first protocols); port → off.
    pub http_off_ports: Vec<std::ops::Range<u32>>,
    /// The same for the TLS inspector.
    pub tls_off_ports: Vec<std::ops::Range<u32>>,
}

/// What a matched connection gets.
#[derive(Debug)]
pub struct FilterChain {
    /// The name; empty where none is given.
    pub name: Arc<str>,
    /// When it applies.
    pub matcher: ChainMatch,
    /// What is done.
    pub network: Network,
    /// Where it comes from.
    pub provenance: Option<Provenance>,
}

/// What is done with a connection.
#[derive(Debug, Clone)]
pub enum Network {
    /// HTTP is spoken.
    Http(Arc<HttpConnectionManager>),
    /// Bytes are copied.
    Tcp(Arc<TcpProxy>),
    /// It is closed.
    Close,
}

/// When a chain applies. Empty lists and `None` ask for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainMatch {
    /// Port that the client dialled.
    pub destination_port: Option<u16>,
    /// Networks that the client dialled into.
    pub destinations: Vec<Cidr>,
    /// Server names, lower-cased; `*.suffix` is allowed.
    pub server_names: Vec<Box<str>>,
    /// `raw_buffer` or `tls`.
    pub transport_protocol: Option<super::TransportProtocol>,
    /// ALPN or what the HTTP inspector saw.
    pub application_protocols: Vec<Box<str>>,
    /// Networks of the connection's peer.
    pub direct_sources: Vec<Cidr>,
    /// Kind of source.
    pub source_type: SourceType,
    /// Networks of the client.
    pub sources: Vec<Cidr>,
    /// Ports of the client.
    pub source_ports: Vec<u16>,
}

/// Kind of source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SourceType {
    /// Any.
    #[default]
    Any,
    /// This host.
    Local,
    /// Another host.
    External,
}

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    length: u8,
}

/// A prefix that is longer than its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address}/{length} is no network")]
pub struct CidrError {
    /// The address.
    pub address: IpAddr,
    /// The length.
    pub length: u32,
}

impl Cidr {
    /// A network.
    ///
    /// # Errors
    /// When the prefix is longer than the address.
    pub fn new(address: IpAddr, length: u32) -> Result<Self, CidrError> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        match u8::try_from(length) {
            Ok(short) if length <= bits => Ok(Self { address, length: short }),
            _ => Err(CidrError { address, length }),
        }
    }

    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let length = u32::from(self.length);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
                (u32::from(net) ^ u32::from(address)) & mask == 0
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
                (u128::from(net) ^ u128::from(address)) & mask == 0
            }
            _ => false,
        }
    }

    /// Length of the prefix: the longer, the more specific.
    pub fn length(&self) -> u8 {
        self.length
    }
}
