//! A listener out of its inputs.

use std::time::Duration;

use weft_xds::{Resource, pb};

use super::inspectors::{self, HTTP_OUTBOUND, RAW, TLS};
use super::{application, http, tcp};
use crate::generate::wire;
use crate::plan::inputs::{ListenerInputs, ListenerKind, OpaqueInputs, Unknown};
use crate::plan::names;

/// Generates the listener.
pub fn listener(inputs: &ListenerInputs) -> Resource {
    Resource::encode(&inputs.name, &message(inputs))
}

fn message(inputs: &ListenerInputs) -> pb::listener::Listener {
    let mut listener = pb::listener::Listener {
        name: inputs.name.clone(),
        address: Some(wire::address(inputs.address, inputs.port)),
        traffic_direction: pb::core::TrafficDirection::Outbound.into(),
        metadata: inputs
            .provenance
            .first()
            .map(|provenance| wire::metadata([("weft", wire::provenance(provenance, None))])),
        // Otherwise its connections come from the listener that captures them.
        bind_to_port: (!inputs.bound).then(|| wire::bool_value(false)),
        ..Default::default()
    };
    let stat_prefix = format!("outbound_{}", inputs.name);
    match &inputs.kind {
        ListenerKind::Gateway {
            routes,
            trusted_proxies,
        } => {
            listener.filter_chains = vec![http::chain(
                &stat_prefix,
                routes,
                http::Trust::Edge {
                    proxies: *trusted_proxies,
                },
                inputs.path_normalization,
            )];
        }
        ListenerKind::GatewayTcp { chains } => {
            listener.filter_chains = chains.iter().map(tcp::ruled).collect();
            if chains.is_empty() {
                // Envoy takes no listener without a chain; this one closes what comes.
                listener.filter_chains = vec![tcp::chain(names::BLACK_HOLE_CLUSTER, names::BLACK_HOLE_CLUSTER)];
            }
        }
        ListenerKind::Inbound { port } => application::bound(&mut listener, inputs, port),
        ListenerKind::VirtualInbound { ports, others } => application::captured(&mut listener, inputs, ports, *others),
        ListenerKind::Tcp { chains, unknown } => opaque(&mut listener, chains, unknown),
        ListenerKind::Http { routes } => {
            let (trust, normalization) = (http::Trust::Application, inputs.path_normalization);
            listener.filter_chains = vec![http::chain(&stat_prefix, routes, trust, normalization)];
        }
        ListenerKind::HttpProxy { routes } => {
            listener.filter_chains = vec![http::forward_proxy(&stat_prefix, routes, inputs.path_normalization)];
        }
        ListenerKind::Detect {
            routes,
            opaque,
            unknown,
        } => {
            // The first bytes decide about the chain.
            let filters = vec![inspectors::tls(), inspectors::http()];
            inspectors::attach(&mut listener, filters, inputs.detection_timeout);
            let chain = http::chain(
                &stat_prefix,
                routes,
                http::Trust::Application,
                inputs.path_normalization,
            );
            detected(&mut listener, chain, opaque, unknown);
        }
        ListenerKind::VirtualOutbound { unknown } => virtual_outbound(&mut listener, inputs.port, unknown),
    }
    listener
}

/// Opaque bytes by network and by the name of a TLS handshake; what no chain takes is an unknown destination.
fn opaque(listener: &mut pb::listener::Listener, chains: &[OpaqueInputs], unknown: &Unknown) {
    if chains.iter().any(|chain| !chain.server_names.is_empty()) {
        // However long a client hesitates, nothing is known of it before its first bytes.
        inspectors::attach(listener, vec![inspectors::tls()], Duration::ZERO);
    }
    let (all, some): (Vec<_>, Vec<_>) = tcp::chains(chains)
        .into_iter()
        .partition(|chain| chain.filter_chain_match.is_none());
    listener.filter_chains = some;
    if listener.filter_chains.is_empty() {
        listener.filter_chains = all;
    } else {
        listener.default_filter_chain = all.into_iter().next().or_else(|| Some(unknown_chain(unknown)));
    }
}

/// HTTP goes to its own chain, all else by network, the rest to the default chain.
fn detected(
    listener: &mut pb::listener::Listener,
    mut http: pb::listener::FilterChain,
    opaque: &[OpaqueInputs],
    unknown: &Unknown,
) {
    let networks = opaque.iter().flat_map(|chain| &chain.networks);
    let mut ranges: Vec<_> = networks.map(tcp::range).collect();
    if !ranges.is_empty() {
        // The address is looked at before the protocol, and by the longest network alone: HTTP has to name them all.
        ranges.extend(tcp::EVERYWHERE.iter().map(tcp::range));
    }
    http.filter_chain_match = Some(pb::listener::FilterChainMatch {
        prefix_ranges: ranges,
        transport_protocol: RAW.to_owned(),
        application_protocols: HTTP_OUTBOUND.map(str::to_owned).to_vec(),
        ..Default::default()
    });
    listener.filter_chains = vec![http];
    for chain in tcp::chains(opaque) {
        if chain.filter_chain_match.is_none() {
            listener.default_filter_chain = Some(chain);
            continue;
        }
        // A name is looked at before the kind of bytes, and only TLS has one.
        let named = |matched: &pb::listener::FilterChainMatch| !matched.server_names.is_empty();
        if chain.filter_chain_match.as_ref().is_some_and(named) {
            listener.filter_chains.push(chain);
            continue;
        }
        // For the same reason plain bytes and TLS need a chain each: HTTP asks for plain bytes.
        for transport in [RAW, TLS] {
            let mut chain = chain.clone();
            chain.filter_chain_match.get_or_insert_default().transport_protocol = transport.to_owned();
            listener.filter_chains.push(chain);
        }
    }
    if listener.default_filter_chain.is_none() {
        listener.default_filter_chain = Some(unknown_chain(unknown));
    }
}

/// Everything captured arrives here; what has no listener of its own is an unknown destination.
fn virtual_outbound(listener: &mut pb::listener::Listener, port: u16, unknown: &Unknown) {
    listener.use_original_dst = Some(wire::bool_value(true));
    // A connection to the capture port itself would be handed to itself without end.
    let mut looped = tcp::chain("virtualOutbound-trafficloop-blackhole", names::BLACK_HOLE_CLUSTER);
    looped.filter_chain_match = Some(pb::listener::FilterChainMatch {
        destination_port: Some(wire::u32_value(port.into())),
        ..Default::default()
    });
    listener.filter_chains = vec![looped];
    listener.default_filter_chain = Some(tcp::chain("virtualOutbound-catchall-tcp", unknown_cluster(unknown)));
}

fn unknown_chain(unknown: &Unknown) -> pb::listener::FilterChain {
    let cluster = unknown_cluster(unknown);
    tcp::chain(cluster, cluster)
}

fn unknown_cluster(unknown: &Unknown) -> &str {
    match unknown {
        Unknown::Allowed => names::PASSTHROUGH_CLUSTER,
        Unknown::Refused => names::BLACK_HOLE_CLUSTER,
        Unknown::Through(cluster) => cluster,
    }
}
