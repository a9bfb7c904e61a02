//! The way into the application (Istio: `listener_inbound.go`).

use std::collections::BTreeSet;

use weft_xds::{pack, pb};

use super::inspectors::{self, HTTP_INBOUND, RAW, TLS};
use super::{http, tcp};
use crate::generate::{rds, wire};
use crate::plan::inputs::{InboundPort, ListenerInputs, Peers};
use crate::plan::names;
use weft_policies::kind::protocol::Protocol;

/// What a chain takes, and whether it serves requests or copies bytes.
struct Way {
    transport: &'static str,
    http_only: bool,
    serves: Serves,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Serves {
    Requests,
    Bytes,
    /// Nobody: connections are closed.
    Nobody,
}

/// The ways into a port (Istio: `filterchain_options.go: getFilterChainMatchOptions`). Each names what the first bytes are:
/// the matching of chains does not go back from a specific one to a general one.
fn ways(protocol: Protocol, peers: Peers) -> Vec<Way> {
    let way = |transport, http_only, serves| Way {
        transport,
        http_only,
        serves,
    };
    match (peers, protocol) {
        // Plain text fits no chain of the port, so the connection is closed.
        (Peers::Mesh, _) => vec![way(TLS, false, Serves::Nobody)],
        (Peers::Anybody, protocol) if protocol.is_http() => vec![way(RAW, false, Serves::Requests)],
        (Peers::Anybody, Protocol::Detect) => vec![
            way(RAW, true, Serves::Requests),
            way(RAW, false, Serves::Bytes),
            way(TLS, false, Serves::Bytes),
        ],
        (Peers::Anybody, _) => vec![way("", false, Serves::Bytes)],
    }
}

/// One port at a socket of its own.
pub(super) fn bound(listener: &mut pb::listener::Listener, inputs: &ListenerInputs, port: &InboundPort) {
    listener.traffic_direction = pb::core::TrafficDirection::Inbound.into();
    let stat_prefix = format!("inbound_{}", inputs.name);
    listener.filter_chains = chains(inputs, port, &stat_prefix, None);
    let mut filters = Vec::new();
    if looks_at_tls(port.protocol, port.peers) {
        filters.push(inspectors::tls());
    }
    if port.peers == Peers::Anybody && port.protocol == Protocol::Detect {
        filters.push(inspectors::http());
    }
    inspectors::attach(listener, filters, inputs.detection_timeout);
}

/// All captured connections: declared ports have chains of their own, all others one for requests and one for bytes.
pub(super) fn captured(
    listener: &mut pb::listener::Listener,
    inputs: &ListenerInputs,
    ports: &[InboundPort],
    others: Peers,
) {
    listener.traffic_direction = pb::core::TrafficDirection::Inbound.into();
    // A connection to the capture port itself would be forwarded to itself without end.
    let mut looped = tcp::chain("virtualInbound-blackhole", names::BLACK_HOLE_CLUSTER);
    looped.filter_chain_match = Some(matching(Some(inputs.port), "", false));
    listener.filter_chains = vec![looped];
    listener.filter_chains.extend(undeclared(inputs, others));
    for port in ports {
        let stat_prefix = format!("inbound_0.0.0.0_{}", port.port);
        listener
            .filter_chains
            .extend(chains(inputs, port, &stat_prefix, Some(port.port)));
    }
    let mut filters = vec![wire::listener_filter(
        "envoy.filters.listener.original_dst",
        pack(&pb::original_dst::OriginalDst::default()),
    )];
    // Where the server speaks first, waiting for the client's first bytes would be waiting for ever.
    let needs_no_tls = ports.iter().filter(|port| !looks_at_tls(port.protocol, port.peers));
    filters.push(off_for(inspectors::tls(), needs_no_tls));
    let declared = ports.iter().filter(|port| port.protocol != Protocol::Detect);
    filters.push(off_for(inspectors::http(), declared));
    inspectors::attach(listener, filters, inputs.detection_timeout);
}

/// Ports that nobody has declared.
fn undeclared(inputs: &ListenerInputs, peers: Peers) -> Vec<pb::listener::FilterChain> {
    let cluster = names::INBOUND_PASSTHROUGH_CLUSTER;
    let all = ways(Protocol::Detect, peers).into_iter().map(|way| {
        let mut chain = match way.serves {
            Serves::Requests => {
                let table = rds::application_table(cluster, "inbound|http|0", ":0/*", false, None);
                let mut chain = http::inline(cluster, table, inputs.path_normalization);
                "virtualInbound-catchall-http".clone_into(&mut chain.name);
                chain
            }
            Serves::Bytes => tcp::chain(names::VIRTUAL_INBOUND, cluster),
            Serves::Nobody => tcp::chain(names::VIRTUAL_INBOUND, names::BLACK_HOLE_CLUSTER),
        };
        chain.filter_chain_match = Some(matching(None, way.transport, way.http_only));
        chain
    });
    all.collect()
}

fn chains(
    inputs: &ListenerInputs,
    port: &InboundPort,
    stat_prefix: &str,
    captured: Option<u16>,
) -> Vec<pb::listener::FilterChain> {
    let all = ways(port.protocol, port.peers).into_iter().map(|way| {
        let mut chain = match way.serves {
            Serves::Requests => {
                let name = format!("inbound|http|{}", port.service_port);
                let grpc = matches!(port.protocol, Protocol::Grpc | Protocol::GrpcWeb);
                let table = rds::application_table(&port.cluster, &name, &port.operation, grpc, port.retries.as_ref());
                http::inline(stat_prefix, table, inputs.path_normalization)
            }
            Serves::Bytes => tcp::timed(&port.cluster, port.idle_timeout, port.duration_max),
            Serves::Nobody => tcp::chain(names::BLACK_HOLE_CLUSTER, names::BLACK_HOLE_CLUSTER),
        };
        stat_prefix.trim_start_matches("inbound_").clone_into(&mut chain.name);
        chain.filter_chain_match = Some(matching(captured, way.transport, way.http_only));
        chain.metadata = Some(wire::metadata([("weft", wire::provenance(&port.provenance, None))]));
        chain
    });
    all.collect()
}

fn matching(port: Option<u16>, transport: &str, http_only: bool) -> pb::listener::FilterChainMatch {
    pb::listener::FilterChainMatch {
        destination_port: port.map(|port| wire::u32_value(port.into())),
        transport_protocol: transport.to_owned(),
        application_protocols: if http_only {
            HTTP_INBOUND.map(str::to_owned).to_vec()
        } else {
            Vec::new()
        },
        ..Default::default()
    }
}

/// Whether a port's chains ask for TLS or its absence.
fn looks_at_tls(protocol: Protocol, peers: Peers) -> bool {
    ways(protocol, peers).iter().any(|way| !way.transport.is_empty())
}

/// A listener filter that leaves these ports alone (Istio: `listener_builder.go: buildListenerFilterPredicates`).
fn off_for<'p>(
    mut filter: pb::listener::ListenerFilter,
    ports: impl Iterator<Item = &'p InboundPort>,
) -> pb::listener::ListenerFilter {
    use pb::listener::ListenerFilterChainMatchPredicate as Predicate;
    use pb::listener::listener_filter_chain_match_predicate::{MatchSet, Rule};
    let ports: BTreeSet<u16> = ports.map(|port| port.port).collect();
    let rule = |port: &u16| Predicate {
        rule: Some(Rule::DestinationPortRange(pb::percent::Int32Range {
            start: i32::from(*port),
            end: i32::from(*port) + 1,
        })),
    };
    let mut rules: Vec<Predicate> = ports.iter().map(rule).collect();
    filter.filter_disabled = match rules.len() {
        0 => None,
        1 => rules.pop(),
        // Envoy takes no set of fewer than two.
        _ => Some(Predicate {
            rule: Some(Rule::OrMatch(MatchSet { rules })),
        }),
    };
    filter
}
