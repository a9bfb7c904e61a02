use std::sync::Arc;

use weft_proxy_core::chain::{ChainMatch, FilterChain, Network, SourceType, TransportProtocol};
use weft_xds::{Any, pb, unpack};

use super::context::Context;
use super::error::{At, Outcome, Problem, invalid, refuse, unsupported};
use super::value::{cidr, number, port, provenance, truth};
use super::{http, tcp};

const HTTP: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const TCP: &str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
/// Filters that refuse connections: never passed over.
const GUARDS: [&str; 2] = [
    "envoy.extensions.filters.network.rbac.v3.RBAC",
    "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz",
];

/// A filter chain.
pub(super) fn chain(
    context: &mut Context<'_>,
    listener: &Arc<str>,
    source: &pb::listener::FilterChain,
) -> Outcome<FilterChain> {
    refuse(
        truth(source.use_proxy_proto.as_ref()),
        "use_proxy_proto",
        "PROXY headers",
    )?;
    plain(source.transport_socket.as_ref()).at("transport_socket")?;
    let matcher = source.filter_chain_match.as_ref();
    Ok(FilterChain {
        name: source.name.as_str().into(),
        matcher: matcher
            .map_or(Ok(ChainMatch::default()), chain_match)
            .at("filter_chain_match")?,
        network: network(context, listener, source)?,
        provenance: provenance(source.metadata.as_ref()),
    })
}

/// Only plain text so far: anything else would be sent without the encryption that was asked for.
pub(super) fn plain(source: Option<&pb::core::TransportSocket>) -> Outcome<()> {
    use pb::core::transport_socket::ConfigType;
    match source.and_then(|source| source.config_type.as_ref()) {
        None => Ok(()),
        Some(ConfigType::TypedConfig(any)) if any.type_url.ends_with("raw_buffer.v3.RawBuffer") => Ok(()),
        Some(ConfigType::TypedConfig(_)) => Err(unsupported("only plain text")),
    }
}

fn chain_match(source: &pb::listener::FilterChainMatch) -> Outcome<ChainMatch> {
    use pb::listener::filter_chain_match::ConnectionSourceType;
    refuse(
        source.suffix_len.is_some(),
        "suffix_len",
        "addresses are matched by prefix",
    )?;
    let networks = |list: &[pb::core::CidrRange], field: &str| {
        list.iter()
            .enumerate()
            .map(|(index, one)| cidr(one).at_index(field, index))
            .collect::<Outcome<Vec<_>>>()
    };
    let lower = |list: &[String]| list.iter().map(|text| text.to_ascii_lowercase().into()).collect();
    Ok(ChainMatch {
        destination_port: number(source.destination_port.as_ref())
            .map(port)
            .transpose()
            .at("destination_port")?,
        destinations: networks(&source.prefix_ranges, "prefix_ranges")?,
        server_names: lower(&source.server_names),
        transport_protocol: match source.transport_protocol.as_str() {
            "" => None,
            "raw_buffer" => Some(TransportProtocol::RawBuffer),
            "tls" => Some(TransportProtocol::Tls),
            other => return Err(invalid(other, "raw_buffer or tls")).at("transport_protocol"),
        },
        application_protocols: source
            .application_protocols
            .iter()
            .map(|text| text.as_str().into())
            .collect(),
        direct_sources: networks(&source.direct_source_prefix_ranges, "direct_source_prefix_ranges")?,
        source_type: match ConnectionSourceType::try_from(source.source_type) {
            Ok(ConnectionSourceType::Any) => SourceType::Any,
            Ok(ConnectionSourceType::SameIpOrLoopback) => SourceType::Local,
            Ok(ConnectionSourceType::External) => SourceType::External,
            Err(_) => return Err(invalid(source.source_type, "a kind of source")).at("source_type"),
        },
        sources: networks(&source.source_prefix_ranges, "source_prefix_ranges")?,
        source_ports: source
            .source_ports
            .iter()
            .map(|number| port(*number))
            .collect::<Outcome<_>>()
            .at("source_ports")?,
    })
}

/// The last filter decides; those before it are looked through for what may not be passed over.
fn network(context: &mut Context<'_>, listener: &Arc<str>, source: &pb::listener::FilterChain) -> Outcome<Network> {
    let mut network = Network::Close;
    for (index, filter) in source.filters.iter().enumerate() {
        let any = typed(filter).at_index("filters", index)?;
        match any.type_url.rsplit('/').next().unwrap_or_default() {
            HTTP => {
                let manager = unpack::<pb::hcm::HttpConnectionManager>(any).at_index("filters", index)?;
                let manager = http::manager(context, &manager).at_index("filters", index)?;
                network = Network::Http(Arc::new(manager));
            }
            TCP => {
                let proxy = unpack::<pb::tcp_proxy::TcpProxy>(any).at_index("filters", index)?;
                let owner = provenance(source.metadata.as_ref());
                let proxy = tcp::proxy(context, listener, &source.name, owner, &proxy).at_index("filters", index)?;
                network = Network::Tcp(Arc::new(proxy));
            }
            guard if GUARDS.contains(&guard) => {
                return Err(unsupported("a filter that refuses connections")).at_index("filters", index);
            }
            other => context.ignore(format!("network filter {} {other}", filter.name)),
        }
    }
    Ok(network)
}

fn typed(filter: &pb::listener::Filter) -> Outcome<&Any> {
    use pb::listener::filter::ConfigType;
    match filter.config_type.as_ref() {
        Some(ConfigType::TypedConfig(any)) => Ok(any),
        Some(ConfigType::ConfigDiscovery(_)) => Err(unsupported("filters on demand")),
        None => Err(Problem::Missing).at("typed_config"),
    }
}
