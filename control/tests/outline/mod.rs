//! Resources in the words of a reader: what decides about traffic, one line each.

#![allow(clippy::unwrap_used)] // The module belongs to a test: a resource of another type, or a write into a string that fails, fails it.

use std::fmt::Write as _;

use weft_control::generate::ResourceSet;
use weft_xds::{pb, unpack};

/// The outline of everything that a scope is given.
pub(crate) fn of(set: &ResourceSet) -> String {
    let mut out = String::new();
    for resource in set.listeners.values() {
        listener(&mut out, &unpack(&resource.body).unwrap());
    }
    for resource in set.routes.values() {
        route_table(&mut out, &unpack(&resource.body).unwrap());
    }
    for resource in set.clusters.values() {
        cluster(&mut out, &unpack(&resource.body).unwrap());
    }
    for resource in set.endpoints.values() {
        endpoints(&mut out, &unpack(&resource.body).unwrap());
    }
    for note in &set.notes {
        writeln!(out, "{note}").unwrap();
    }
    out
}

fn listener(out: &mut String, listener: &pb::listener::Listener) {
    let bound = listener.bind_to_port.as_ref().is_none_or(|bind| bind.value);
    writeln!(
        out,
        "listener {}{}",
        listener.name,
        if bound { "" } else { ", not bound" }
    )
    .unwrap();
    let chains = listener.filter_chains.iter().map(|chain| (chain, ""));
    for (chain, mark) in chains.chain(listener.default_filter_chain.iter().map(|chain| (chain, "otherwise "))) {
        let condition = chain.filter_chain_match.as_ref().map(|condition| {
            let port = condition
                .destination_port
                .as_ref()
                .map(|port| format!("port {}", port.value));
            let protocols = Some(condition.application_protocols.join(" "));
            // That requests are plain text goes without saying.
            let transport =
                Some(condition.transport_protocol.clone()).filter(|_| condition.application_protocols.is_empty());
            let parts = [port, transport, protocols].into_iter().flatten();
            let parts: String = parts.filter(|part| !part.is_empty()).map(|part| part + " ").collect();
            parts
        });
        writeln!(
            out,
            "  {mark}{}{}",
            condition.unwrap_or_default(),
            filter(&chain.filters[0])
        )
        .unwrap();
    }
}

fn filter(filter: &pb::listener::Filter) -> String {
    let Some(pb::listener::filter::ConfigType::TypedConfig(config)) = &filter.config_type else {
        return "?".to_owned();
    };
    if let Ok(manager) = unpack::<pb::hcm::HttpConnectionManager>(config) {
        use pb::hcm::http_connection_manager::RouteSpecifier;
        return match manager.route_specifier {
            Some(RouteSpecifier::Rds(rds)) => format!("http by {}", rds.route_config_name),
            Some(RouteSpecifier::RouteConfig(table)) => format!("http by its own {}", table.name),
            _ => "?".to_owned(),
        };
    }
    match unpack::<pb::tcp_proxy::TcpProxy>(config).unwrap().cluster_specifier {
        Some(pb::tcp_proxy::tcp_proxy::ClusterSpecifier::Cluster(cluster)) => format!("tcp to {cluster}"),
        _ => "?".to_owned(),
    }
}

fn route_table(out: &mut String, table: &pb::route::RouteConfiguration) {
    writeln!(out, "routes {}", table.name).unwrap();
    for host in &table.virtual_hosts {
        let tls = if host.require_tls == 0 { "" } else { ", https only" };
        writeln!(out, "  {} [{}]{tls}", host.name, host.domains.join(" ")).unwrap();
        for route in &host.routes {
            writeln!(
                out,
                "    {} → {}{}",
                condition(route),
                action(route),
                origin(route.metadata.as_ref())
            )
            .unwrap();
        }
    }
}

