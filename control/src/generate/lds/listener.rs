//! A listener out of its inputs.

use weft_xds::{Resource, pack, pb};

use super::{http, tcp};
use crate::generate::wire;
use crate::plan::inputs::{ListenerInputs, ListenerKind, Unknown};
use crate::plan::names;

/// What the HTTP inspector calls the protocols that a route table can serve (Istio: `plaintextHTTPALPNs`).
const HTTP_PROTOCOLS: [&str; 3] = ["http/1.0", "http/1.1", "h2c"];

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
        ListenerKind::Tcp { cluster } => {
            handed_over(&mut listener);
            listener.filter_chains = vec![tcp::chain(cluster, cluster)];
        }
        ListenerKind::Detect {
            routes,
            cluster,
            unknown,
        } => {
            handed_over(&mut listener);
            detect(&mut listener, inputs);
            let mut chain = http::chain(
                &stat_prefix,
                routes,
                http::Trust::Application,
                inputs.path_normalization,
            );
            chain.filter_chain_match = Some(pb::listener::FilterChainMatch {
                transport_protocol: "raw_buffer".to_owned(),
                application_protocols: HTTP_PROTOCOLS.map(str::to_owned).to_vec(),
                ..Default::default()
            });
            listener.filter_chains = vec![chain];
            let cluster = cluster.as_deref().unwrap_or(unknown_cluster(*unknown));
            listener.default_filter_chain = Some(tcp::chain(cluster, cluster));
        }
        ListenerKind::VirtualOutbound { unknown } => virtual_outbound(&mut listener, inputs.port, *unknown),
    }
    listener
}

/// Its connections come from the listener that captures them; it does not bind its port.
fn handed_over(listener: &mut pb::listener::Listener) {
    listener.bind_to_port = Some(wire::bool_value(false));
}

/// The first bytes decide about the chain.
fn detect(listener: &mut pb::listener::Listener, inputs: &ListenerInputs) {
    listener.listener_filters = vec![
        wire::listener_filter(
            "envoy.filters.listener.tls_inspector",
            pack(&pb::tls_inspector::TlsInspector::default()),
        ),
        wire::listener_filter(
            "envoy.filters.listener.http_inspector",
            pack(&pb::http_inspector::HttpInspector::default()),
        ),
    ];
    // Zero waits without a limit; a client that stays silent for longer is taken for opaque bytes.
    listener.listener_filters_timeout = Some(wire::duration(inputs.detection_timeout));
    listener.continue_on_listener_filters_timeout = true;
}

/// Everything captured arrives here; what has no listener of its own is an unknown destination.
fn virtual_outbound(listener: &mut pb::listener::Listener, port: u16, unknown: Unknown) {
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

fn unknown_cluster(unknown: Unknown) -> &'static str {
    match unknown {
        Unknown::Allowed => names::PASSTHROUGH_CLUSTER,
        Unknown::Refused => names::BLACK_HOLE_CLUSTER,
    }
}
