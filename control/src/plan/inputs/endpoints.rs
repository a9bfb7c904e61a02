//! What the endpoints of a cluster depend on.

use std::collections::BTreeMap;

use weft_policies::Object;
use weft_policies::kind::service_entry::ServiceEntry;

use crate::plan::Shared;
use crate::world::Endpoint;

/// The endpoints of one cluster (EDS resource, or the inline assignment of a DNS cluster).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointsInputs {
    /// Name of the cluster.
    pub cluster: String,
    /// Where they come from.
    pub source: EndpointsSource,
    /// Only endpoints with all these labels belong to the subset.
    pub labels: BTreeMap<String, String>,
    /// Leave out endpoints that are not ready instead of marking them (they would be used in panic mode).
    pub ready_only: bool,
    /// The mesh's own name of the cluster of machines, for the workload metadata.
    pub cluster_id: String,
}

/// Where endpoints come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointsSource {
    /// The endpoints of a Service, through its port of this name.
    Service {
        /// All endpoints of the Service.
        endpoints: Shared<Vec<Endpoint>>,
        /// Name of the service port.
        port: String,
    },
    /// What a ServiceEntry lists, through its port of this number.
    Entry {
        /// The object.
        entry: Shared<Object<ServiceEntry>>,
        /// Host of the entry, which stands in for its endpoints where it lists none.
        host: String,
        /// Number of the port.
        port: u16,
    },
    /// Pods that the `workloadSelector` of a ServiceEntry selects.
    Selected {
        /// The pods, their ports already chosen under the empty name.
        endpoints: Vec<Endpoint>,
    },
    /// One name (the target of an ExternalName service).
    Name {
        /// The name to resolve.
        host: String,
        /// The port to connect to.
        port: u16,
    },
    /// Nothing.
    Nowhere,
}
