//! A cluster as a snapshot names it, and its state, which outlives snapshots.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Version;
use rustc_hash::FxHashMap;
use weft_proxy_core::balance::{HashChoice, Load};
use weft_proxy_core::cluster::{Cluster as Config, ClusterKind, EndpointSet, UpstreamProtocol};

use super::admit::Admission;
use super::attempts::RetryCounters;
use super::connect::KeepaliveProbes;
use super::counters::MirrorCounters;
use super::endpoint::{EndpointKey, EndpointState, labels};
use super::hashed::HashedTables;
use super::observe::OutlierState;
use super::original::OriginalAddresses;
use super::pool::ReusePolicy;
use crate::telemetry::labels::DestinationLabels;

/// Envoy closes idle connections to upstreams after an hour unless told otherwise; a cluster whose configuration says
/// nothing has that value already, so that `None` means never.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) config: Arc<Config>,
    /// Place in the snapshot's table; never renumbered.
    pub(crate) slot: u32,
    pub(crate) state: Arc<ClusterState>,
    /// For requests that meet no endpoint.
    pub(crate) labels: Arc<DestinationLabels>,
}

impl Cluster {
    pub(crate) fn new(config: Arc<Config>, slot: u32, state: Arc<ClusterState>) -> Arc<Self> {
        state.admission.set_limits(&config.limits);
        state.outliers.set_detection(config.outlier.as_ref());
        if let ClusterKind::Static(set) = &config.kind {
            state.set_endpoints(&config, set.clone());
        }
        let labels = labels(&config, None);
        Arc::new(Self {
            config,
            slot,
            state,
            labels,
        })
    }

    pub(crate) fn reuse_policy(&self) -> ReusePolicy {
        ReusePolicy {
            requests_max: self.config.http.requests_per_connection_max,
            idle_max: self.config.http.idle_timeout,
            age_max: self.config.http.connection_duration_max,
        }
    }

    /// The version that is spoken to its endpoints for a client that spoke `downstream`.
    pub(crate) fn version(&self, downstream: Version) -> Version {
        match self.config.http.protocol {
            UpstreamProtocol::Http1 => Version::HTTP_11,
            UpstreamProtocol::Http2 => Version::HTTP_2,
            UpstreamProtocol::Downstream if downstream == Version::HTTP_2 => Version::HTTP_2,
            UpstreamProtocol::Downstream => Version::HTTP_11,
        }
    }

    pub(crate) fn keepalive(&self) -> Option<KeepaliveProbes> {
        self.config.tcp_keepalive.as_ref().map(|probes| KeepaliveProbes {
            retries: probes.probes,
            time: probes.time.map(|time| time.max(Duration::from_secs(1))),
            interval: probes.interval.map(|interval| interval.max(Duration::from_secs(1))),
        })
    }
}

/// Live state of a cluster, found by its name whenever a snapshot is built.
#[derive(Debug)]
pub(crate) struct ClusterState {
    /// The newest endpoints: an endpoint update swaps these and nothing else.
    endpoints: ArcSwap<LiveEndpoints>,
    /// Its limits, and who waits at them.
    pub(crate) admission: Arc<Admission>,
    /// Its outlier detection.
    pub(crate) outliers: Arc<OutlierState>,
    pub(crate) retries: RetryCounters,
    pub(crate) mirrors: Arc<MirrorCounters>,
    /// Addresses that clients dialled; empty unless that is where its endpoints come from.
    pub(crate) original: OriginalAddresses,
}

/// Endpoints with their state, place by place.
#[derive(Debug)]
pub(crate) struct LiveEndpoints {
    pub(crate) set: Arc<EndpointSet>,
    pub(crate) states: Box<[Arc<EndpointState>]>,
    /// For clusters that hash.
    pub(super) tables: HashedTables,
    outliers: Arc<OutlierState>,
}

impl Load for LiveEndpoints {
    fn active(&self, place: usize) -> u32 {
        self.states[place].active()
    }

    fn is_ejected(&self, place: usize) -> bool {
        self.states[place].is_ejected()
    }

    fn ejected(&self) -> usize {
        self.outliers.health.ejected() as usize
    }
}

impl ClusterState {
    pub(crate) fn new(config: &Config) -> Arc<Self> {
        let outliers = OutlierState::new(config.name.clone(), config.outlier.as_ref());
        Arc::new(Self {
            endpoints: ArcSwap::from_pointee(LiveEndpoints {
                set: Arc::default(),
                states: Box::default(),
                tables: HashedTables::default(),
                outliers: outliers.clone(),
            }),
            admission: Admission::new(&config.limits),
            outliers,
            retries: RetryCounters::default(),
            mirrors: Arc::default(),
            original: OriginalAddresses::default(),
        })
    }

    /// The newest endpoints.
    pub(crate) fn endpoints(&self) -> arc_swap::Guard<Arc<LiveEndpoints>> {
        self.endpoints.load()
    }

    /// Takes new endpoints. State of those that stay is kept, pools let go of those that leave.
    pub(crate) fn set_endpoints(&self, config: &Config, set: Arc<EndpointSet>) {
        let old = self.endpoints.load_full();
        let mut known: FxHashMap<&EndpointKey, &Arc<EndpointState>> =
            old.states.iter().map(|state| (&state.key, state)).collect();
        let states: Box<[_]> = set
            .endpoints()
            .iter()
            .map(|endpoint| match known.remove(&EndpointKey::of(endpoint)) {
                Some(state) => state.clone(),
                None => EndpointState::new(config, endpoint, &self.admission, &self.outliers),
            })
            .collect();
        // Before those that left stop counting as ejected: the cap may be held too strictly for a moment, never too loosely.
        self.outliers
            .health
            .set_hosts(u32::try_from(states.len()).unwrap_or(u32::MAX));
        known.into_values().for_each(|state| state.remove());
        let outliers = self.outliers.clone();
        let live = LiveEndpoints {
            set,
            states,
            tables: HashedTables::default(),
            outliers,
        };
        // Here rather than by the first request: a table can take longer than a worker should.
        if let Some(Ok(choice)) = HashChoice::new(config, &live.set, &live, 0) {
            live.tables.table(&choice, &live.set, &live);
        }
        self.endpoints.store(Arc::new(live));
    }

    /// Lets ejected endpoints come back whose time is over, and forgets addresses that nobody dials any more.
    pub(crate) fn sweep(&self) {
        self.outliers.sweep(&self.endpoints.load().states);
        self.outliers.sweep(&self.original.states());
        self.original.sweep();
    }
}

impl Drop for ClusterState {
    fn drop(&mut self) {
        self.endpoints.load().states.iter().for_each(|state| state.remove());
        self.original.clear();
    }
}
