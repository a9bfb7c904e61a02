use std::sync::Arc;

use weft_proxy_core::cluster::{
    Balance, Cluster, ClusterKind, DestinationLabels, Family, HashTable, Limits, Name, Names, OVERPROVISIONING_PERCENT,
    OriginalDst, Refresh, RetryBudget,
};
use weft_proxy_core::route::Bindings;
use weft_xds::pb;

use super::context::{Context, Translated, translate};
use super::defaults;
use super::endpoint::{names, overprovisioning, set};
use super::error::{At, Outcome, Problem, TranslateError, invalid, refuse, unsupported};
use super::outlier::outlier;
use super::upstream;
use super::value::{Fields, duration, metadata, number, port, provenance, text};

/// Compiles a cluster. Its slot is the one of its name in the bindings.
///
/// # Errors
/// The first field that cannot be honoured.
pub fn cluster(source: &pb::cluster::Cluster, bindings: &mut Bindings) -> Result<Translated<Cluster>, TranslateError> {
    translate(&source.name, bindings, |context| compile(context, source))
}

fn compile(context: &mut Context<'_>, source: &pb::cluster::Cluster) -> Outcome<Cluster> {
    upstream::refuse_transport(source)?;
    let transport = upstream::transport(source).at("transport_socket")?;
    refuse(
        source.upstream_config.is_some(),
        "upstream_config",
        "upstreams by extension",
    )?;
    let subsets = source
        .lb_subset_config
        .as_ref()
        .is_some_and(|config| !config.subset_selectors.is_empty());
    refuse(subsets, "lb_subset_config", "subsets are clusters of their own")?;
    context.ignore_if(!source.health_checks.is_empty(), "health_checks");
    context.ignore_if(!source.filters.is_empty(), "cluster.filters");
    context.ignore_if(source.preconnect_policy.is_some(), "preconnect_policy");
    context.ignore_if(source.track_timeout_budgets, "track_timeout_budgets");
    context.ignore_if(
        source.per_connection_buffer_limit_bytes.is_some(),
        "per_connection_buffer_limit_bytes",
    );
    let common = source.common_lb_config.as_ref();
    context.ignore_if(
        common.is_some_and(|common| common.locality_config_specifier.is_some()),
        "common_lb_config.locality_config_specifier",
    );
    let panic = common.and_then(|common| common.healthy_panic_threshold.as_ref());
    let connect_timeout = duration(source.connect_timeout.as_ref()).at("connect_timeout")?;
    Ok(Cluster {
        name: source.name.as_str().into(),
        kind: kind(context, source)?,
        balance: balance(context, source)?,
        panic_threshold_percent: panic.map_or(defaults::PANIC_THRESHOLD_PERCENT, |percent| percent.value),
        connect_timeout: connect_timeout.unwrap_or(defaults::CONNECT_TIMEOUT),
        transport,
        limits: limits(context, source.circuit_breakers.as_ref()),
        outlier: source
            .outlier_detection
            .as_ref()
            .map(|one| outlier(context, source, one))
            .transpose()
            .at("outlier_detection")?,
        http: upstream::http(context, source)?,
        sources: upstream::sources(context, source).at("upstream_bind_config")?,
        tcp_keepalive: upstream::keepalive(source),
        destination: labels(source),
        provenance: provenance(source.metadata.as_ref()),
    })
}

fn kind(context: &mut Context<'_>, source: &pb::cluster::Cluster) -> Outcome<ClusterKind> {
    use pb::cluster::cluster::{ClusterDiscoveryType, DiscoveryType};
    let number = match &source.cluster_discovery_type {
        None => i32::from(DiscoveryType::Static),
        Some(ClusterDiscoveryType::Type(number)) => *number,
        Some(ClusterDiscoveryType::ClusterType(_)) => {
            return Err(unsupported("clusters by extension")).at("cluster_type");
        }
    };
    let assignment = || {
        source
            .load_assignment
            .as_ref()
            .ok_or(Problem::Missing)
            .at("load_assignment")
    };
    Ok(match DiscoveryType::try_from(number) {
        Ok(DiscoveryType::Eds) => {
            let service = source
                .eds_cluster_config
                .as_ref()
                .map(|config| config.service_name.as_str());
            ClusterKind::Eds(service.filter(|name| !name.is_empty()).unwrap_or(&source.name).into())
        }
        Ok(DiscoveryType::Static) => match &source.load_assignment {
            None => ClusterKind::Static(Arc::default()),
            Some(assignment) => ClusterKind::Static(Arc::new(set(context, assignment).at("load_assignment")?)),
        },
        Ok(DiscoveryType::StrictDns | DiscoveryType::LogicalDns) => {
            let names = names(context, assignment()?).at("load_assignment")?;
            let first_record = number == i32::from(DiscoveryType::LogicalDns);
            if first_record && names.len() != 1 {
                return Err(invalid(names.len(), "one name for LOGICAL_DNS")).at("load_assignment");
            }
            ClusterKind::Dns(resolution(context, source, names, first_record)?)
        }
        Ok(DiscoveryType::OriginalDst) => ClusterKind::OriginalDst(original_dst(source)?),
        Err(_) => return Err(invalid(number, "a type of discovery")).at("type"),
    })
}

