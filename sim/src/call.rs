//! in → out: a call and the proxy that it meets → its answer, from the first byte on.
//! owns: what is known of a connection that nobody makes: its addresses and its first bytes.
//! may not touch: which listener or chain gets it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use weft_proxy_core::chain::{
    ConnectionFacts, Direction as Side, FilterChain, Listener, Network, TcpDestination, TcpProxy, TransportProtocol,
};

use crate::{
    answer::{Answer, Outcome, Refusal, True, Weighted},
    destination::{Target, policy, target},
    node::Node,
    route,
    scenario::{Call, Direction, Protocol, Tls},
};

/// A client that is nobody in the mesh (RFC 5737, TEST-NET-1).
const SOMEBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 40000);

/// What becomes of a call.
pub(crate) fn answer(node: &Node, call: &Call, why: &mut Vec<String>) -> Answer {
    let Some(listener) = listener(node, call) else {
        why.push(format!("no listener for {}:{}", call.address, call.port));
        return refused(Refusal::NoListener);
    };
    let answer = heard(node, listener, call, why);
    // What is passed on to this pod may come to another listener of this very proxy.
    match onward(node, listener, &answer) {
        Some(next) => heard(node, next, call, why),
        None => answer,
    }
}

/// The listener of this proxy that has a socket where an inbound call is delivered, if there is one.
fn onward<'a>(node: &'a Node, listener: &Listener, answer: &Answer) -> Option<&'a Listener> {
    let Outcome::Inbound { inbound } = &answer.outcome else {
        return None;
    };
    let address = SocketAddr::new(inbound.address.as_ref()?.parse().ok()?, inbound.port?);
    let next = node.listeners.find(address).filter(|next| next.bind_to_port)?;
    (next.name != listener.name).then_some(&**next)
}

/// What becomes of a call that a listener got.
fn heard(node: &Node, listener: &Listener, call: &Call, why: &mut Vec<String>) -> Answer {
    why.push(match &listener.provenance {
        Some(provenance) => format!("listener {}, from {}", listener.name, provenance.object),
        None => format!("listener {}", listener.name),
    });
    let Some(chain) = chain(node, listener, call) else {
        why.push("no filter chain takes this connection".into());
        return unchained(listener, call);
    };
    match &chain.network {
        Network::Http(manager) if call.protocol != Protocol::Tcp && call.tls == Tls::Plaintext => {
            route::request(node, manager, call, why)
        }
        Network::Http(_) => {
            why.push("this port speaks HTTP".into());
            match call.direction {
                // The application sees its connection closed, as with any address that leads nowhere.
                Direction::Outbound => Outcome::Blackhole { blackhole: True }.into(),
                Direction::Inbound | Direction::Gateway => refused(Refusal::ProtocolError),
            }
        }
        Network::Tcp(tcp) => opaque(node, tcp, call, why),
        Network::Close => Outcome::Blackhole { blackhole: True }.into(),
    }
}

/// The listener that serves the call: bound for a gateway, reached through the capturing one for a sidecar.
fn listener<'a>(node: &'a Node, call: &Call) -> Option<&'a Listener> {
    let destination = SocketAddr::new(call.address, call.port);
    let side = match call.direction {
        Direction::Gateway => {
            return node
                .listeners
                .find(destination)
                .filter(|one| one.bind_to_port)
                .map(|one| &**one);
        }
        Direction::Outbound => Side::Outbound,
        Direction::Inbound => Side::Inbound,
    };
    let captures = |one: &&std::sync::Arc<Listener>| one.bind_to_port && one.direction == side && captures(one, side);
    match node.listeners.iter().find(captures) {
        Some(accepted) => Some(node.listeners.hand_over(accepted, destination)),
        // Nothing is captured: whoever has a socket there is met.
        None => node
            .listeners
            .find(destination)
            .filter(|one| one.bind_to_port && one.direction == side)
            .map(|one| &**one),
    }
}

/// Whether a bound listener is the one to which captured connections come.
fn captures(listener: &Listener, side: Side) -> bool {
    listener.use_original_dst || (side == Side::Inbound && listener.inspectors.original_dst)
}