fn condition(route: &pb::route::Route) -> String {
    use pb::route::route_match::PathSpecifier;
    let matched = route.r#match.as_ref().unwrap();
    let mut text = match matched.path_specifier.as_ref().unwrap() {
        PathSpecifier::Path(path) => path.clone(),
        PathSpecifier::Prefix(prefix) => format!("{prefix}…"),
        PathSpecifier::SafeRegex(regex) => format!("~{}", regex.regex),
        PathSpecifier::ConnectMatcher(_) => "CONNECT".to_owned(),
        _ => "?".to_owned(),
    };
    for header in &matched.headers {
        let sign = if header.invert_match { "without " } else { "" };
        write!(text, " {sign}{}", header.name).unwrap();
    }
    for parameter in &matched.query_parameters {
        write!(text, " ?{}", parameter.name).unwrap();
    }
    text
}

fn action(route: &pb::route::Route) -> String {
    use pb::route::route::Action;
    use pb::route::route_action::ClusterSpecifier;
    match route.action.as_ref().unwrap() {
        Action::Route(forward) => match forward.cluster_specifier.as_ref().unwrap() {
            ClusterSpecifier::Cluster(cluster) => cluster.clone(),
            ClusterSpecifier::WeightedClusters(weighted) => {
                let share = |cluster: &pb::route::weighted_cluster::ClusterWeight| {
                    format!("{} {}", cluster.weight.as_ref().unwrap().value, cluster.name)
                };
                weighted.clusters.iter().map(share).collect::<Vec<_>>().join(" + ")
            }
            _ => "?".to_owned(),
        },
        Action::Redirect(redirect) => format!("redirect {}", redirect.host_redirect),
        Action::DirectResponse(answer) => format!("answer {}", answer.status),
        _ => "?".to_owned(),
    }
}

fn origin(metadata: Option<&pb::core::Metadata>) -> String {
    let Some(weft) = metadata.and_then(|metadata| metadata.filter_metadata.get("weft")) else {
        return String::new();
    };
    let value = |key: &str| weft.fields.get(key).and_then(|value| value.kind.clone());
    let Some(pb::protobuf::value::Kind::StringValue(object)) = value("object") else {
        return String::new();
    };
    match value("rule") {
        Some(pb::protobuf::value::Kind::NumberValue(rule)) => format!("  ({object} rule {rule})"),
        _ => format!("  ({object})"),
    }
}

fn cluster(out: &mut String, cluster: &pb::cluster::Cluster) {
    use pb::cluster::cluster::{ClusterDiscoveryType, DiscoveryType, LbPolicy};
    let kind = match cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => DiscoveryType::try_from(kind).unwrap().as_str_name(),
        _ => "?",
    };
    let balance = LbPolicy::try_from(cluster.lb_policy).unwrap().as_str_name();
    let limit = cluster
        .circuit_breakers
        .as_ref()
        .and_then(|limits| limits.thresholds[0].max_connections);
    let limit = limit
        .filter(|limit| limit.value != u32::MAX)
        .map(|limit| format!(", {} connections", limit.value));
    let outlier = if cluster.outlier_detection.is_some() {
        ", outlier detection"
    } else {
        ""
    };
    let tls = if cluster.transport_socket.is_some() {
        ", TLS"
    } else {
        ""
    };
    writeln!(
        out,
        "cluster {} {kind} {balance}{}{outlier}{tls}{}",
        cluster.name,
        limit.unwrap_or_default(),
        origin(cluster.metadata.as_ref())
    )
    .unwrap();
    if let Some(assignment) = &cluster.load_assignment {
        members(out, assignment);
    }
}

fn endpoints(out: &mut String, assignment: &pb::endpoint::ClusterLoadAssignment) {
    writeln!(out, "endpoints {}", assignment.cluster_name).unwrap();
    members(out, assignment);
}

fn members(out: &mut String, assignment: &pb::endpoint::ClusterLoadAssignment) {
    for endpoint in assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints) {
        let Some(pb::endpoint::lb_endpoint::HostIdentifier::Endpoint(at)) = &endpoint.host_identifier else {
            continue;
        };
        let Some(pb::core::address::Address::SocketAddress(socket)) = at.address.clone().and_then(|at| at.address)
        else {
            continue;
        };
        let Some(pb::core::socket_address::PortSpecifier::PortValue(port)) = socket.port_specifier else {
            continue;
        };
        let health = pb::core::HealthStatus::try_from(endpoint.health_status)
            .unwrap()
            .as_str_name();
        writeln!(out, "  {}:{port} {health}", socket.address).unwrap();
    }
}
