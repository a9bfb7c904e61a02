//! Live state of one endpoint of one cluster.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use weft_proxy_core::cluster::{Cluster, Endpoint, Workload};
use weft_proxy_core::limit::Permit;

use super::admit::{Admission, Overflow};
use super::counters::Counter;
use super::observe::{EndpointRecord, OutlierState};
use crate::telemetry::labels::{DestinationLabels, RawDestination};

/// Relaxed: only uniqueness counts.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// Who an endpoint is. The same address under another workload is another endpoint: a reused pod IP starts fresh.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct EndpointKey {
    pub(crate) address: SocketAddr,
    pub(crate) workload: Option<Arc<Workload>>,
}

impl EndpointKey {
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        Self {
            address: endpoint.address,
            workload: endpoint.workload.clone(),
        }
    }
}

/// What is counted per endpoint since it was first seen.
#[derive(Debug, Default)]
pub(crate) struct EndpointCounters {
    pub(crate) connects: Counter,
    pub(crate) connect_failures: Counter,
    pub(crate) requests: Counter,
    pub(crate) failures: Counter,
}

/// Shared by all workers, kept while any endpoint set has the endpoint.
#[derive(Debug)]
pub(crate) struct EndpointState {
    /// Identity within the process; pools are keyed by it.
    pub(crate) id: u64,
    pub(crate) key: EndpointKey,
    pub(crate) address: SocketAddr,
    pub(crate) labels: Arc<DestinationLabels>,
    pub(crate) counters: EndpointCounters,
    /// The limits of its cluster.
    pub(crate) admission: Arc<Admission>,
    /// The outlier detection of its cluster.
    pub(super) outliers: Arc<OutlierState>,
    /// Its own part of it.
    pub(crate) record: EndpointRecord,
    /// Requests in flight. Relaxed: load balancing compares it, nothing is published through it.
    active: AtomicU32,
    removed: AtomicBool,
}

impl EndpointState {
    pub(crate) fn new(
        cluster: &Cluster,
        endpoint: &Endpoint,
        admission: &Arc<Admission>,
        outliers: &Arc<OutlierState>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            key: EndpointKey::of(endpoint),
            address: endpoint.address,
            labels: labels(cluster, endpoint.workload.as_deref()),
            counters: EndpointCounters::default(),
            admission: admission.clone(),
            outliers: outliers.clone(),
            record: EndpointRecord::default(),
            active: AtomicU32::new(0),
            removed: AtomicBool::new(false),
        })
    }

    /// The endpoint of an address that a client dialled. What metrics call it is its cluster: no client makes labels.
    pub(super) fn dialled(cluster: &super::cluster::Cluster, address: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            key: EndpointKey {
                address,
                workload: None,
            },
            address,
            labels: cluster.labels.clone(),
            counters: EndpointCounters::default(),
            admission: cluster.state.admission.clone(),
            outliers: cluster.state.outliers.clone(),
            record: EndpointRecord::default(),
            active: AtomicU32::new(0),
            removed: AtomicBool::new(false),
        })
    }

    pub(crate) fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// A connection that is no HTTP begins; it ends when the guard is dropped.
    pub(crate) fn start(self: &Arc<Self>) -> ActiveGuard {
        self.counters.requests.increment();
        self.start_request()
    }

    /// A request turns to this endpoint, until the guard is dropped; it is in flight from [`ActiveGuard::admit`] on.
    pub(crate) fn start_request(self: &Arc<Self>) -> ActiveGuard {
        self.active.fetch_add(1, Relaxed);
        ActiveGuard {
            endpoint: self.clone(),
            permit: None,
        }
    }

    /// The endpoint has left its cluster: pools let go of its connections, and it no longer counts among the ejected.
    pub(crate) fn remove(&self) {
        self.removed.store(true, Relaxed);
        self.record.health.remove(&self.outliers.health);
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Relaxed)
    }
}

/// One request at an endpoint.
#[derive(Debug)]
pub(crate) struct ActiveGuard {
    endpoint: Arc<EndpointState>,
    permit: Option<Permit>,
}

impl ActiveGuard {
    /// The request has a connection: it is in flight, unless the cluster has as many as it may. Envoy: a request that waits
    /// for its connection is pending, and counts against `max_requests` only once it has one.
    pub(crate) fn admit(&mut self) -> Result<(), Overflow> {
        if self.permit.is_none() {
            self.permit = Some(self.endpoint.admission.start_request()?);
            self.endpoint.counters.requests.increment();
        }
        Ok(())
    }

    /// Where it is in flight.
    pub(crate) fn endpoint(&self) -> &Arc<EndpointState> {
        &self.endpoint
    }
}

impl Drop for ActiveGuard {
    fn drop(&mut self) {
        self.endpoint.active.fetch_sub(1, Relaxed);
        if let Some(permit) = self.permit.take() {
            self.endpoint.admission.end_request(permit);
        }
    }
}

/// Labels of a cluster without, or with, the workload that an endpoint belongs to. Istio knows app and version of the other
/// side from the peer; configuration gives the canonical service and revision in their place.
pub(crate) fn labels(cluster: &Cluster, workload: Option<&Workload>) -> Arc<DestinationLabels> {
    let destination = &cluster.destination;
    let text = |get: fn(&Workload) -> &str| workload.map(|workload| Arc::from(get(workload)));
    DestinationLabels::new(RawDestination {
        workload: text(|w| &w.name),
        workload_namespace: text(|w| &w.namespace),
        app: text(|w| &w.canonical_name),
        version: text(|w| &w.canonical_revision),
        canonical_service: text(|w| &w.canonical_name),
        canonical_revision: text(|w| &w.canonical_revision),
        cluster: text(|w| &w.cluster),
        service: Some(destination.service.clone()),
        service_name: Some(destination.service_name.clone()),
        service_namespace: Some(destination.service_namespace.clone()),
    })
}
