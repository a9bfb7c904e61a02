use std::sync::Arc;
use std::time::Duration;

use crate::route::{ClusterRef, SplitPattern, SplitState};

/// A connection that is copied to a cluster.
#[derive(Debug)]
pub struct TcpProxy {
    /// Prefix of counters.
    pub stat_prefix: Arc<str>,
    /// Where to.
    pub destination: TcpDestination,
    /// Both directions silent for so long: closed; `None` never.
    pub idle_timeout: Option<Duration>,
    /// Longest life of a connection; `None` without bound.
    pub duration_max: Option<Duration>,
    /// Tries to connect.
    pub connect_attempts_max: u32,
}

/// Where connections go.
#[derive(Debug)]
pub enum TcpDestination {
    /// Always here.
    One(ClusterRef),
    /// By weight.
    Weighted {
        /// The clusters and their weights.
        clusters: Vec<(ClusterRef, u32)>,
        /// Which place is whose.
        pattern: SplitPattern,
        /// The shared sequence.
        state: Arc<SplitState>,
    },
}

impl TcpProxy {
    /// The cluster of the next connection.
    pub fn choose(&self) -> &ClusterRef {
        match &self.destination {
            TcpDestination::One(cluster) => cluster,
            TcpDestination::Weighted {
                clusters,
                pattern,
                state,
            } => &clusters[pattern.pick(state.advance())].0,
        }
    }
}
