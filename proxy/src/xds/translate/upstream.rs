use std::net::SocketAddr;

use weft_proxy_core::cluster::{Cluster, Sources, TcpKeepalive, Transport, UpstreamHttp, UpstreamProtocol};
use weft_xds::{pb, unpack};

use super::context::Context;
use super::defaults;
use super::error::{At, Outcome, TranslateError, refuse, unsupported};
use super::value::{limit, number};

const TLS: &str = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
/// Key of the options of HTTP within a cluster.
pub(super) const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// How HTTP is spoken to a cluster.
pub(super) fn http(context: &mut Context<'_>, source: &pb::cluster::Cluster) -> Outcome<UpstreamHttp> {
    for name in source
        .typed_extension_protocol_options
        .keys()
        .filter(|name| *name != OPTIONS)
    {
        context.ignore(format!("typed_extension_protocol_options[{name}]"));
    }
    let options = source.typed_extension_protocol_options.get(OPTIONS);
    let options = options
        .map(unpack::<pb::upstream_http::HttpProtocolOptions>)
        .transpose();
    let options = options.at("typed_extension_protocol_options")?;
    let (protocol, http2) = match &options {
        Some(options) => {
            context.ignore_if(!options.http_filters.is_empty(), "HttpProtocolOptions.http_filters");
            protocol(context, options)?
        }
        None => older_protocol(source),
    };
    let common = options
        .as_ref()
        .and_then(|options| options.common_http_protocol_options.as_ref());
    let common = common
        .or(source.common_http_protocol_options.as_ref())
        .cloned()
        .unwrap_or_default();
    let requests = common
        .max_requests_per_connection
        .or(source.max_requests_per_connection);
    let keepalive = http2.as_ref().and_then(|http2| http2.connection_keepalive.as_ref());
    Ok(UpstreamHttp {
        protocol,
        idle_timeout: limit(common.idle_timeout.as_ref(), Some(defaults::HTTP_IDLE_TIMEOUT)).at("idle_timeout")?,
        connection_duration_max: limit(common.max_connection_duration.as_ref(), None).at("max_connection_duration")?,
        requests_per_connection_max: number(requests.as_ref()).filter(|max| *max > 0),
        streams_max: number(http2.as_ref().and_then(|http2| http2.max_concurrent_streams.as_ref())),
        keepalive: super::http::http2_keepalive(keepalive).at("connection_keepalive")?,
    })
}

type Protocol = (UpstreamProtocol, Option<pb::core::Http2ProtocolOptions>);

fn protocol(context: &mut Context<'_>, source: &pb::upstream_http::HttpProtocolOptions) -> Outcome<Protocol> {
    use pb::upstream_http::http_protocol_options::UpstreamProtocolOptions as Options;
    use pb::upstream_http::http_protocol_options::explicit_http_config::ProtocolConfig;
    match &source.upstream_protocol_options {
        None => Ok((UpstreamProtocol::Http1, None)),
        Some(Options::ExplicitHttpConfig(explicit)) => match &explicit.protocol_config {
            None | Some(ProtocolConfig::HttpProtocolOptions(_)) => Ok((UpstreamProtocol::Http1, None)),
            Some(ProtocolConfig::Http2ProtocolOptions(http2)) => Ok((UpstreamProtocol::Http2, Some(http2.clone()))),
            Some(ProtocolConfig::Http3ProtocolOptions(_)) => Err(unsupported("HTTP/3")).at("explicit_http_config"),
        },
        Some(Options::UseDownstreamProtocolConfig(both)) => {
            Ok((UpstreamProtocol::Downstream, both.http2_protocol_options.clone()))
        }
        Some(Options::AutoConfig(_)) => {
            // Without ALPN there is nothing to choose by.
            context.ignore("HttpProtocolOptions.auto_config");
            Ok((UpstreamProtocol::Http1, None))
        }
    }
}

