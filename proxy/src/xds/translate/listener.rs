use std::sync::Arc;

use weft_proxy_core::chain::{Direction, Inspectors, Listener};
use weft_proxy_core::route::Bindings;
use weft_xds::pb;

use super::chain;
use super::context::{Context, Translated, translate};
use super::defaults;
use super::error::{At, Outcome, TranslateError, invalid, refuse, unsupported};
use super::value::{limit, number, provenance, socket_address, truth};

/// Compiles a listener.
///
/// # Errors
/// The first field that cannot be honoured.
pub fn listener(
    source: &pb::listener::Listener,
    bindings: &mut Bindings,
) -> Result<Translated<Listener>, TranslateError> {
    translate(&source.name, bindings, |context| compile(context, source))
}

fn compile(context: &mut Context<'_>, source: &pb::listener::Listener) -> Outcome<Listener> {
    refuse(
        source.filter_chain_matcher.is_some(),
        "filter_chain_matcher",
        "matching trees",
    )?;
    refuse(source.fcds_config.is_some(), "fcds_config", "filter chains on demand")?;
    refuse(source.udp_listener_config.is_some(), "udp_listener_config", "only TCP")?;
    refuse(source.api_listener.is_some(), "api_listener", "this proxy has sockets")?;
    refuse(
        source.listener_specifier.is_some(),
        "listener_specifier",
        "internal listeners",
    )?;
    refuse(
        truth(source.transparent.as_ref()),
        "transparent",
        "addresses of others are not bound",
    )?;
    context.ignore_if(!source.access_log.is_empty(), "listener.access_log");
    context.ignore_if(!source.socket_options.is_empty(), "socket_options");
    context.ignore_if(
        source.tcp_fast_open_queue_length.is_some(),
        "tcp_fast_open_queue_length",
    );
    context.ignore_if(truth(source.freebind.as_ref()), "freebind");
    context.ignore_if(source.connection_balance_config.is_some(), "connection_balance_config");
    let name: Arc<str> = source.name.as_str().into();
    let additional = source.additional_addresses.iter().enumerate();
    let chains = source.filter_chains.iter().enumerate();
    let chains = chains.map(|(index, one)| {
        chain::chain(context, &name, one)
            .map(Arc::new)
            .at_index("filter_chains", index)
    });
    let chains = chains.collect::<Outcome<_>>()?;
    let default_chain = source.default_filter_chain.as_ref();
    let default_chain = default_chain
        .map(|one| chain::chain(context, &name, one).map(Arc::new))
        .transpose();
    // The older field counts where the newer is absent.
    let bind = source.bind_to_port.as_ref();
    let bind = bind.or(source.deprecated_v1.as_ref().and_then(|old| old.bind_to_port.as_ref()));
    Ok(Listener {
        address: socket_address(source.address.as_ref()).at("address")?,
        additional: additional
            .map(|(index, one)| socket_address(one.address.as_ref()).at_index("additional_addresses", index))
            .collect::<Outcome<_>>()?,
        bind_to_port: bind.is_none_or(|bind| bind.value),
        use_original_dst: truth(source.use_original_dst.as_ref()),
        direction: direction(source)?,
        chains,
        default_chain: default_chain.at("default_filter_chain")?,
        inspectors: inspectors(context, source)?,
        buffer_bytes_max: number(source.per_connection_buffer_limit_bytes.as_ref())
            .unwrap_or(defaults::BUFFER_BYTES_MAX),
        provenance: provenance(source.metadata.as_ref()),
        name,
    })
}

fn direction(source: &pb::listener::Listener) -> Outcome<Direction> {
    match pb::core::TrafficDirection::try_from(source.traffic_direction) {
        Ok(pb::core::TrafficDirection::Unspecified) => Ok(Direction::Unspecified),
        Ok(pb::core::TrafficDirection::Inbound) => Ok(Direction::Inbound),
        Ok(pb::core::TrafficDirection::Outbound) => Ok(Direction::Outbound),
        Err(_) => Err(invalid(source.traffic_direction, "a direction")).at("traffic_direction"),
    }
}

fn inspectors(context: &mut Context<'_>, source: &pb::listener::Listener) -> Outcome<Inspectors> {
    use pb::listener::listener_filter::ConfigType;
    let default = Some(defaults::LISTENER_FILTERS_TIMEOUT);
    let mut inspectors = Inspectors {
        tls: false,
        http: false,
        original_dst: false,
        proxy_protocol: false,
        timeout: limit(source.listener_filters_timeout.as_ref(), default).at("listener_filters_timeout")?,
        continue_on_timeout: source.continue_on_listener_filters_timeout,
        http_off_ports: Vec::new(),
        tls_off_ports: Vec::new(),
    };
    for (index, filter) in source.listener_filters.iter().enumerate() {
        let kind = match &filter.config_type {
            Some(ConfigType::TypedConfig(any)) => any.type_url.rsplit('/').next().unwrap_or_default(),
            Some(ConfigType::ConfigDiscovery(_)) => {
                return Err(unsupported("filters on demand")).at_index("listener_filters", index);
            }
            None => "",
        };
        let off = || off_ports(filter.filter_disabled.as_ref()).at_index("listener_filters", index);
        match kind {
            "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector" => {
                inspectors.tls = true;
                inspectors.tls_off_ports = off()?;
            }
            "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector" => {
                inspectors.http = true;
                inspectors.http_off_ports = off()?;
            }
            "envoy.extensions.filters.listener.original_dst.v3.OriginalDst" => inspectors.original_dst = true,
            "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol" => {
                return Err(unsupported("PROXY headers")).at_index("listener_filters", index);
            }
            other => context.ignore(format!("listener filter {} {other}", filter.name)),
        }
    }
    Ok(inspectors)
}

const EVERY_PORT: std::ops::Range<u32> = 0..1 << 16;

/// Destination ports for which a listener filter is off: one range, or any of several.
fn off_ports(source: Option<&pb::listener::ListenerFilterChainMatchPredicate>) -> Outcome<Vec<std::ops::Range<u32>>> {
    use pb::listener::listener_filter_chain_match_predicate::Rule;
    let Some(rule) = source.and_then(|source| source.rule.as_ref()) else {
        return Ok(Vec::new());
    };
    match rule {
        Rule::AnyMatch(true) => Ok(vec![EVERY_PORT]),
        Rule::AnyMatch(false) => Ok(Vec::new()),
        Rule::DestinationPortRange(range) => {
            let bound = |value: i32| {
                u32::try_from(value)
                    .map_err(|_| invalid(value, "a port"))
                    .at("filter_disabled")
            };
            let ports = bound(range.start)?..bound(range.end)?;
            Ok(vec![ports])
        }
        Rule::OrMatch(set) => {
            let mut ports = Vec::new();
            for rule in &set.rules {
                ports.extend(off_ports(Some(rule))?);
            }
            Ok(ports)
        }
        Rule::AndMatch(_) | Rule::NotMatch(_) => {
            Err(unsupported("only ranges of ports and any of them")).at("filter_disabled")
        }
    }
}
