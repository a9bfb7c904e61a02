use ::http::{HeaderValue, StatusCode};
use weft_proxy_core::filter::grpc_name;
use weft_proxy_core::route::{
    Cors, Delay, Fault, FaultAbort, HashKey, HeaderKey, Mirror, Percentage, RetryOn, RetryPolicy, RouteFilters,
};
use weft_xds::{Any, pb, unpack};

use super::context::Context;
use super::defaults;
use super::error::{At, Outcome, Problem, invalid, unsupported};
use super::matcher::{header, string};
use super::route::Inherited;
use super::value::{duration, number, percentage, runtime_percentage, truth};

/// Retries, as they were asked for.
pub(super) fn retry(
    context: &mut Context<'_>,
    source: Option<&pb::route::RetryPolicy>,
) -> Outcome<Option<RetryPolicy>> {
    let Some(source) = source else { return Ok(None) };
    let (on, unknown) = RetryOn::parse(&source.retry_on);
    for word in unknown {
        context.ignore(format!("retry_on {word}"));
    }
    context.ignore_if(
        source.rate_limited_retry_back_off.is_some(),
        "rate_limited_retry_back_off",
    );
    context.ignore_if(!source.retry_options_predicates.is_empty(), "retry_options_predicates");
    context.ignore_if(source.refresh_cluster_on_retry, "refresh_cluster_on_retry");
    let back_off = source.retry_back_off.as_ref();
    let base = back_off.and_then(|back_off| back_off.base_interval.as_ref());
    let base = duration(base)
        .at("retry_back_off.base_interval")?
        .unwrap_or(defaults::RETRY_BACKOFF);
    let max = back_off.and_then(|back_off| back_off.max_interval.as_ref());
    let max = duration(max).at("retry_back_off.max_interval")?.unwrap_or(base * 10);
    if base.is_zero() || max < base {
        return Err(invalid(
            format!("{base:?}…{max:?}"),
            "a base above 0 and a maximum not below it",
        ))
        .at("retry_back_off");
    }
    let codes = source.retriable_status_codes.iter().map(|code| {
        let status = u16::try_from(*code)
            .ok()
            .and_then(|code| StatusCode::from_u16(code).ok());
        status
            .ok_or_else(|| invalid(code, "a status"))
            .at("retriable_status_codes")
    });
    let matchers = |list: &[pb::route::HeaderMatcher], field: &str| {
        list.iter()
            .enumerate()
            .map(|(index, one)| header(one).at_index(field, index))
            .collect::<Outcome<Vec<_>>>()
    };
    Ok(Some(RetryPolicy {
        attempts: number(source.num_retries.as_ref()).unwrap_or(1),
        per_try_timeout: duration(source.per_try_timeout.as_ref())
            .at("per_try_timeout")?
            .filter(|one| !one.is_zero()),
        per_try_idle_timeout: duration(source.per_try_idle_timeout.as_ref())
            .at("per_try_idle_timeout")?
            .filter(|one| !one.is_zero()),
        on,
        codes: codes.collect::<Outcome<_>>()?,
        response_headers: matchers(&source.retriable_headers, "retriable_headers")?,
        request_headers: matchers(&source.retriable_request_headers, "retriable_request_headers")?,
        backoff_base: base,
        backoff_max: max,
        avoid_previous_hosts: avoids_previous_hosts(context, source),
        avoid_previous_priorities: previous_priorities(context, source)?,
        host_selection_attempts: u32::try_from(source.host_selection_retry_max_attempts)
            .unwrap_or(1)
            .max(1),
    }))
}

fn avoids_previous_hosts(context: &mut Context<'_>, source: &pb::route::RetryPolicy) -> bool {
    let mut avoids = false;
    for predicate in &source.retry_host_predicate {
        match predicate.name.as_str() {
            "envoy.retry_host_predicates.previous_hosts" => avoids = true,
            other => context.ignore(format!("retry_host_predicate {other}")),
        }
    }
    avoids
}

fn previous_priorities(context: &mut Context<'_>, source: &pb::route::RetryPolicy) -> Outcome<Option<u32>> {
    use pb::route::retry_policy::retry_priority::ConfigType;
    let Some(priority) = &source.retry_priority else {
        return Ok(None);
    };
    let Some(ConfigType::TypedConfig(config)) = &priority.config_type else {
        return Ok(None);
    };
    match unpack::<pb::previous_priorities::PreviousPrioritiesConfig>(config) {
        Ok(config) => Ok(Some(u32::try_from(config.update_frequency).unwrap_or(2).max(1))),
        Err(weft_xds::UnpackError::Type { .. }) => {
            context.ignore(format!("retry_priority {}", priority.name));
            Ok(None)
        }
        Err(error) => Err(error).at("retry_priority"),
    }
}

