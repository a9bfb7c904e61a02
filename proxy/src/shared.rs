//! The whole list of what crosses threads: the snapshot pointer and what is fixed for the life of the process. State of
//! clusters and endpoints hangs off the snapshot; counts travel by message.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use crate::snapshot::Snapshot;
use crate::telemetry::labels::{DestinationLabels, RawDestination};

/// What Istio calls a destination that is refused.
const BLACK_HOLE: &str = "BlackHoleCluster";

/// Seen by every thread of the proxy.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What is served now. Swapped by the main thread only.
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    /// Labels of a destination that no configuration names.
    pub(crate) unknown_destination: Arc<DestinationLabels>,
    /// Labels of what the policy for unknown destinations refuses.
    pub(crate) blocked_destination: Arc<DestinationLabels>,
    /// Downstream connections per worker.
    pub(crate) connections_max: usize,
    /// How long a connection may go on that was told to end and cannot be asked to.
    pub(crate) drain: Duration,
    /// Name of this host, for `%HOSTNAME%`.
    pub(crate) hostname: String,
    /// The environment as it was at the start, for `%ENVIRONMENT(…)%`.
    pub(crate) environment: FxHashMap<String, String>,
    /// When the process started, by the calendar and by the clock.
    pub(crate) started_at: SystemTime,
    pub(crate) started: Instant,
}

impl Shared {
    pub(crate) fn new(
        connections_max: usize,
        drain: Duration,
        hostname: String,
        environment: FxHashMap<String, String>,
        started_at: SystemTime,
    ) -> Arc<Self> {
        Arc::new(Self {
            snapshot: Arc::default(),
            unknown_destination: DestinationLabels::new(RawDestination::default()),
            blocked_destination: DestinationLabels::new(RawDestination {
                service: Some(BLACK_HOLE.into()),
                service_name: Some(BLACK_HOLE.into()),
                ..RawDestination::default()
            }),
            connections_max,
            drain,
            hostname,
            environment,
            started_at,
            started: Instant::now(),
        })
    }
}
