//! What a cluster depends on.

use std::net::IpAddr;
use std::time::Duration;

use weft_policies::kind::connection_pool::TcpKeepalive;
use weft_policies::kind::destination_rule::TrafficPolicy;

use super::{ApplicationAddress, EndpointsInputs, Provenance};
use weft_policies::kind::protocol::Protocol;

/// A cluster (CDS resource).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClusterInputs {
    /// `outbound|9080|v1|reviews.default.svc.cluster.local`.
    pub name: String,
    /// Where its endpoints come from.
    pub kind: ClusterKind,
    /// Address that its connections come from, if it matters.
    pub source: Option<IpAddr>,
    /// The host behind it; absent for the two clusters that belong to no host.
    pub host: Option<HostFacts>,
    /// Name of the subset, if it is one.
    pub subset: Option<String>,
    /// The effective policy for it: levels of DestinationRules and defaults of the mesh already applied.
    pub policy: TrafficPolicy,
    /// The DestinationRule that the policy comes from, if any.
    pub rule: Option<Provenance>,
    /// Mesh-wide settings that policies leave open.
    pub mesh: MeshFacts,
}

/// Where the endpoints of a cluster come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClusterKind {
    /// From the control plane, by EDS.
    Eds,
    /// Names that the proxy resolves.
    Dns {
        /// The names and addresses.
        endpoints: EndpointsInputs,
        /// Only the first record of an answer is used (`DNS_ROUND_ROBIN`).
        first_record: bool,
    },
    /// The address that the client dialled.
    OriginalDestination,
    /// The application beside the proxy.
    Application(ApplicationAddress),
    /// None: connections are closed.
    BlackHole,
}

/// The host that a cluster belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostFacts {
    /// Full name.
    pub host: String,
    /// Name of the Service, or the host of the ServiceEntry.
    pub name: String,
    /// Namespace of the object that declares it.
    pub namespace: String,
    /// Port of the service.
    pub port: u16,
    /// What that port speaks.
    pub protocol: Protocol,
}

/// Mesh-wide settings of clusters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MeshFacts {
    /// Limit on connecting.
    pub connect_timeout: Duration,
    /// Keep-alive of idle TCP connections, for the attributes that a policy leaves open.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Whether ports declared HTTP are spoken to in HTTP/2.
    pub h2_upgrade: bool,
    /// Time until a failed DNS lookup is repeated.
    pub dns_refresh_rate: Duration,
}
