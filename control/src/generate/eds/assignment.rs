//! The endpoints of a cluster, by locality.

use std::collections::BTreeMap;
use std::net::IpAddr;

use weft_policies::kind::service_entry::{Resolution, ServiceEntry};
use weft_policies::labels;
use weft_xds::{Resource, pb};

use super::origin;
use crate::generate::wire;
use crate::plan::inputs::{EndpointsInputs, EndpointsSource};
use crate::world::{Endpoint, Locality, Readiness};

/// Generates the endpoints of a cluster.
pub fn endpoints(inputs: &EndpointsInputs) -> Resource {
    Resource::encode(&inputs.cluster, &assignment(inputs))
}

/// The assignment itself, which clusters that resolve names carry within.
pub(in crate::generate) fn assignment(inputs: &EndpointsInputs) -> pb::endpoint::ClusterLoadAssignment {
    let mut localities: BTreeMap<Locality, Vec<Member>> = BTreeMap::new();
    for member in members(inputs) {
        localities.entry(member.locality.clone()).or_default().push(member);
    }
    let endpoints = localities.into_iter().map(|(locality, mut members)| {
        members.sort_by(|a, b| (&a.host, a.port, &a.workload).cmp(&(&b.host, b.port, &b.workload)));
        let weight = members
            .iter()
            .fold(0_u32, |sum, member| sum.saturating_add(member.weight));
        pb::endpoint::LocalityLbEndpoints {
            locality: (locality != Locality::default()).then_some(pb::core::Locality {
                region: locality.region,
                zone: locality.zone,
                sub_zone: locality.sub_zone,
            }),
            lb_endpoints: members.iter().map(|member| lb_endpoint(member, inputs)).collect(),
            load_balancing_weight: Some(wire::u32_value(weight)),
            ..Default::default()
        }
    });
    pb::endpoint::ClusterLoadAssignment {
        cluster_name: inputs.cluster.clone(),
        endpoints: endpoints.collect(),
        ..Default::default()
    }
}

/// One endpoint, wherever it was declared.
struct Member {
    host: String,
    port: u16,
    ready: bool,
    weight: u32,
    locality: Locality,
    workload: String,
    namespace: String,
    labels: BTreeMap<String, String>,
}

fn members(inputs: &EndpointsInputs) -> Vec<Member> {
    let all = match &inputs.source {
        EndpointsSource::Service { endpoints, port } => endpoints
            .iter()
            .filter_map(|endpoint| of_service(endpoint, port))
            .collect(),
        EndpointsSource::Selected { endpoints } => endpoints
            .iter()
            .filter_map(|endpoint| of_service(endpoint, ""))
            .collect(),
        EndpointsSource::Entry { entry, host, port } => listed(&entry.spec, host, *port),
        EndpointsSource::Name { host, port } => vec![named(host, *port)],
        EndpointsSource::Nowhere => Vec::new(),
    };
    let mut all: Vec<Member> = all;
    all.retain(|member| labels::selects(&inputs.labels, &member.labels) && (member.ready || !inputs.ready_only));
    all
}

/// An endpoint that shuts down gets nothing new, so it is not among the group.
fn of_service(endpoint: &Endpoint, port: &str) -> Option<Member> {
    Some(Member {
        host: endpoint.address.to_string(),
        port: *endpoint.ports.get(port)?,
        ready: match endpoint.readiness {
            Readiness::Ready => true,
            Readiness::NotReady => false,
            Readiness::Terminating => return None,
        },
        weight: endpoint.weight.max(1),
        locality: endpoint.locality.clone(),
        workload: endpoint.workload.clone(),
        namespace: endpoint.namespace.clone(),
        labels: endpoint.labels.as_ref().clone(),
    })
}

fn named(host: &str, port: u16) -> Member {
    Member {
        host: host.to_owned(),
        port,
        ready: true,
        weight: 1,
        locality: Locality::default(),
        workload: String::new(),
        namespace: String::new(),
        labels: BTreeMap::new(),
    }
}

/// The endpoints that a ServiceEntry lists; where names are resolved and none is listed, its host stands for itself.
/// The port: the endpoint's own for the port's name, else the target port, else the port.
fn listed(entry: &ServiceEntry, host: &str, number: u16) -> Vec<Member> {
    let Some(port) = entry.ports.iter().find(|port| port.number == u32::from(number)) else {
        return Vec::new();
    };
    let own = |number: u32| u16::try_from(number).unwrap_or_default();
    let target = own(port.target_port.unwrap_or(port.number));
    let by_name = matches!(entry.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
    if entry.endpoints.is_empty() && by_name {
        return vec![named(host, target)];
    }
    let members = entry.endpoints.iter().map(|endpoint| Member {
        port: endpoint.ports.get(&port.name).map_or(target, |number| own(*number)),
        weight: endpoint.weight.unwrap_or(1).max(1),
        locality: locality(endpoint.locality.as_deref().unwrap_or_default()),
        labels: endpoint.labels.clone(),
        ..named(&endpoint.address, target)
    });
    // A client that is given endpoints is given addresses; only one that resolves names takes names.
    let is_address = |host: &str| host.parse::<IpAddr>().is_ok() || host.starts_with("unix://");
    members.filter(|member| by_name || is_address(&member.host)).collect()
}

/// `region/zone/subzone`, as far as it goes.
fn locality(text: &str) -> Locality {
    let mut parts = text.splitn(3, '/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Locality {
        region: next(),
        zone: next(),
        sub_zone: next(),
    }
}

fn lb_endpoint(member: &Member, inputs: &EndpointsInputs) -> pb::endpoint::LbEndpoint {
    let health = if member.ready {
        pb::core::HealthStatus::Healthy
    } else {
        pb::core::HealthStatus::Unhealthy
    };
    pb::endpoint::LbEndpoint {
        health_status: health.into(),
        metadata: origin::metadata(&member.workload, &member.namespace, &member.labels, &inputs.cluster_id),
        load_balancing_weight: Some(wire::u32_value(member.weight)),
        host_identifier: Some(pb::endpoint::lb_endpoint::HostIdentifier::Endpoint(
            pb::endpoint::Endpoint {
                address: Some(address(&member.host, member.port)),
                ..Default::default()
            },
        )),
    }
}

/// `unix:///path` is a socket in the file system, everything else a host.
fn address(host: &str, port: u16) -> pb::core::Address {
    match host.strip_prefix("unix://") {
        Some(path) => wire::pipe(path),
        None => wire::host_address(host, port),
    }
}
