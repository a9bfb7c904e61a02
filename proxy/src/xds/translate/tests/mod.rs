//! What translation must do: defaults, refusals with their place, what is passed over.

mod cluster;
mod listener;
mod route;

use weft_proxy_core::route::{Bindings, Route, RouteTable};
use weft_xds::pb;

use super::*;

fn route(action: pb::route::route::Action) -> pb::route::Route {
    pb::route::Route {
        name: "r".to_owned(),
        r#match: Some(pb::route::RouteMatch {
            path_specifier: Some(pb::route::route_match::PathSpecifier::Prefix("/".to_owned())),
            ..Default::default()
        }),
        action: Some(action),
        ..Default::default()
    }
}

fn forward(cluster: &str) -> pb::route::RouteAction {
    use pb::route::route_action::ClusterSpecifier;
    pb::route::RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        ..Default::default()
    }
}

fn weighted(clusters: &[(&str, u32)]) -> pb::route::RouteAction {
    use pb::route::route_action::ClusterSpecifier;
    let clusters = clusters
        .iter()
        .map(|(name, weight)| pb::route::weighted_cluster::ClusterWeight {
            name: (*name).to_owned(),
            weight: Some(pb::protobuf::UInt32Value { value: *weight }),
            ..Default::default()
        });
    pb::route::RouteAction {
        cluster_specifier: Some(ClusterSpecifier::WeightedClusters(pb::route::WeightedCluster {
            clusters: clusters.collect(),
            ..Default::default()
        })),
        ..Default::default()
    }
}

fn table(routes: Vec<pb::route::Route>) -> pb::route::RouteConfiguration {
    pb::route::RouteConfiguration {
        name: "http.80".to_owned(),
        virtual_hosts: vec![pb::route::VirtualHost {
            name: "shop:80".to_owned(),
            domains: vec!["*".to_owned()],
            routes,
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn compiled(source: &pb::route::RouteConfiguration) -> RouteTable {
    route_table(source, &mut Bindings::new(0)).unwrap().value
}

fn first(table: &RouteTable) -> &Route {
    &table.virtual_hosts()[0].routes[0]
}

fn refusal(source: &pb::route::RouteConfiguration) -> String {
    route_table(source, &mut Bindings::new(0)).unwrap_err().to_string()
}

fn text(value: &str) -> pb::protobuf::Value {
    pb::protobuf::Value {
        kind: Some(pb::protobuf::value::Kind::StringValue(value.to_owned())),
    }
}

fn structure(fields: &[(&str, pb::protobuf::Value)]) -> pb::protobuf::Struct {
    pb::protobuf::Struct {
        fields: fields
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
    }
}

fn metadata(section: &str, fields: &[(&str, pb::protobuf::Value)]) -> pb::core::Metadata {
    pb::core::Metadata {
        filter_metadata: [(section.to_owned(), structure(fields))].into(),
        ..Default::default()
    }
}

fn header(name: &str, value: &str, replace: bool) -> pb::core::HeaderValueOption {
    use pb::core::header_value_option::HeaderAppendAction as Append;
    let how = if replace {
        Append::OverwriteIfExistsOrAdd
    } else {
        Append::AppendIfExistsOrAdd
    };
    pb::core::HeaderValueOption {
        header: Some(pb::core::HeaderValue {
            key: name.to_owned(),
            value: value.to_owned(),
            ..Default::default()
        }),
        append_action: how.into(),
        ..Default::default()
    }
}

fn address(ip: &str, port: u32) -> Option<pb::core::Address> {
    Some(pb::core::Address {
        address: Some(pb::core::address::Address::SocketAddress(pb::core::SocketAddress {
            address: ip.to_owned(),
            port_specifier: Some(pb::core::socket_address::PortSpecifier::PortValue(port)),
            ..Default::default()
        })),
    })
}

fn bound(filter_chains: Vec<pb::listener::FilterChain>) -> pb::listener::Listener {
    pb::listener::Listener {
        name: "l".to_owned(),
        address: address("0.0.0.0", 80),
        filter_chains,
        ..Default::default()
    }
}

fn lb_endpoint(ip: &str, health: pb::core::HealthStatus) -> pb::endpoint::LbEndpoint {
    pb::endpoint::LbEndpoint {
        health_status: health.into(),
        metadata: Some(metadata(
            "istio",
            &[("workload", text("web-v1;shop;web;v1;Kubernetes"))],
        )),
        host_identifier: Some(pb::endpoint::lb_endpoint::HostIdentifier::Endpoint(
            pb::endpoint::Endpoint {
                address: address(ip, 80),
                ..Default::default()
            },
        )),
        ..Default::default()
    }
}

fn assignment(lb_endpoints: Vec<pb::endpoint::LbEndpoint>) -> pb::endpoint::ClusterLoadAssignment {
    pb::endpoint::ClusterLoadAssignment {
        cluster_name: "a".to_owned(),
        endpoints: vec![pb::endpoint::LocalityLbEndpoints {
            lb_endpoints,
            ..Default::default()
        }],
        ..Default::default()
    }
}