/// The fields that `HttpProtocolOptions` took over from.
fn older_protocol(source: &pb::cluster::Cluster) -> Protocol {
    use pb::cluster::cluster::ClusterProtocolSelection;
    if source.protocol_selection == i32::from(ClusterProtocolSelection::UseDownstreamProtocol) {
        return (UpstreamProtocol::Downstream, source.http2_protocol_options.clone());
    }
    match &source.http2_protocol_options {
        Some(http2) => (UpstreamProtocol::Http2, Some(http2.clone())),
        None => (UpstreamProtocol::Http1, None),
    }
}

/// Keepalive probes; an empty message switches them on with the system's values.
pub(super) fn keepalive(source: &pb::cluster::Cluster) -> Option<TcpKeepalive> {
    let source = source.upstream_connection_options.as_ref()?.tcp_keepalive.as_ref()?;
    let seconds = |value: Option<&pb::protobuf::UInt32Value>| {
        number(value).map(|seconds| std::time::Duration::from_secs(seconds.into()))
    };
    Some(TcpKeepalive {
        probes: number(source.keepalive_probes.as_ref()),
        time: seconds(source.keepalive_time.as_ref()),
        interval: seconds(source.keepalive_interval.as_ref()),
    })
}

/// Where connections come from.
pub(super) fn sources(context: &mut Context<'_>, source: &pb::cluster::Cluster) -> Outcome<Sources> {
    let Some(bind) = &source.upstream_bind_config else {
        return Ok(Sources::default());
    };
    context.ignore_if(!bind.socket_options.is_empty(), "upstream_bind_config.socket_options");
    refuse(
        bind.freebind.is_some_and(|one| one.value),
        "freebind",
        "addresses that are not ours",
    )?;
    refuse(
        bind.local_address_selector.is_some(),
        "local_address_selector",
        "selectors by extension",
    )?;
    let of = |address: Option<&pb::core::SocketAddress>| {
        address
            .map(|one| {
                super::value::socket_address(Some(&pb::core::Address {
                    address: Some(pb::core::address::Address::SocketAddress(one.clone())),
                }))
            })
            .transpose()
    };
    let first = of(bind.source_address.as_ref()).at("source_address")?;
    let mut all: Vec<SocketAddr> = first.into_iter().collect();
    for (index, one) in bind.extra_source_addresses.iter().enumerate() {
        all.extend(of(one.address.as_ref()).at_index("extra_source_addresses", index)?);
    }
    for (index, one) in bind.additional_source_addresses.iter().enumerate() {
        all.extend(of(Some(one)).at_index("additional_source_addresses", index)?);
    }
    Ok(Sources::new(all))
}

/// What connections are wrapped in.
pub(super) fn transport(source: &pb::cluster::Cluster) -> Outcome<Transport> {
    use pb::core::transport_socket::ConfigType;
    let config = source
        .transport_socket
        .as_ref()
        .and_then(|one| one.config_type.as_ref());
    match config {
        Some(ConfigType::TypedConfig(any)) if any.type_url.ends_with(TLS) => {
            let tls = unpack::<pb::tls::UpstreamTlsContext>(any)?;
            Ok(Transport::Tls {
                sni: Some(tls.sni).filter(|sni| !sni.is_empty()).map(Into::into),
            })
        }
        _ => super::chain::plain(source.transport_socket.as_ref()).map(|()| Transport::Plain),
    }
}

/// Whether connections to a cluster can be made as it asks. To go without its encryption would be wrong, so a proxy that
/// cannot speak it refuses the cluster; what a cluster means can be asked all the same.
///
/// # Errors
/// For transports that are not spoken.
pub fn can_connect(cluster: &Cluster) -> Result<(), TranslateError> {
    match cluster.transport {
        Transport::Plain => Ok(()),
        Transport::Tls { .. } => Err(unsupported("only plain text"))
            .at("transport_socket")
            .map_err(|fault| fault.into_error(&cluster.name)),
    }
}

/// What would be sent without the encryption or the header that was asked for.
pub(super) fn refuse_transport(source: &pb::cluster::Cluster) -> Outcome<()> {
    for (index, one) in source.transport_socket_matches.iter().enumerate() {
        super::chain::plain(one.transport_socket.as_ref()).at_index("transport_socket_matches", index)?;
    }
    refuse(
        source.transport_socket_matcher.is_some(),
        "transport_socket_matcher",
        "matching trees",
    )
}