fn chain<'a>(node: &Node, listener: &'a Listener, call: &Call) -> Option<&'a FilterChain> {
    let seen = match (call.tls, call.protocol) {
        (Tls::Plaintext, Protocol::Http) if listener.inspectors.http => Some("http/1.1"),
        (Tls::Plaintext, Protocol::Http2) if listener.inspectors.http => Some("h2c"),
        (Tls::Plaintext, _) => None,
        (Tls::Tls | Tls::Mtls, _) => call.alpn.as_deref(),
    };
    let protocols: Vec<&str> = seen.into_iter().collect();
    let transport_protocol = match call.tls {
        Tls::Plaintext => TransportProtocol::RawBuffer,
        Tls::Tls | Tls::Mtls => TransportProtocol::Tls,
    };
    let source = match call.direction {
        Direction::Outbound => SocketAddr::new(node.ip, SOMEBODY.port()),
        Direction::Inbound | Direction::Gateway => SOMEBODY,
    };
    let facts = ConnectionFacts {
        destination: SocketAddr::new(call.address, call.port),
        source,
        direct_source: source.ip(),
        server_name: call.sni.as_deref(),
        transport_protocol,
        application_protocols: &protocols,
    };
    listener.find_chain(&facts).map(|chain| &**chain)
}

/// A connection that no chain takes is closed; the reason depends on what the chains ask for.
fn unchained(listener: &Listener, call: &Call) -> Answer {
    let own = |chain: &&std::sync::Arc<FilterChain>| chain.matcher.destination_port == Some(call.port);
    let declared = listener.chains.iter().any(|chain| own(&chain));
    let asks_tls = listener
        .chains
        .iter()
        .filter(|chain| own(chain) == declared)
        .any(|chain| chain.matcher.transport_protocol == Some(TransportProtocol::Tls));
    match (call.direction, call.tls) {
        (Direction::Outbound, _) => Outcome::Blackhole { blackhole: True }.into(),
        (Direction::Inbound, Tls::Plaintext) if asks_tls => refused(Refusal::MtlsRequired),
        (_, Tls::Plaintext) if asks_tls => refused(Refusal::TlsRequired),
        (_, Tls::Tls | Tls::Mtls) if asks_tls => refused(Refusal::NoRouteForSni),
        _ => refused(Refusal::ProtocolError),
    }
}

/// Bytes that are copied.
fn opaque(node: &Node, tcp: &TcpProxy, call: &Call, why: &mut Vec<String>) -> Answer {
    let clusters: Vec<_> = match &tcp.destination {
        TcpDestination::One(cluster) => vec![(cluster, 1)],
        TcpDestination::Weighted { clusters, .. } => clusters
            .iter()
            .filter(|(_, weight)| *weight > 0)
            .map(|(cluster, weight)| (cluster, *weight))
            .collect(),
    };
    let total: u64 = clusters.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let first = clusters.first().map(|(cluster, _)| policy(node, cluster, None));
    let mut weights = Vec::new();
    for (cluster, weight) in clusters {
        why.push(format!("cluster {}", cluster.name));
        match target(node, cluster, call) {
            Target::Destination(destination) | Target::Missing(destination) => {
                weights.push(Weighted {
                    destination,
                    weight: 100.0 * f64::from(weight) / total as f64,
                });
            }
            Target::Passthrough => return Outcome::Passthrough { passthrough: True }.into(),
            Target::Application(inbound) => return Outcome::Inbound { inbound }.into(),
            Target::Blackhole => return Outcome::Blackhole { blackhole: True }.into(),
        }
    }
    let outcome = match <[_; 1]>::try_from(weights) {
        Ok([only]) => Outcome::Destination {
            destination: only.destination,
        },
        Err(weights) => Outcome::Weights { weights },
    };
    Answer {
        outcome,
        details: None,
        policy: first,
    }
}

fn refused(error: Refusal) -> Answer {
    Outcome::Error { error }.into()
}
