//! Label sets, resolved when configuration is built.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use weft_proxy_core::chain::Direction;

const UNKNOWN: &str = "unknown";
const LATEST: &str = "latest";
/// Istio's cluster for what no service of the workload claims.
const INBOUND_PASSTHROUGH: &str = "InboundPassthroughCluster";

/// Who this proxy is, in Istio's labels. The same for every series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnLabels {
    /// Name of the workload that owns the pod.
    pub workload: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Label `app`.
    pub app: String,
    /// Label `version`.
    pub version: String,
    /// Label `service.istio.io/canonical-name`.
    pub canonical_service: String,
    /// Label `service.istio.io/canonical-revision`.
    pub canonical_revision: String,
    /// Identifier of the Kubernetes cluster.
    pub cluster: String,
}

impl Default for OwnLabels {
    fn default() -> Self {
        let unknown = || UNKNOWN.to_owned();
        Self {
            workload: unknown(),
            namespace: unknown(),
            app: unknown(),
            version: unknown(),
            canonical_service: unknown(),
            canonical_revision: LATEST.to_owned(),
            cluster: unknown(),
        }
    }
}

/// Whose view a figure is (Istio's label `reporter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Reporter {
    /// The proxy of the client, and gateways.
    Source,
    /// The proxy beside the server.
    Destination,
}

impl From<Direction> for Reporter {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Inbound => Self::Destination,
            Direction::Outbound | Direction::Unspecified => Self::Source,
        }
    }
}

/// The labels that say who spoke to whom, in the order in which they are printed. This proxy is the one end, `other` what
/// configuration knows of the destination. Who the client of a server's proxy is, only mutual TLS would tell.
pub(super) fn ends(
    own: &OwnLabels,
    reporter: Reporter,
    other: &[(&'static str, Arc<str>)],
) -> Vec<(&'static str, String)> {
    let unknown = OwnLabels::default();
    let (name, source) = match reporter {
        Reporter::Source => ("source", own),
        Reporter::Destination => ("destination", &unknown),
    };
    let mut labels = vec![
        ("reporter", name.to_owned()),
        ("source_workload", source.workload.clone()),
        ("source_workload_namespace", source.namespace.clone()),
        ("source_principal", UNKNOWN.to_owned()),
        ("source_app", source.app.clone()),
        ("source_version", source.version.clone()),
        ("source_canonical_service", source.canonical_service.clone()),
        ("source_canonical_revision", source.canonical_revision.clone()),
        ("source_cluster", source.cluster.clone()),
    ];
    labels.extend(other.iter().map(|(name, value)| {
        let of_own = match (reporter, *name) {
            (Reporter::Source, _) => None,
            (Reporter::Destination, "destination_workload") => Some(&own.workload),
            (Reporter::Destination, "destination_workload_namespace" | "destination_service_namespace") => {
                Some(&own.namespace)
            }
            (Reporter::Destination, "destination_app") => Some(&own.app),
            (Reporter::Destination, "destination_version") => Some(&own.version),
            (Reporter::Destination, "destination_canonical_service") => Some(&own.canonical_service),
            (Reporter::Destination, "destination_canonical_revision") => Some(&own.canonical_revision),
            (Reporter::Destination, "destination_cluster") => Some(&own.cluster),
            // No service claims the port: the workload's own name has to do (Istio).
            (Reporter::Destination, "destination_service") if **value == *UNKNOWN || is_group(value) => {
                Some(&own.canonical_service)
            }
            (Reporter::Destination, "destination_service_name") if **value == *UNKNOWN || value.contains('|') => {
                Some(&own.canonical_service)
            }
            (Reporter::Destination, _) => None,
        };
        (*name, of_own.map_or_else(|| value.to_string(), String::clone))
    }));
    labels
}

/// Whether a service is in truth the name of a cluster that no service stands behind.
fn is_group(service: &str) -> bool {
    service.contains('|') || service == INBOUND_PASSTHROUGH
}

/// `connection_security_policy`: what only the server's end can say.
pub(super) fn security_policy(reporter: Reporter) -> &'static str {
    match reporter {
        Reporter::Source => UNKNOWN,
        Reporter::Destination => "none",
    }
}

/// The other end of a request, as far as configuration knows it. Never holds a client's text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DestinationLabels {
    /// Identity within the process: what a worker's table is keyed by.
    pub(crate) id: u32,
    pub(crate) workload: Arc<str>,
    pub(crate) workload_namespace: Arc<str>,
    pub(crate) app: Arc<str>,
    pub(crate) version: Arc<str>,
    pub(crate) canonical_service: Arc<str>,
    pub(crate) canonical_revision: Arc<str>,
    pub(crate) cluster: Arc<str>,
    pub(crate) service: Arc<str>,
    pub(crate) service_name: Arc<str>,
    pub(crate) service_namespace: Arc<str>,
}

/// The parts of [`DestinationLabels`]; what is `None` is printed as Istio prints the unknown.
#[derive(Debug, Default, Clone)]
pub(crate) struct RawDestination {
    pub(crate) workload: Option<Arc<str>>,
    pub(crate) workload_namespace: Option<Arc<str>>,
    pub(crate) app: Option<Arc<str>>,
    pub(crate) version: Option<Arc<str>>,
    pub(crate) canonical_service: Option<Arc<str>>,
    pub(crate) canonical_revision: Option<Arc<str>>,
    pub(crate) cluster: Option<Arc<str>>,
    pub(crate) service: Option<Arc<str>>,
    pub(crate) service_name: Option<Arc<str>>,
    pub(crate) service_namespace: Option<Arc<str>>,
}

/// Relaxed: only uniqueness counts.
static NEXT_ID: AtomicU32 = AtomicU32::new(0);

impl DestinationLabels {
    /// A new identity for these labels.
    pub(crate) fn new(raw: RawDestination) -> Arc<Self> {
        let or = |value: Option<Arc<str>>, default: &str| {
            value.filter(|v| !v.is_empty()).unwrap_or_else(|| Arc::from(default))
        };
        Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            workload: or(raw.workload, UNKNOWN),
            workload_namespace: or(raw.workload_namespace, UNKNOWN),
            app: or(raw.app, UNKNOWN),
            version: or(raw.version, UNKNOWN),
            canonical_service: or(raw.canonical_service, UNKNOWN),
            canonical_revision: or(raw.canonical_revision, LATEST),
            cluster: or(raw.cluster, UNKNOWN),
            service: or(raw.service, UNKNOWN),
            service_name: or(raw.service_name, UNKNOWN),
            service_namespace: or(raw.service_namespace, UNKNOWN),
        })
    }

    /// The labels in the order in which they are printed.
    pub(crate) fn pairs(&self) -> [(&'static str, Arc<str>); 11] {
        let unknown: Arc<str> = Arc::from(UNKNOWN);
        [
            ("destination_workload", self.workload.clone()),
            ("destination_workload_namespace", self.workload_namespace.clone()),
            ("destination_principal", unknown),
            ("destination_app", self.app.clone()),
            ("destination_version", self.version.clone()),
            ("destination_service", self.service.clone()),
            ("destination_canonical_service", self.canonical_service.clone()),
            ("destination_canonical_revision", self.canonical_revision.clone()),
            ("destination_service_name", self.service_name.clone()),
            ("destination_service_namespace", self.service_namespace.clone()),
            ("destination_cluster", self.cluster.clone()),
        ]
    }
}
