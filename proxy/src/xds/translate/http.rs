use std::sync::Arc;
use std::time::Duration;

use weft_proxy_core::chain::{
    Codec, Http1Options, Http2Options, HttpConnectionManager, HttpFilters, HttpTimeouts, RouteSource, ServerHeader,
    StripPort,
};
use weft_proxy_core::route::{EscapedSlashes, PathNormalization, Upgrade};
use weft_xds::{pb, unpack};

use super::context::Context;
use super::defaults;
use super::error::{At, Outcome, Problem, invalid, refuse, unsupported};
use super::route;
use super::value::{duration, limit, number, truth};

/// What a connection that speaks HTTP is told.
pub(super) fn manager(
    context: &mut Context<'_>,
    source: &pb::hcm::HttpConnectionManager,
) -> Outcome<HttpConnectionManager> {
    let extended = source.path_normalization_options.is_some();
    refuse(
        extended,
        "path_normalization_options",
        "use normalize_path and merge_slashes",
    )?;
    let common = source.common_http_protocol_options.unwrap_or_default();
    note_ignored(context, source);
    note_limits(context, source, &common);
    let upgrades = source.upgrade_configs.iter().map(|upgrade| Upgrade {
        kind: upgrade.upgrade_type.to_ascii_lowercase().into(),
        enabled: upgrade.enabled.as_ref().is_none_or(|enabled| enabled.value),
    });
    let kilobytes = number(source.max_request_headers_kb.as_ref()).unwrap_or(defaults::REQUEST_HEADERS_KB_MAX);
    if kilobytes == 0 || kilobytes > defaults::REQUEST_HEADERS_KB_LIMIT {
        return Err(invalid(kilobytes, "from 1 to 8192")).at("max_request_headers_kb");
    }
    let name = if source.server_name.is_empty() {
        defaults::SERVER_NAME
    } else {
        &source.server_name
    };
    Ok(HttpConnectionManager {
        stat_prefix: source.stat_prefix.as_str().into(),
        route: route_source(context, source)?,
        codec: codec(source)?,
        http1: http1(source.http_protocol_options.as_ref()),
        http2: http2(source.http2_protocol_options.as_ref()).at("http2_protocol_options")?,
        server_name: name.into(),
        server_header: server_header(source)?,
        request_headers_bytes_max: kilobytes * 1024,
        request_headers_max: number(common.max_headers_count.as_ref()).unwrap_or(defaults::REQUEST_HEADERS_MAX),
        requests_per_connection_max: number(common.max_requests_per_connection.as_ref()).filter(|max| *max > 0),
        timeouts: timeouts(source, &common)?,
        use_remote_address: truth(source.use_remote_address.as_ref()),
        trusted_hops: source.xff_num_trusted_hops,
        skip_xff_append: source.skip_xff_append,
        path: path(source)?,
        strip_port: strip_port(source),
        strip_trailing_dot: source.strip_trailing_host_dot,
        generate_request_id: source
            .generate_request_id
            .as_ref()
            .is_none_or(|generate| generate.value),
        preserve_external_request_id: source.preserve_external_request_id,
        always_set_request_id_in_response: source.always_set_request_id_in_response,
        upgrades: upgrades.collect(),
        via: source.via.as_str().into(),
        keep_client_cert: keeps_client_cert(source)?,
        proxy_100_continue: source.proxy_100_continue,
        filters: filters(context, source)?,
    })
}

fn note_ignored(context: &mut Context<'_>, source: &pb::hcm::HttpConnectionManager) {
    context.ignore_if(source.tracing.is_some(), "tracing");
    context.ignore_if(source.local_reply_config.is_some(), "local_reply_config");
    context.ignore_if(source.request_id_extension.is_some(), "request_id_extension");
    context.ignore_if(
        source.scheme_header_transformation.is_some(),
        "scheme_header_transformation",
    );
    context.ignore_if(
        !source.original_ip_detection_extensions.is_empty(),
        "original_ip_detection_extensions",
    );
    context.ignore_if(
        !source.early_header_mutation_extensions.is_empty(),
        "early_header_mutation_extensions",
    );
    context.ignore_if(source.internal_address_config.is_some(), "internal_address_config");
    context.ignore_if(source.proxy_status_config.is_some(), "proxy_status_config");
    context.ignore_if(truth(source.add_user_agent.as_ref()), "add_user_agent");
    context.ignore_if(source.append_x_forwarded_port, "append_x_forwarded_port");
    context.ignore_if(!source.access_log.is_empty(), "access_log");
}