/// How names are looked up. What Envoy has for other resolvers than the machine's is passed over, and counted.
fn resolution(
    context: &mut Context<'_>,
    source: &pb::cluster::Cluster,
    names: Box<[Name]>,
    first_record: bool,
) -> Outcome<Names> {
    use pb::cluster::cluster::DnsLookupFamily;
    #[allow(deprecated)] // Older control planes set it.
    let servers = !source.dns_resolvers.is_empty() || source.dns_resolution_config.is_some();
    context.ignore_if(
        servers || source.typed_dns_resolver_config.is_some(),
        "resolvers of a cluster's own",
    );
    let rate = duration(source.dns_refresh_rate.as_ref()).at("dns_refresh_rate")?;
    let rate = rate.unwrap_or(defaults::DNS_REFRESH_RATE);
    let failure = match &source.dns_failure_refresh_rate {
        None => (rate, rate),
        Some(failure) => {
            let base = duration(failure.base_interval.as_ref()).at("dns_failure_refresh_rate.base_interval")?;
            let max = duration(failure.max_interval.as_ref()).at("dns_failure_refresh_rate.max_interval")?;
            let base = base
                .ok_or(Problem::Missing)
                .at("dns_failure_refresh_rate.base_interval")?;
            (base, max.unwrap_or(base * 10).max(base))
        }
    };
    let refresh = Refresh {
        // A rate of nothing would ask without end.
        rate: rate.max(defaults::DNS_WAIT_MIN),
        by_ttl: source.respect_dns_ttl,
        jitter: duration(source.dns_jitter.as_ref())
            .at("dns_jitter")?
            .unwrap_or(defaults::DNS_JITTER),
        failure: (
            failure.0.max(defaults::DNS_WAIT_MIN),
            failure.1.max(defaults::DNS_WAIT_MIN),
        ),
    };
    Ok(Names {
        names,
        first_record,
        family: match DnsLookupFamily::try_from(source.dns_lookup_family) {
            Ok(DnsLookupFamily::Auto) => Family::Ipv6Preferred,
            Ok(DnsLookupFamily::V4Only) => Family::Ipv4,
            Ok(DnsLookupFamily::V6Only) => Family::Ipv6,
            Ok(DnsLookupFamily::V4Preferred) => Family::Ipv4Preferred,
            Ok(DnsLookupFamily::All) => Family::Both,
            Err(_) => return Err(invalid(source.dns_lookup_family, "a family")).at("dns_lookup_family"),
        },
        refresh,
        overprovisioning_percent: source
            .load_assignment
            .as_ref()
            .map_or(OVERPROVISIONING_PERCENT, overprovisioning),
    })
}

fn original_dst(source: &pb::cluster::Cluster) -> Outcome<OriginalDst> {
    use pb::cluster::cluster::{LbConfig, LbPolicy};
    refuse(
        source.lb_policy != i32::from(LbPolicy::ClusterProvided),
        "lb_policy",
        "the policy of an ORIGINAL_DST cluster is CLUSTER_PROVIDED",
    )?;
    let mut override_port = None;
    if let Some(LbConfig::OriginalDstLbConfig(config)) = &source.lb_config {
        // Where these send a connection is told by the client.
        refuse(
            config.use_http_header,
            "original_dst_lb_config.use_http_header",
            "destinations in a header",
        )?;
        refuse(
            config.metadata_key.is_some(),
            "original_dst_lb_config.metadata_key",
            "destinations in metadata",
        )?;
        override_port = number(config.upstream_port_override.as_ref())
            .map(port)
            .transpose()
            .at("original_dst_lb_config.upstream_port_override")?;
    }
    let interval = duration(source.cleanup_interval.as_ref()).at("cleanup_interval")?;
    Ok(OriginalDst {
        port: override_port,
        cleanup_interval: interval.unwrap_or(defaults::CLEANUP_INTERVAL),
    })
}

