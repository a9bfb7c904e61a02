//! Which further resources an accepted one needs: route tables of a listener, endpoints of a cluster.
//! It reads names only; what messages mean is the translator's.

use weft_xds::pb::cluster::{Cluster, cluster};
use weft_xds::pb::hcm::{HttpConnectionManager, http_connection_manager::RouteSpecifier};
use weft_xds::pb::listener::{Listener, filter::ConfigType};
use weft_xds::{Resource, TypeUrl, unpack};

/// The type and names of what `resource` refers to. What does not decode refers to nothing: it was refused anyway.
pub(super) fn references(kind: TypeUrl, resource: &Resource) -> Option<(TypeUrl, Vec<String>)> {
    match kind {
        TypeUrl::Listener => Some((TypeUrl::Route, route_tables(resource))),
        TypeUrl::Cluster => Some((TypeUrl::Endpoint, endpoint_set(resource).into_iter().collect())),
        TypeUrl::Endpoint | TypeUrl::Route | TypeUrl::Secret => None,
    }
}

fn route_tables(resource: &Resource) -> Vec<String> {
    let listener: Listener = unpack(&resource.body).unwrap_or_default();
    let chains = listener.filter_chains.iter().chain(&listener.default_filter_chain);
    let configs = chains
        .flat_map(|chain| &chain.filters)
        .filter_map(|filter| match &filter.config_type {
            Some(ConfigType::TypedConfig(config)) => unpack::<HttpConnectionManager>(config).ok(),
            _ => None,
        });
    let names = configs.filter_map(|manager| match manager.route_specifier {
        Some(RouteSpecifier::Rds(rds)) => Some(rds.route_config_name),
        _ => None,
    });
    names.filter(|name| !name.is_empty()).collect()
}

fn endpoint_set(resource: &Resource) -> Option<String> {
    let cluster: Cluster = unpack(&resource.body).unwrap_or_default();
    let eds = cluster::DiscoveryType::Eds as i32;
    let Some(cluster::ClusterDiscoveryType::Type(kind)) = cluster.cluster_discovery_type else {
        return None;
    };
    let config = cluster.eds_cluster_config.unwrap_or_default();
    // Envoy: the cluster's own name, unless the service has another.
    let name = if config.service_name.is_empty() {
        cluster.name
    } else {
        config.service_name
    };
    (kind == eds).then_some(name)
}