/// Keys of a consistent hash.
pub(super) fn hash_keys(
    context: &mut Context<'_>,
    list: &[pb::route::route_action::HashPolicy],
) -> Outcome<Vec<HashKey>> {
    let mut keys = Vec::new();
    for (index, source) in list.iter().enumerate() {
        keys.extend(hash_key(context, source).at_index("hash_policy", index)?);
    }
    Ok(keys)
}

fn hash_key(context: &mut Context<'_>, source: &pb::route::route_action::HashPolicy) -> Outcome<Option<HashKey>> {
    use pb::route::route_action::hash_policy::PolicySpecifier;
    Ok(match source.policy_specifier.as_ref().ok_or(Problem::Missing)? {
        PolicySpecifier::Header(header) => {
            context.ignore_if(header.regex_rewrite.is_some(), "hash_policy.header.regex_rewrite");
            let name = HeaderKey::new(&header.header_name);
            Some(HashKey::Header(
                name.ok_or_else(|| invalid(&header.header_name, "a header name"))
                    .at("header")?,
            ))
        }
        PolicySpecifier::Cookie(cookie) => Some(HashKey::Cookie {
            name: cookie.name.as_str().into(),
            path: cookie.path.as_str().into(),
            ttl: duration(cookie.ttl.as_ref()).at("cookie.ttl")?,
            attributes: cookie
                .attributes
                .iter()
                .map(|attribute| match attribute.value.as_str() {
                    "" => attribute.name.as_str().into(),
                    value => [&attribute.name, "=", value].concat().into(),
                })
                .collect(),
        }),
        PolicySpecifier::ConnectionProperties(properties) => properties.source_ip.then_some(HashKey::SourceIp),
        PolicySpecifier::QueryParameter(parameter) => Some(HashKey::Query(parameter.name.as_str().into())),
        PolicySpecifier::FilterState(_) => {
            context.ignore("hash_policy.filter_state");
            None
        }
    })
}

/// Copies: the route's, else the virtual host's, else the table's.
pub(super) fn mirrors(
    context: &mut Context<'_>,
    source: &pb::route::RouteAction,
    inherited: &Inherited<'_>,
) -> Outcome<Vec<Mirror>> {
    let lists = [
        &source.request_mirror_policies,
        &inherited.host.request_mirror_policies,
        &inherited.table.request_mirror_policies,
    ];
    let list = lists.into_iter().find(|list| !list.is_empty());
    let list = list.map(Vec::as_slice).unwrap_or_default().iter().enumerate();
    list.map(|(index, one)| mirror(context, one).at_index("request_mirror_policies", index))
        .collect()
}

fn mirror(context: &mut Context<'_>, source: &pb::route::route_action::RequestMirrorPolicy) -> Outcome<Mirror> {
    if !source.cluster_header.is_empty() {
        return Err(unsupported("clusters named by requests")).at("cluster_header");
    }
    if source.cluster.is_empty() {
        return Err(Problem::Missing).at("cluster");
    }
    context.ignore_if(
        !source.request_headers_mutations.is_empty(),
        "request_mirror_policies.request_headers_mutations",
    );
    context.ignore_if(
        !source.host_rewrite_literal.is_empty(),
        "request_mirror_policies.host_rewrite_literal",
    );
    Ok(Mirror {
        cluster: context.bindings.cluster(&source.cluster)?,
        share: runtime_percentage(source.runtime_fraction.as_ref(), Percentage::ALL).at("runtime_fraction")?,
        keep_authority: source.disable_shadow_host_suffix_append,
    })
}

/// Filters that refuse requests: settings of theirs are never passed over.
const GUARDS: [&str; 4] = [
    "envoy.filters.http.rbac",
    "envoy.filters.http.jwt_authn",
    "envoy.filters.http.ext_authz",
    "envoy.filters.http.csrf",
];

/// Settings of filters, of the route or else of its virtual host or table.
pub(super) fn filters(
    context: &mut Context<'_>,
    source: &pb::route::Route,
    inherited: &Inherited<'_>,
) -> Outcome<RouteFilters> {
    let maps = [
        &source.typed_per_filter_config,
        &inherited.host.typed_per_filter_config,
        &inherited.table.typed_per_filter_config,
    ];
    for name in maps.iter().flat_map(|map| map.keys()) {
        if GUARDS.contains(&name.as_str()) {
            return Err(unsupported("a filter that refuses requests")).at(&format!("typed_per_filter_config[{name}]"));
        }
        if name != FAULT && name != CORS {
            context.ignore(format!("typed_per_filter_config[{name}]"));
        }
    }
    let setting = |name: &str| maps.iter().find_map(|map| map.get(name));
    let legacy = match &source.action {
        Some(pb::route::route::Action::Route(route)) => route.cors.as_ref().or(inherited.host.cors.as_ref()),
        _ => inherited.host.cors.as_ref(),
    };
    if legacy.is_some() {
        context.ignore("cors (use typed_per_filter_config)");
    }
    Ok(RouteFilters {
        fault: setting(FAULT)
            .map(|any| fault(context, any))
            .transpose()
            .at("typed_per_filter_config[fault]")?,
        // Envoy: redirects and direct responses know nothing of origins.
        cors: setting(CORS)
            .filter(|_| matches!(source.action, Some(pb::route::route::Action::Route(_))))
            .map(cors)
            .transpose()
            .at("typed_per_filter_config[cors]")?,
    })
}

