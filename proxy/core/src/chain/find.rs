use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::listener::{ChainMatch, Cidr, FilterChain, Listener, SourceType};

/// What is known of a connection when its chain is chosen.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionFacts<'a> {
    /// The address that the client dialled.
    pub destination: SocketAddr,
    /// The client.
    pub source: SocketAddr,
    /// The connection's peer (differs from the client behind a PROXY header).
    pub direct_source: IpAddr,
    /// Server name of the TLS handshake, in lower case.
    pub server_name: Option<&'a str>,
    /// What the first bytes are.
    pub transport_protocol: TransportProtocol,
    /// ALPN as offered, or what the HTTP inspector saw (`http/1.0`, `http/1.1`, `h2c`).
    pub application_protocols: &'a [&'a str],
}

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransportProtocol {
    /// Anything but TLS.
    RawBuffer,
    /// A TLS handshake.
    Tls,
}

impl Listener {
    /// The chain of a connection.
    ///
    /// Criteria are taken in Envoy's order (`FilterChainMatch`): at each, the most specific that fits narrows the
    /// candidates, and a later failure does not go back. What no chain takes gets the default chain.
    pub fn find_chain(&self, facts: &ConnectionFacts<'_>) -> Option<&Arc<FilterChain>> {
        let mut left: Vec<&Arc<FilterChain>> = self.chains.iter().collect();
        for criterion in CRITERIA {
            let best = left.iter().filter_map(|chain| criterion(&chain.matcher, facts)).max();
            left.retain(|chain| best.is_some() && criterion(&chain.matcher, facts) == best);
            if left.is_empty() {
                break;
            }
        }
        left.first().copied().or(self.default_chain.as_ref())
    }
}

/// How specifically a chain fits in one respect: `None` it does not, `Some(0)` it does not ask.
type Criterion = fn(&ChainMatch, &ConnectionFacts<'_>) -> Option<u32>;

const CRITERIA: [Criterion; 9] = [
    |chain, facts| match chain.destination_port {
        None => Some(0),
        Some(port) => (port == facts.destination.port()).then_some(1),
    },
    |chain, facts| network(&chain.destinations, facts.destination.ip()),
    |chain, facts| server_name(&chain.server_names, facts.server_name),
    |chain, facts| match chain.transport_protocol {
        None => Some(0),
        Some(protocol) => (protocol == facts.transport_protocol).then_some(1),
    },
    |chain, facts| application_protocol(&chain.application_protocols, facts.application_protocols),
    |chain, facts| network(&chain.direct_sources, facts.direct_source),
    |chain, facts| {
        let source = facts.source.ip();
        let local = source.is_loopback() || source == facts.destination.ip();
        match chain.source_type {
            SourceType::Any => Some(0),
            SourceType::Local => local.then_some(1),
            SourceType::External => (!local).then_some(1),
        }
    },
    |chain, facts| network(&chain.sources, facts.source.ip()),
    |chain, facts| {
        if chain.source_ports.is_empty() {
            return Some(0);
        }
        chain.source_ports.contains(&facts.source.port()).then_some(1)
    },
];

fn network(networks: &[Cidr], address: IpAddr) -> Option<u32> {
    if networks.is_empty() {
        return Some(0);
    }
    let longest = networks
        .iter()
        .filter(|network| network.contains(address))
        .map(Cidr::length)
        .max();
    longest.map(|length| u32::from(length) + 1)
}

fn server_name(names: &[Box<str>], server_name: Option<&str>) -> Option<u32> {
    if names.is_empty() {
        return Some(0);
    }
    let server_name = server_name.filter(|name| !name.is_empty())?;
    let specific = |name: &str| match name.strip_prefix('*') {
        None => (name == server_name).then_some(u32::MAX),
        Some(suffix) => {
            let fits = server_name.len() > suffix.len() && server_name.ends_with(suffix);
            fits.then(|| u32::try_from(suffix.len() + 1).unwrap_or(u32::MAX - 1))
        }
    };
    names.iter().filter_map(|name| specific(name)).max()
}

/// The protocol that the client names first counts most.
fn application_protocol(wanted: &[Box<str>], offered: &[&str]) -> Option<u32> {
    if wanted.is_empty() {
        return Some(0);
    }
    let place = offered
        .iter()
        .position(|offer| wanted.iter().any(|one| **one == **offer))?;
    Some(u32::MAX - u32::try_from(place).unwrap_or(u32::MAX - 1))
}
