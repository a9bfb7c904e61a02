//! A cluster out of its inputs.

use weft_policies::kind::destination_rule::LbPolicy;
use weft_xds::{Resource, pb};

use super::{balance, limits, origin, protocol, tls};
use crate::generate::{eds, wire};
use crate::plan::inputs::{ApplicationAddress, ClusterInputs, ClusterKind};
use pb::cluster::cluster::{ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, EdsClusterConfig, LbPolicy as Pick};

/// Generates the cluster.
pub fn cluster(inputs: &ClusterInputs) -> Resource {
    Resource::encode(&inputs.name, &message(inputs))
}

fn message(inputs: &ClusterInputs) -> pb::cluster::Cluster {
    let policy = &inputs.policy;
    let pool = policy.connection_pool.as_ref();
    let connect_timeout = pool.and_then(|pool| pool.tcp.as_ref()?.connect_timeout);
    let mut cluster = pb::cluster::Cluster {
        name: inputs.name.clone(),
        connect_timeout: Some(wire::duration(connect_timeout.unwrap_or(inputs.mesh.connect_timeout))),
        metadata: origin::metadata(inputs),
        ..Default::default()
    };
    discover(&mut cluster, inputs);
    cluster.upstream_bind_config = inputs.source.map(wire::bind);
    if inputs.kind == ClusterKind::BlackHole {
        return cluster;
    }
    if cluster.lb_policy != i32::from(Pick::ClusterProvided) {
        balance::apply(&mut cluster, policy.load_balancer.as_ref());
    }
    limits::apply(&mut cluster, policy, inputs.mesh.tcp_keepalive.as_ref());
    protocol::apply(&mut cluster, inputs);
    if let (Some(tls), Some(host)) = (&policy.tls, &inputs.host) {
        cluster.transport_socket = tls::transport_socket(tls, host.protocol.is_http2());
    }
    cluster
}

/// Says where endpoints come from. Balancing by `PASSTHROUGH` overrides what the host declares.
fn discover(cluster: &mut pb::cluster::Cluster, inputs: &ClusterInputs) {
    let as_dialled = inputs
        .policy
        .load_balancer
        .as_ref()
        .is_some_and(|lb| lb.policy == LbPolicy::Passthrough);
    let kind = match &inputs.kind {
        ClusterKind::BlackHole => DiscoveryType::Static,
        ClusterKind::OriginalDestination => DiscoveryType::OriginalDst,
        _ if as_dialled => DiscoveryType::OriginalDst,
        ClusterKind::Application(address) => application(cluster, &inputs.name, address),
        ClusterKind::Eds => {
            cluster.eds_cluster_config = Some(EdsClusterConfig {
                eds_config: Some(wire::ads()),
                service_name: inputs.name.clone(),
            });
            DiscoveryType::Eds
        }
        ClusterKind::Dns {
            endpoints,
            first_record,
        } => {
            let assignment = eds::assignment(endpoints);
            // Envoy refuses to take the first record of anything but a single name.
            let single = assignment
                .endpoints
                .iter()
                .map(|locality| locality.lb_endpoints.len())
                .sum::<usize>()
                == 1;
            cluster.load_assignment = Some(assignment);
            resolve(cluster, inputs);
            if *first_record && single {
                DiscoveryType::LogicalDns
            } else {
                DiscoveryType::StrictDns
            }
        }
    };
    if kind == DiscoveryType::OriginalDst {
        cluster.lb_policy = Pick::ClusterProvided.into();
    }
    cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(kind.into()));
}

/// The one endpoint that an application is, or the address that was dialled.
fn application(cluster: &mut pb::cluster::Cluster, name: &str, address: &ApplicationAddress) -> DiscoveryType {
    use pb::endpoint::lb_endpoint::HostIdentifier;
    let address = match address {
        ApplicationAddress::AsDialled => return DiscoveryType::OriginalDst,
        ApplicationAddress::Tcp(address) => wire::address(address.ip(), address.port()),
        ApplicationAddress::Socket(path) => wire::pipe(path),
    };
    cluster.load_assignment = Some(pb::endpoint::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![pb::endpoint::LocalityLbEndpoints {
            lb_endpoints: vec![pb::endpoint::LbEndpoint {
                host_identifier: Some(HostIdentifier::Endpoint(pb::endpoint::Endpoint {
                    address: Some(address),
                    ..Default::default()
                })),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    });
    DiscoveryType::Static
}

/// How names are resolved: again when the answer expires, and after a failure as the mesh says.
#[allow(deprecated)] // Their successors are a cluster type that the Envoys in use do not all know.
fn resolve(cluster: &mut pb::cluster::Cluster, inputs: &ClusterInputs) {
    cluster.dns_refresh_rate = Some(wire::duration(inputs.mesh.dns_refresh_rate));
    cluster.respect_dns_ttl = true;
    cluster.dns_lookup_family = DnsLookupFamily::V4Preferred.into();
}
