//! Opaque connections.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use weft_xds::{pack, pb};

use crate::generate::wire;
use crate::plan::inputs::{Network, OpaqueInputs};

/// Name of the network filter.
const TCP_PROXY: &str = "envoy.filters.network.tcp_proxy";

/// All addresses.
pub(super) const EVERYWHERE: [Network; 2] = [
    Network {
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        length: 0,
    },
    Network {
        address: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        length: 0,
    },
];

/// The filter chains of a listener. Envoy looks at the address first, and then at no chain but those of the longest
/// network: what goes by name alone has to name all networks, or it would not be found within one of them.
pub(super) fn chains(inputs: &[OpaqueInputs]) -> Vec<pb::listener::FilterChain> {
    let mut networks: Vec<Network> = Vec::new();
    for network in inputs.iter().flat_map(|chain| &chain.networks) {
        if !networks.contains(network) {
            networks.push(*network);
        }
    }
    let spread = |chain: &OpaqueInputs| {
        if networks.is_empty() || chain.server_names.is_empty() || !chain.networks.is_empty() {
            return ruled(chain);
        }
        let takes = |network: &Network| {
            let there = inputs.iter().filter(|other| other.networks.contains(network));
            let same = |name: &String| chain.server_names.contains(name);
            !there.flat_map(|other| &other.server_names).any(same)
        };
        ruled(&OpaqueInputs {
            networks: networks.iter().copied().filter(takes).chain(EVERYWHERE).collect(),
            ..chain.clone()
        })
    };
    inputs.iter().map(spread).collect()
}

/// A filter chain that copies bytes to one cluster.
pub(super) fn chain(name: &str, cluster: &str) -> pb::listener::FilterChain {
    named(
        name,
        pb::tcp_proxy::TcpProxy {
            stat_prefix: cluster.to_owned(),
            cluster_specifier: Some(pb::tcp_proxy::tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned())),
            ..Default::default()
        },
    )
}

/// The same, with limits of time: silence of both directions, and the life of a connection.
pub(super) fn timed(cluster: &str, idle: Option<Duration>, life: Option<Duration>) -> pb::listener::FilterChain {
    named(
        cluster,
        pb::tcp_proxy::TcpProxy {
            stat_prefix: cluster.to_owned(),
            cluster_specifier: Some(pb::tcp_proxy::tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned())),
            idle_timeout: idle.map(wire::duration),
            max_downstream_connection_duration: life.map(wire::duration),
            ..Default::default()
        },
    )
}

/// A filter chain that copies bytes as a rule says, or to the host of its listener.
pub(super) fn ruled(inputs: &OpaqueInputs) -> pb::listener::FilterChain {
    use pb::tcp_proxy::tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight};
    let name = match (&inputs.rule, inputs.targets.as_slice()) {
        (Some(rule), [_, _, ..]) => rule.name.clone(),
        (_, targets) => targets.first().map(|(cluster, _)| cluster.clone()).unwrap_or_default(),
    };
    let specifier = match inputs.targets.as_slice() {
        [(only, _)] => ClusterSpecifier::Cluster(only.clone()),
        several => ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: several
                .iter()
                .map(|(cluster, weight)| ClusterWeight {
                    name: cluster.clone(),
                    weight: *weight,
                    ..Default::default()
                })
                .collect(),
        }),
    };
    let config = pb::tcp_proxy::TcpProxy {
        stat_prefix: name.clone(),
        cluster_specifier: Some(specifier),
        idle_timeout: inputs.idle_timeout.map(wire::duration),
        max_downstream_connection_duration: inputs.duration_max.map(wire::duration),
        ..Default::default()
    };
    let mut chain = named(&name, config);
    if !inputs.networks.is_empty() || !inputs.server_names.is_empty() {
        chain.filter_chain_match = Some(pb::listener::FilterChainMatch {
            prefix_ranges: inputs.networks.iter().map(range).collect(),
            server_names: inputs.server_names.clone(),
            ..Default::default()
        });
    }
    chain.metadata = inputs
        .rule
        .as_ref()
        .map(|rule| wire::metadata([("weft", wire::provenance(&rule.provenance, Some(rule.index)))]));
    chain
}

/// A network as Envoy has it.
pub(super) fn range(network: &Network) -> pb::core::CidrRange {
    pb::core::CidrRange {
        address_prefix: network.address.to_string(),
        prefix_len: Some(wire::u32_value(network.length.into())),
    }
}

fn named(name: &str, config: pb::tcp_proxy::TcpProxy) -> pb::listener::FilterChain {
    pb::listener::FilterChain {
        name: name.to_owned(),
        filters: vec![wire::network_filter(TCP_PROXY, pack(&config))],
        ..Default::default()
    }
}
