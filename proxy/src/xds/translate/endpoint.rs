use std::sync::Arc;

use weft_proxy_core::cluster::{
    ENDPOINTS_MAX, Endpoint, EndpointError, EndpointSet, Health, Locality, Name, OVERPROVISIONING_PERCENT, Workload,
};
use weft_proxy_core::route::Bindings;
use weft_xds::pb;

use super::context::{Context, Translated, translate};
use super::error::{At, Outcome, Problem, TranslateError, invalid, refuse, unsupported};
use super::value::{HostPort, host_port, metadata, number, socket_address, text};

/// Compiles the endpoints of a cluster.
///
/// # Errors
/// The first field that cannot be honoured.
pub fn endpoints(
    source: &pb::endpoint::ClusterLoadAssignment,
    bindings: &mut Bindings,
) -> Result<Translated<EndpointSet>, TranslateError> {
    translate(&source.cluster_name, bindings, |context| set(context, source))
}

/// Endpoints with IP addresses.
pub(super) fn set(context: &mut Context<'_>, source: &pb::endpoint::ClusterLoadAssignment) -> Outcome<EndpointSet> {
    let policy = source.policy.as_ref();
    context.ignore_if(
        policy.is_some_and(|policy| !policy.drop_overloads.is_empty()),
        "policy.drop_overloads",
    );
    context.ignore_if(
        policy.is_some_and(|policy| policy.endpoint_stale_after.is_some()),
        "policy.endpoint_stale_after",
    );
    let mut endpoints = Vec::new();
    for (index, group) in source.endpoints.iter().enumerate() {
        let locality = Arc::new(locality(group.locality.as_ref()));
        for (place, one) in listed(group).at_index("endpoints", index)?.iter().enumerate() {
            let endpoint = endpoint(context, group.priority, &locality, one);
            endpoints.push(endpoint.at_index("lb_endpoints", place).at_index("endpoints", index)?);
        }
    }
    Ok(EndpointSet::new(endpoints, overprovisioning(source))?)
}

fn listed(group: &pb::endpoint::LocalityLbEndpoints) -> Outcome<&[pb::endpoint::LbEndpoint]> {
    use pb::endpoint::locality_lb_endpoints::LbConfig;
    match &group.lb_config {
        None => Ok(&group.lb_endpoints),
        Some(LbConfig::LoadBalancerEndpoints(list)) => Ok(&list.lb_endpoints),
        Some(LbConfig::LedsClusterLocalityConfig(_)) => Err(unsupported("endpoints on demand")),
    }
}

/// Names that are to be resolved.
pub(super) fn names(context: &mut Context<'_>, source: &pb::endpoint::ClusterLoadAssignment) -> Outcome<Box<[Name]>> {
    let mut names = Vec::new();
    for (index, group) in source.endpoints.iter().enumerate() {
        let locality = Arc::new(locality(group.locality.as_ref()));
        for (place, one) in listed(group).at_index("endpoints", index)?.iter().enumerate() {
            let name = name(context, group.priority, &locality, one);
            names.push(name.at_index("lb_endpoints", place).at_index("endpoints", index)?);
        }
    }
    if names.len() > ENDPOINTS_MAX {
        return Err(EndpointError::TooMany.into());
    }
    Ok(names.into())
}

fn name(
    context: &mut Context<'_>,
    priority: u32,
    locality: &Arc<Locality>,
    source: &pb::endpoint::LbEndpoint,
) -> Outcome<Name> {
    let common = common(context, source)?;
    let HostPort { host, port } = host_port(common.address).at("endpoint.address")?;
    Ok(Name {
        host,
        port,
        weight: common.weight,
        health: common.health,
        priority,
        locality: locality.clone(),
        workload: workload(source),
        hostname: common.hostname,
    })
}

/// What an endpoint says of itself, be it by address or by name.
struct Common<'s> {
    address: Option<&'s pb::core::Address>,
    weight: u32,
    health: Health,
    hostname: Option<Arc<str>>,
}

fn common<'s>(context: &mut Context<'_>, source: &'s pb::endpoint::LbEndpoint) -> Outcome<Common<'s>> {
    let inline = inline(source)?;
    refuse(
        !inline.additional_addresses.is_empty(),
        "endpoint.additional_addresses",
        "one address an endpoint",
    )?;
    Ok(Common {
        address: inline.address.as_ref(),
        weight: number(source.load_balancing_weight.as_ref()).unwrap_or(1),
        health: health(context, source.health_status)?,
        hostname: Some(inline.hostname.as_str())
            .filter(|name| !name.is_empty())
            .map(Arc::from),
    })
}

fn workload(source: &pb::endpoint::LbEndpoint) -> Option<Arc<Workload>> {
    let text = metadata(source.metadata.as_ref(), "istio").and_then(|fields| text(fields, "workload"));
    text.map(|text| Arc::new(workload_of(text)))
}

/// How much more than its share of healthy endpoints a priority may carry, in percent.
pub(super) fn overprovisioning(source: &pb::endpoint::ClusterLoadAssignment) -> u32 {
    let policy = source.policy.as_ref();
    let factor = policy.and_then(|policy| number(policy.overprovisioning_factor.as_ref()));
    factor.unwrap_or(OVERPROVISIONING_PERCENT)
}

fn inline(source: &pb::endpoint::LbEndpoint) -> Outcome<&pb::endpoint::Endpoint> {
    use pb::endpoint::lb_endpoint::HostIdentifier;
    match source.host_identifier.as_ref().ok_or(Problem::Missing).at("endpoint")? {
        HostIdentifier::Endpoint(endpoint) => Ok(endpoint),
        HostIdentifier::EndpointName(_) => Err(unsupported("named endpoints")).at("endpoint_name"),
    }
}

fn endpoint(
    context: &mut Context<'_>,
    priority: u32,
    locality: &Arc<Locality>,
    source: &pb::endpoint::LbEndpoint,
) -> Outcome<Endpoint> {
    let common = common(context, source)?;
    Ok(Endpoint {
        address: socket_address(common.address).at("endpoint.address")?,
        weight: common.weight,
        health: common.health,
        priority,
        locality: locality.clone(),
        workload: workload(source),
        hostname: common.hostname,
    })
}

fn health(context: &mut Context<'_>, status: i32) -> Outcome<Health> {
    use pb::core::HealthStatus;
    match HealthStatus::try_from(status) {
        Ok(HealthStatus::Unknown | HealthStatus::Healthy) => Ok(Health::Healthy),
        Ok(HealthStatus::Degraded) => {
            context.ignore("health_status DEGRADED (taken as healthy)");
            Ok(Health::Healthy)
        }
        Ok(HealthStatus::Unhealthy | HealthStatus::Timeout) => Ok(Health::Unhealthy),
        Ok(HealthStatus::Draining) => Ok(Health::Draining),
        Err(_) => Err(invalid(status, "a health status")).at("health_status"),
    }
}

fn locality(source: Option<&pb::core::Locality>) -> Locality {
    source.map_or_else(Locality::default, |source| Locality {
        region: source.region.as_str().into(),
        zone: source.zone.as_str().into(),
        sub_zone: source.sub_zone.as_str().into(),
    })
}

/// Istio's short form: `name;namespace;canonical-name;canonical-revision;cluster`.
fn workload_of(text: &str) -> Workload {
    let mut parts = text.split(';').map(Into::into);
    let mut next = || parts.next().unwrap_or_default();
    Workload {
        name: next(),
        namespace: next(),
        canonical_name: next(),
        canonical_revision: next(),
        cluster: next(),
    }
}
