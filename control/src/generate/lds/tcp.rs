//! Opaque connections.

use weft_xds::{pack, pb};

use crate::generate::wire;

/// Name of the network filter.
const TCP_PROXY: &str = "envoy.filters.network.tcp_proxy";

/// A filter chain that copies bytes to one cluster.
pub(super) fn chain(name: &str, cluster: &str) -> pb::listener::FilterChain {
    let config = pb::tcp_proxy::TcpProxy {
        stat_prefix: cluster.to_owned(),
        cluster_specifier: Some(pb::tcp_proxy::tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned())),
        ..Default::default()
    };
    pb::listener::FilterChain {
        name: name.to_owned(),
        filters: vec![wire::network_filter(TCP_PROXY, pack(&config))],
        ..Default::default()
    }
}
