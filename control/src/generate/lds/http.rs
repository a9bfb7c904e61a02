//! HTTP connections, as Istio sets them up (istio `listener_builder.go: buildHTTPConnectionManager`).

use std::time::Duration;

use weft_policies::mesh::PathNormalization;
use weft_xds::{pack, pb};

use crate::generate::wire;
use pb::hcm::http_connection_manager::RouteSpecifier;

/// Name of the network filter.
const CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";
/// What the `server` header of responses says.
const SERVER_NAME: &str = "weft";
/// Largest request header block in KiB; Envoy's own default, stated since users may notice it.
const REQUEST_HEADERS_KB_MAX: u32 = 60;

/// Where a connection comes from, as far as trust goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// From outside: what it says about itself and the way it came is replaced.
    Edge {
        /// But for what so many proxies in front have added.
        proxies: u32,
    },
    /// From the application beside this proxy.
    Application,
    /// From other workloads, to the application beside this proxy.
    Mesh,
}

/// A filter chain that serves HTTP by a route table.
pub(super) fn chain(
    stat_prefix: &str,
    routes: &str,
    trust: Trust,
    normalization: PathNormalization,
) -> pb::listener::FilterChain {
    let manager = connection_manager(stat_prefix, rds(routes), trust, normalization);
    of_manager(routes, &manager)
}

/// A filter chain that serves what comes to the application by a route table that it carries within.
pub(super) fn inline(
    stat_prefix: &str,
    table: pb::route::RouteConfiguration,
    normalization: PathNormalization,
) -> pb::listener::FilterChain {
    let name = table.name.clone();
    let source = RouteSpecifier::RouteConfig(table);
    let manager = connection_manager(stat_prefix, source, Trust::Mesh, normalization);
    of_manager(&name, &manager)
}

/// The same for a forward proxy: requests name their host in absolute form, and CONNECT opens tunnels.
pub(super) fn forward_proxy(
    stat_prefix: &str,
    routes: &str,
    normalization: PathNormalization,
) -> pb::listener::FilterChain {
    let mut manager = connection_manager(stat_prefix, rds(routes), Trust::Application, normalization);
    manager.http_protocol_options = Some(pb::core::Http1ProtocolOptions {
        allow_absolute_url: Some(wire::bool_value(true)),
        ..Default::default()
    });
    manager.http2_protocol_options = Some(pb::core::Http2ProtocolOptions {
        allow_connect: true,
        ..Default::default()
    });
    manager.upgrade_configs.push(upgrade(wire::CONNECT));
    of_manager(routes, &manager)
}

fn rds(routes: &str) -> RouteSpecifier {
    RouteSpecifier::Rds(pb::hcm::Rds {
        config_source: Some(wire::ads()),
        route_config_name: routes.to_owned(),
    })
}

fn of_manager(name: &str, manager: &pb::hcm::HttpConnectionManager) -> pb::listener::FilterChain {
    pb::listener::FilterChain {
        name: name.to_owned(),
        filters: vec![wire::network_filter(CONNECTION_MANAGER, pack(manager))],
        ..Default::default()
    }
}

fn upgrade(kind: &str) -> pb::hcm::http_connection_manager::UpgradeConfig {
    pb::hcm::http_connection_manager::UpgradeConfig {
        upgrade_type: kind.to_owned(),
        ..Default::default()
    }
}

fn connection_manager(
    stat_prefix: &str,
    routes: RouteSpecifier,
    trust: Trust,
    normalization: PathNormalization,
) -> pb::hcm::HttpConnectionManager {
    use pb::hcm::http_connection_manager::{
        ForwardClientCertDetails, ServerHeaderTransformation, SetCurrentClientCertDetails,
    };
    let mut manager = pb::hcm::HttpConnectionManager {
        stat_prefix: stat_prefix.to_owned(),
        route_specifier: Some(routes),
        http_filters: filters(),
        server_name: SERVER_NAME.to_owned(),
        max_request_headers_kb: Some(wire::u32_value(REQUEST_HEADERS_KB_MAX)),
        // Off: a stream may be silent for as long as its route allows.
        stream_idle_timeout: Some(wire::duration(Duration::ZERO)),
        use_remote_address: Some(wire::bool_value(matches!(trust, Trust::Edge { .. }))),
        xff_num_trusted_hops: match trust {
            Trust::Edge { proxies } => proxies,
            Trust::Application | Trust::Mesh => 0,
        },
        generate_request_id: Some(wire::bool_value(true)),
        strip_trailing_host_dot: true,
        upgrade_configs: vec![upgrade("websocket")],
        ..Default::default()
    };
    if trust == Trust::Mesh {
        // The application's own name passes; who called it is added to what the callers before have said.
        manager.server_header_transformation = ServerHeaderTransformation::PassThrough.into();
        manager.forward_client_cert_details = ForwardClientCertDetails::AppendForward.into();
        manager.set_current_client_cert_details = Some(SetCurrentClientCertDetails {
            subject: Some(wire::bool_value(true)),
            dns: true,
            uri: true,
            ..Default::default()
        });
    }
    normalize_path(&mut manager, normalization);
    manager
}

/// Mesh `pathNormalization`: done before anything reads the path, and what upstreams see.
fn normalize_path(manager: &mut pb::hcm::HttpConnectionManager, normalization: PathNormalization) {
    use pb::hcm::http_connection_manager::PathWithEscapedSlashesAction as Escaped;
    let (normalize, merge, escaped) = match normalization {
        PathNormalization::None => (false, false, Escaped::KeepUnchanged),
        PathNormalization::Base => (true, false, Escaped::KeepUnchanged),
        PathNormalization::MergeSlashes => (true, true, Escaped::KeepUnchanged),
        PathNormalization::DecodeAndMergeSlashes => (true, true, Escaped::UnescapeAndForward),
    };
    manager.normalize_path = Some(wire::bool_value(normalize));
    manager.merge_slashes = merge;
    manager.path_with_escaped_slashes_action = escaped.into();
}

/// The filters of every HTTP chain, in the order in which a request meets them. Fault and CORS do nothing
/// until a route configures them.
fn filters() -> Vec<pb::hcm::HttpFilter> {
    vec![
        wire::http_filter(wire::FAULT, &pb::fault::HttpFault::default()),
        wire::http_filter(wire::CORS, &pb::cors::Cors::default()),
        wire::http_filter(wire::ROUTER, &pb::router::Router::default()),
    ]
}