/// Zero is no limit.
fn note_limits(
    context: &mut Context<'_>,
    source: &pb::hcm::HttpConnectionManager,
    common: &pb::core::HttpProtocolOptions,
) {
    let is_set =
        |limit: Option<&pb::protobuf::Duration>| limit.is_some_and(|limit| limit.seconds != 0 || limit.nanos != 0);
    for (limit, name) in [
        (
            common.max_connection_duration.as_ref(),
            "common_http_protocol_options.max_connection_duration",
        ),
        (
            common.max_stream_duration.as_ref(),
            "common_http_protocol_options.max_stream_duration",
        ),
        (source.request_timeout.as_ref(), "request_timeout"),
        (source.drain_timeout.as_ref(), "drain_timeout"),
    ] {
        context.ignore_if(is_set(limit), name);
    }
}

fn route_source(context: &mut Context<'_>, source: &pb::hcm::HttpConnectionManager) -> Outcome<RouteSource> {
    use pb::hcm::http_connection_manager::RouteSpecifier;
    match source
        .route_specifier
        .as_ref()
        .ok_or(Problem::Missing)
        .at("route_specifier")?
    {
        RouteSpecifier::Rds(rds) if rds.route_config_name.is_empty() => {
            Err(Problem::Missing).at("rds.route_config_name")
        }
        RouteSpecifier::Rds(rds) => Ok(RouteSource::Rds(rds.route_config_name.as_str().into())),
        RouteSpecifier::RouteConfig(table) => Ok(RouteSource::Inline(Arc::new(
            route::table(context, table).at("route_config")?,
        ))),
        RouteSpecifier::ScopedRoutes(_) => Err(unsupported("scoped routes")).at("scoped_routes"),
    }
}

fn codec(source: &pb::hcm::HttpConnectionManager) -> Outcome<Codec> {
    use pb::hcm::http_connection_manager::CodecType;
    match CodecType::try_from(source.codec_type) {
        Ok(CodecType::Auto) => Ok(Codec::Auto),
        Ok(CodecType::Http1) => Ok(Codec::Http1),
        Ok(CodecType::Http2) => Ok(Codec::Http2),
        Ok(CodecType::Http3) => Err(unsupported("HTTP/3")).at("codec_type"),
        Err(_) => Err(invalid(source.codec_type, "a codec")).at("codec_type"),
    }
}

fn http1(source: Option<&pb::core::Http1ProtocolOptions>) -> Http1Options {
    let Some(source) = source else {
        return Http1Options {
            allow_absolute_url: true,
            ..Http1Options::default()
        };
    };
    Http1Options {
        accept_http_10: source.accept_http_10,
        default_host_for_http_10: Some(source.default_host_for_http_10.as_str())
            .filter(|host| !host.is_empty())
            .map(Into::into),
        allow_absolute_url: source.allow_absolute_url.as_ref().is_none_or(|allow| allow.value),
        enable_trailers: source.enable_trailers,
    }
}

fn http2(source: Option<&pb::core::Http2ProtocolOptions>) -> Outcome<Http2Options> {
    let field = |read: fn(&pb::core::Http2ProtocolOptions) -> Option<&pb::protobuf::UInt32Value>, default| {
        number(source.and_then(read)).unwrap_or(default)
    };
    let keepalive = source.and_then(|source| source.connection_keepalive.as_ref());
    Ok(Http2Options {
        streams_max: field(|one| one.max_concurrent_streams.as_ref(), defaults::HTTP2_STREAMS_MAX),
        stream_window_bytes: field(
            |one| one.initial_stream_window_size.as_ref(),
            defaults::HTTP2_STREAM_WINDOW_BYTES,
        ),
        connection_window_bytes: field(
            |one| one.initial_connection_window_size.as_ref(),
            defaults::HTTP2_CONNECTION_WINDOW_BYTES,
        ),
        allow_connect: source.is_some_and(|source| source.allow_connect),
        keepalive: http2_keepalive(keepalive).at("connection_keepalive")?,
    })
}

/// Interval and time for the answer of HTTP/2 pings; without an interval none are sent.
pub(super) fn http2_keepalive(source: Option<&pb::core::KeepaliveSettings>) -> Outcome<Option<(Duration, Duration)>> {
    let Some(source) = source else { return Ok(None) };
    let interval = duration(source.interval.as_ref()).at("interval")?;
    let timeout = duration(source.timeout.as_ref()).at("timeout")?;
    Ok(interval.zip(timeout))
}

fn server_header(source: &pb::hcm::HttpConnectionManager) -> Outcome<ServerHeader> {
    use pb::hcm::http_connection_manager::ServerHeaderTransformation as Transformation;
    match Transformation::try_from(source.server_header_transformation) {
        Ok(Transformation::Overwrite) => Ok(ServerHeader::Overwrite),
        Ok(Transformation::AppendIfAbsent) => Ok(ServerHeader::AppendIfAbsent),
        Ok(Transformation::PassThrough) => Ok(ServerHeader::PassThrough),
        Err(_) => {
            Err(invalid(source.server_header_transformation, "a transformation")).at("server_header_transformation")
        }
    }
}

