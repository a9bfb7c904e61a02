//! The only home of label and annotation names.

/// Version label that canonical revisions fall back to.
pub const VERSION: &str = "version";
/// Application label that canonical names fall back to.
pub const APP: &str = "app";
/// Kubernetes' recommended application label.
pub const APP_KUBERNETES_NAME: &str = "app.kubernetes.io/name";
/// Kubernetes' recommended version label.
pub const APP_KUBERNETES_VERSION: &str = "app.kubernetes.io/version";
/// Canonical name of a workload, stated.
pub const CANONICAL_NAME: &str = "service.istio.io/canonical-name";
/// Canonical revision of a workload, stated.
pub const CANONICAL_REVISION: &str = "service.istio.io/canonical-revision";
/// Locality of a workload, `region.zone.subzone`.
pub const LOCALITY: &str = "topology.istio.io/locality";
/// Older name of `LOCALITY`.
pub const LOCALITY_OLD: &str = "istio-locality";
/// Region of a node.
pub const REGION: &str = "topology.kubernetes.io/region";
/// Zone of a node.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// Subzone of a node.
pub const SUBZONE: &str = "topology.istio.io/subzone";
/// Network of a workload.
pub const NETWORK: &str = "topology.istio.io/network";
/// Node name, as a failover priority.
pub const HOSTNAME: &str = "kubernetes.io/hostname";
/// Revision of the control plane that an object is for.
pub const REVISION: &str = "istio.io/rev";
/// Whether a workload speaks mesh mutual TLS.
pub const TLS_MODE: &str = "security.istio.io/tlsMode";
/// Visibility of a Service (label or annotation).
pub const EXPORT_TO: &str = "networking.istio.io/exportTo";
/// Traffic distribution of a Service.
pub const TRAFFIC_DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";
/// The Service that an EndpointSlice belongs to.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Annotations of this prefix belong to Istio's own machinery; users may not set them.
pub const INTERNAL_PREFIX: &str = "internal.istio.io/";
/// Whether an AuthorizationPolicy is only evaluated.
pub const DRY_RUN: &str = "istio.io/dry-run";
/// Proxy settings of one Pod.
pub const PROXY_CONFIG: &str = "proxy.istio.io/config";
/// Where the application of a Pod listens, an IP address, if not at 127.0.0.1. Pods whose traffic is not captured only.
pub const APPLICATION_ADDRESS: &str = "weft.dev/application-address";
/// Analysis codes that the author of an object does not want to see.
pub const ANALYZE_SUPPRESS: &str = "galley.istio.io/analyze-suppress";

use std::collections::BTreeMap;

/// Whether `labels` contain every pair of `selector`. An empty selector selects everything.
pub fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}