fn balance(context: &mut Context<'_>, source: &pb::cluster::Cluster) -> Outcome<Balance> {
    use pb::cluster::cluster::{LbConfig, LbPolicy};
    context.ignore_if(source.load_balancing_policy.is_some(), "load_balancing_policy");
    Ok(match LbPolicy::try_from(source.lb_policy) {
        Ok(LbPolicy::RoundRobin | LbPolicy::LoadBalancingPolicyConfig) => {
            if let Some(LbConfig::RoundRobinLbConfig(config)) = &source.lb_config {
                context.ignore_if(config.slow_start_config.is_some(), "slow_start_config");
            }
            Balance::RoundRobin
        }
        Ok(LbPolicy::LeastRequest) => {
            let mut choices = defaults::CHOICES;
            if let Some(LbConfig::LeastRequestLbConfig(config)) = &source.lb_config {
                choices = number(config.choice_count.as_ref()).unwrap_or(choices).max(2);
                context.ignore_if(config.slow_start_config.is_some(), "slow_start_config");
                context.ignore_if(config.active_request_bias.is_some(), "active_request_bias");
            }
            Balance::LeastRequest { choices }
        }
        Ok(LbPolicy::Random) => Balance::Random,
        Ok(LbPolicy::RingHash) => {
            let (mut size_min, mut size_max) = defaults::RING_SIZE;
            if let Some(LbConfig::RingHashLbConfig(config)) = &source.lb_config {
                size_min = config.minimum_ring_size.as_ref().map_or(size_min, |size| size.value);
                size_max = config.maximum_ring_size.as_ref().map_or(size_max, |size| size.value);
            }
            // Envoy's own bounds: a table is memory of each proxy.
            if size_min > size_max || size_max > defaults::RING_SIZE.1 {
                return Err(invalid(size_max, "at least the minimum and at most 8388608")).at("maximum_ring_size");
            }
            Balance::Hash(HashTable::Ring { size_min, size_max })
        }
        Ok(LbPolicy::Maglev) => {
            let mut size = defaults::MAGLEV_SIZE;
            if let Some(LbConfig::MaglevLbConfig(config)) = &source.lb_config {
                size = config.table_size.as_ref().map_or(size, |table| table.value);
            }
            if size > defaults::MAGLEV_SIZE_MAX || !is_prime(size) {
                return Err(invalid(size, "a prime number up to 5000011")).at("table_size");
            }
            Balance::Hash(HashTable::Maglev { size })
        }
        Ok(LbPolicy::ClusterProvided) => Balance::OriginalDst,
        Err(_) => return Err(invalid(source.lb_policy, "a policy")).at("lb_policy"),
    })
}

fn is_prime(number: u64) -> bool {
    number >= 2
        && (2..)
            .take_while(|factor| factor * factor <= number)
            .all(|factor| !number.is_multiple_of(factor))
}

fn limits(context: &mut Context<'_>, source: Option<&pb::cluster::CircuitBreakers>) -> Limits {
    let default = i32::from(pb::core::RoutingPriority::Default);
    let thresholds = source.map(|source| source.thresholds.as_slice()).unwrap_or_default();
    context.ignore_if(
        source.is_some_and(|one| !one.per_host_thresholds.is_empty()),
        "per_host_thresholds",
    );
    context.ignore_if(
        thresholds.iter().any(|one| one.priority != default),
        "thresholds of high priority",
    );
    let own = thresholds
        .iter()
        .find(|one| one.priority == default)
        .cloned()
        .unwrap_or_default();
    let or = |value: Option<&pb::protobuf::UInt32Value>, default| number(value).unwrap_or(default);
    context.ignore_if(own.max_connection_pools.is_some(), "max_connection_pools");
    Limits {
        connections_max: or(own.max_connections.as_ref(), defaults::CIRCUIT_BREAKER),
        pending_max: or(own.max_pending_requests.as_ref(), defaults::CIRCUIT_BREAKER),
        requests_max: or(own.max_requests.as_ref(), defaults::CIRCUIT_BREAKER),
        retries_max: or(own.max_retries.as_ref(), defaults::RETRIES_MAX),
        retry_budget: own.retry_budget.as_ref().map(|budget| {
            let percent = budget
                .budget_percent
                .as_ref()
                .map_or(defaults::RETRY_BUDGET.0, |percent| percent.value);
            RetryBudget {
                // Percent with two digits; a budget is never finer.
                basis_points: (percent.clamp(0.0, 100.0) * 100.0).round() as u32,
                concurrency_min: or(budget.min_retry_concurrency.as_ref(), defaults::RETRY_BUDGET.1),
            }
        }),
    }
}

/// What metrics call the cluster: the service in Istio's metadata, else what a name of Istio's form says, else the name.
fn labels(source: &pb::cluster::Cluster) -> DestinationLabels {
    let service = metadata(source.metadata.as_ref(), "istio").and_then(first_service);
    if let Some(service) = service {
        let field = |key: &str| text(service, key).unwrap_or_default();
        return DestinationLabels {
            service: field("host").into(),
            service_name: field("name").into(),
            service_namespace: field("namespace").into(),
        };
    }
    // `outbound|9080|v1|reviews.default.svc.cluster.local`
    let host = source
        .name
        .split('|')
        .nth(3)
        .filter(|host| !host.is_empty())
        .unwrap_or(&source.name);
    let is_service = host != source.name;
    let mut parts = host.split('.');
    let name = if is_service { parts.next().unwrap_or(host) } else { host };
    let namespace = parts.next().filter(|_| is_service && parts.next() == Some("svc"));
    DestinationLabels {
        service: host.into(),
        service_name: name.into(),
        service_namespace: namespace.unwrap_or("unknown").into(),
    }
}

fn first_service(istio: &Fields) -> Option<&Fields> {
    use pb::protobuf::value::Kind;
    let Kind::ListValue(list) = istio.get("services")?.kind.as_ref()? else {
        return None;
    };
    match list.values.first()?.kind.as_ref()? {
        Kind::StructValue(service) => Some(&service.fields),
        _ => None,
    }
}