fn timeouts(source: &pb::hcm::HttpConnectionManager, common: &pb::core::HttpProtocolOptions) -> Outcome<HttpTimeouts> {
    let idle = limit(common.idle_timeout.as_ref(), Some(defaults::HTTP_IDLE_TIMEOUT));
    Ok(HttpTimeouts {
        connection_idle: idle.at("common_http_protocol_options.idle_timeout")?,
        stream_idle: limit(source.stream_idle_timeout.as_ref(), Some(defaults::STREAM_IDLE_TIMEOUT))
            .at("stream_idle_timeout")?,
        request_headers: limit(source.request_headers_timeout.as_ref(), None).at("request_headers_timeout")?,
    })
}

fn path(source: &pb::hcm::HttpConnectionManager) -> Outcome<PathNormalization> {
    use pb::hcm::http_connection_manager::PathWithEscapedSlashesAction as Action;
    let escaped_slashes = match Action::try_from(source.path_with_escaped_slashes_action) {
        Ok(Action::ImplementationSpecificDefault | Action::KeepUnchanged) => EscapedSlashes::Keep,
        Ok(Action::RejectRequest) => EscapedSlashes::Reject,
        Ok(Action::UnescapeAndRedirect) => EscapedSlashes::Redirect,
        Ok(Action::UnescapeAndForward) => EscapedSlashes::Unescape,
        Err(_) => {
            let found = invalid(source.path_with_escaped_slashes_action, "an action");
            return Err(found).at("path_with_escaped_slashes_action");
        }
    };
    Ok(PathNormalization {
        normalize: truth(source.normalize_path.as_ref()),
        merge_slashes: source.merge_slashes,
        escaped_slashes,
    })
}

fn strip_port(source: &pb::hcm::HttpConnectionManager) -> StripPort {
    use pb::hcm::http_connection_manager::StripPortMode;
    match source.strip_port_mode {
        Some(StripPortMode::StripAnyHostPort(true)) => StripPort::Any,
        _ if source.strip_matching_host_port => StripPort::Matching,
        _ => StripPort::Never,
    }
}

/// `x-forwarded-client-cert` is believed only from peers that have shown a certificate, and none is asked for here: every
/// mode but the last takes it out (Envoy: `mutateXfccRequestHeader`).
fn keeps_client_cert(source: &pb::hcm::HttpConnectionManager) -> Outcome<bool> {
    use pb::hcm::http_connection_manager::ForwardClientCertDetails as Details;
    match Details::try_from(source.forward_client_cert_details) {
        Ok(Details::Sanitize | Details::ForwardOnly | Details::AppendForward | Details::SanitizeSet) => Ok(false),
        Ok(Details::AlwaysForwardOnly) => Ok(true),
        Err(_) => Err(invalid(source.forward_client_cert_details, "a mode")).at("forward_client_cert_details"),
    }
}

const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";
const CORS: &str = "envoy.extensions.filters.http.cors.v3.Cors";
const FAULT: &str = "envoy.extensions.filters.http.fault.v3.HTTPFault";
/// Filters that refuse requests: never passed over.
const GUARDS: [&str; 6] = [
    "envoy.extensions.filters.http.rbac.v3.RBAC",
    "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
    "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
    "envoy.extensions.filters.http.basic_auth.v3.BasicAuth",
    "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
    "envoy.extensions.filters.http.oauth2.v3.OAuth2",
];

fn filters(context: &mut Context<'_>, source: &pb::hcm::HttpConnectionManager) -> Outcome<HttpFilters> {
    use pb::hcm::http_filter::ConfigType;
    let mut filters = HttpFilters::default();
    for (index, filter) in source
        .http_filters
        .iter()
        .enumerate()
        .filter(|(_, filter)| !filter.disabled)
    {
        let any = match &filter.config_type {
            Some(ConfigType::TypedConfig(any)) => any,
            Some(ConfigType::ConfigDiscovery(_)) => {
                return Err(unsupported("filters on demand")).at_index("http_filters", index);
            }
            None => continue,
        };
        match any.type_url.rsplit('/').next().unwrap_or_default() {
            ROUTER => {
                let router = unpack::<pb::router::Router>(any).at_index("http_filters", index)?;
                filters.suppress_envoy_headers = router.suppress_envoy_headers;
            }
            CORS => {
                filters.cors = true;
                filters.cors_before_fault = !filters.fault;
            }
            FAULT => filters.fault = true,
            guard if GUARDS.contains(&guard) => {
                return Err(unsupported("a filter that refuses requests")).at_index("http_filters", index);
            }
            other => context.ignore(format!("http filter {} {other}", filter.name)),
        }
    }
    Ok(filters)
}