const FAULT: &str = "envoy.filters.http.fault";
const CORS: &str = "envoy.filters.http.cors";

fn fault(context: &mut Context<'_>, any: &Any) -> Outcome<Fault> {
    use pb::common_fault::fault_delay::FaultDelaySecifier;
    use pb::fault::fault_abort::ErrorType;
    let source = unpack::<pb::fault::HttpFault>(any)?;
    context.ignore_if(!source.headers.is_empty(), "fault.headers");
    context.ignore_if(!source.upstream_cluster.is_empty(), "fault.upstream_cluster");
    context.ignore_if(!source.downstream_nodes.is_empty(), "fault.downstream_nodes");
    context.ignore_if(source.max_active_faults.is_some(), "fault.max_active_faults");
    context.ignore_if(source.response_rate_limit.is_some(), "fault.response_rate_limit");
    let share = |value: Option<&pb::percent::FractionalPercent>| {
        value
            .map_or(Ok(Percentage::from_millionths(0)), percentage)
            .at("percentage")
    };
    let mut fault = Fault::default();
    if let Some(delay) = &source.delay {
        match &delay.fault_delay_secifier {
            Some(FaultDelaySecifier::FixedDelay(fixed)) => {
                let fixed = duration(Some(fixed)).at("delay.fixed_delay")?.unwrap_or_default();
                fault.delay = Some(Delay {
                    fixed,
                    share: share(delay.percentage.as_ref()).at("delay")?,
                });
            }
            Some(FaultDelaySecifier::HeaderDelay(_)) => context.ignore("fault.delay.header_delay"),
            None => {}
        }
    }
    if let Some(abort) = &source.abort {
        let share = share(abort.percentage.as_ref()).at("abort")?;
        fault.abort = match &abort.error_type {
            Some(ErrorType::HttpStatus(code)) => {
                let status = u16::try_from(*code)
                    .ok()
                    .and_then(|code| StatusCode::from_u16(code).ok());
                let status = status
                    .ok_or_else(|| invalid(code, "a status"))
                    .at("abort.http_status")?;
                Some(FaultAbort {
                    status,
                    grpc_status: None,
                    share,
                })
            }
            Some(ErrorType::GrpcStatus(code)) => {
                let status = u8::try_from(*code).ok().filter(|code| grpc_name(*code).is_some());
                Some(FaultAbort {
                    status: StatusCode::OK,
                    grpc_status: Some(
                        status
                            .ok_or_else(|| invalid(code, "a gRPC status"))
                            .at("abort.grpc_status")?,
                    ),
                    share,
                })
            }
            Some(ErrorType::HeaderAbort(_)) => {
                context.ignore("fault.abort.header_abort");
                None
            }
            None => None,
        };
    }
    Ok(fault)
}

fn cors(any: &Any) -> Outcome<Cors> {
    let source = unpack::<pb::cors::CorsPolicy>(any)?;
    let text = |text: &str, field: &str| {
        let value = HeaderValue::from_str(text).map_err(|_| invalid(text, "a header value"));
        value
            .at(field)
            .map(|value| Some(value).filter(|value| !value.is_empty()))
    };
    let origins = source.allow_origin_string_match.iter().enumerate();
    Ok(Cors {
        allow_origins: origins
            .map(|(index, one)| string(one).at_index("allow_origin_string_match", index))
            .collect::<Outcome<_>>()?,
        allow_methods: text(&source.allow_methods, "allow_methods")?,
        allow_headers: text(&source.allow_headers, "allow_headers")?,
        expose_headers: text(&source.expose_headers, "expose_headers")?,
        max_age: text(&source.max_age, "max_age")?,
        allow_credentials: truth(source.allow_credentials.as_ref()),
        forward_unmatched_preflights: source
            .forward_not_matching_preflights
            .as_ref()
            .is_none_or(|one| one.value),
        enabled: runtime_percentage(source.filter_enabled.as_ref(), Percentage::ALL).at("filter_enabled")?,
    })
}
