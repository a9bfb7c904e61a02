//! ServiceEntry: services that Kubernetes does not know.

use std::collections::BTreeMap;

use crate::kind::protocol::Protocol;

/// `networking.istio.io` ServiceEntry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ServiceEntry {
    /// Names under which clients address it.
    pub hosts: Vec<String>,
    /// Virtual addresses: IP or CIDR.
    pub addresses: Vec<String>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Inside or outside of the mesh.
    pub location: Location,
    /// How endpoints are found.
    pub resolution: Resolution,
    /// Endpoints given inline.
    pub endpoints: Vec<WorkloadEntry>,
    /// Labels of the Pods and WorkloadEntries that are endpoints.
    pub workload_selector: Option<BTreeMap<String, String>>,
    /// Namespaces that see the service; empty: the mesh default.
    pub export_to: Vec<String>,
    /// Names that server certificates must carry.
    pub subject_alt_names: Vec<String>,
}

/// A port of a ServiceEntry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ServicePort {
    /// Number that clients use.
    pub number: u32,
    /// What is spoken.
    pub protocol: Protocol,
    /// Unique name.
    pub name: String,
    /// Port of the endpoints; unset: `number`.
    pub target_port: Option<u32>,
}

/// `location`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Location {
    /// Outside: no automatic mutual TLS.
    #[default]
    MeshExternal,
    /// Part of the mesh.
    MeshInternal,
}

/// `resolution`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Resolution {
    /// The client's own destination address is kept.
    #[default]
    None,
    /// The endpoints as given.
    Static,
    /// Names are resolved; every record is an endpoint.
    Dns,
    /// Names are resolved; one record at a time.
    DnsRoundRobin,
    /// The name is taken from each request.
    DynamicDns,
}

/// A workload that is no Pod: an inline endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct WorkloadEntry {
    /// IP, DNS name, or `unix://` path.
    pub address: String,
    /// Port by service port name.
    pub ports: BTreeMap<String, u32>,
    /// Labels, for subsets and policies.
    pub labels: BTreeMap<String, String>,
    /// Network it is on.
    pub network: Option<String>,
    /// `region/zone/subzone`.
    pub locality: Option<String>,
    /// Share among the endpoints; unset: 1.
    pub weight: Option<u32>,
    /// Identity of the workload.
    pub service_account: Option<String>,
}
