//! in → out: checked values → `Cluster` and `EndpointSet`, whose invariants hold by construction.
//! owns: what a cluster is, its policies as data, endpoints, their merging and limits.
//! may not touch: live counters, connections, picking.

mod endpoint;
mod names;
mod policy;
mod statuses;

pub use endpoint::{
    ENDPOINTS_MAX, Endpoint, EndpointError, EndpointSet, Health, Locality, OVERPROVISIONING_PERCENT, PRIORITIES_MAX,
    PriorityRange, Workload,
};
pub use names::{ADDRESSES_PER_NAME_MAX, Family, Looked, Name, Names, Refresh};
pub use policy::{
    Balance, Cluster, ClusterKind, DestinationLabels, HashTable, Limits, OriginalDst, OutlierDetection, RetryBudget,
    Sources, TcpKeepalive, Transport, UpstreamHttp, UpstreamProtocol,
};
pub use statuses::Statuses;
