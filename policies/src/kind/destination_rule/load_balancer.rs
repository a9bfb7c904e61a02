//! Choice of endpoints.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::percent::{Finite, Percent};

/// `loadBalancer`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct LoadBalancer {
    /// Algorithm.
    pub policy: LbPolicy,
    /// Locality; unset: Service, then mesh.
    pub locality_lb_setting: Option<LocalityLb>,
    /// Zone-aware balancing. Excludes `locality_lb_setting`.
    pub zone_aware_lb_setting: Option<ZoneAwareLb>,
    /// Slow start.
    pub warmup: Option<Warmup>,
}

/// The algorithm: `simple` or `consistentHash`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum LbPolicy {
    /// Not said: least request.
    #[default]
    Unspecified,
    /// Two random picks, the less busy one.
    LeastRequest,
    /// Rotation.
    RoundRobin,
    /// Random.
    Random,
    /// The address that the client dialled.
    Passthrough,
    /// By hash of a key.
    ConsistentHash(ConsistentHash),
}

/// `consistentHash`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConsistentHash {
    /// What is hashed.
    pub key: HashKey,
    /// How hashes find endpoints.
    pub algorithm: HashAlgorithm,
}

/// What is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HashKey {
    /// Values of this header.
    Header(String),
    /// This cookie.
    Cookie(HashCookie),
    /// The client's address.
    SourceIp,
    /// First value of this query parameter.
    QueryParameter(String),
}

/// `httpCookie`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct HashCookie {
    /// Name.
    pub name: String,
    /// Path attribute of a generated cookie.
    pub path: Option<String>,
    /// Max-Age; zero: a session cookie; unset: never generated.
    pub ttl: Option<Duration>,
    /// More attributes.
    pub attributes: Vec<CookieAttribute>,
}

/// An attribute of a generated cookie.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CookieAttribute {
    /// Name.
    pub name: String,
    /// Value; empty: the bare name.
    pub value: String,
}

/// How hashes find endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// A ring with at least this many points.
    RingHash {
        /// Unset: 1024.
        minimum_ring_size: Option<u64>,
    },
    /// A Maglev table of this size.
    Maglev {
        /// Prime; unset: 65537.
        table_size: Option<u64>,
    },
}

/// `localityLbSetting`, of a rule or of the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct LocalityLb {
    /// Shares by locality. Excludes both failovers.
    pub distribute: Vec<LocalityDistribute>,
    /// Which region takes over.
    pub failover: Vec<LocalityFailover>,
    /// Labels that rank endpoints.
    pub failover_priority: Vec<String>,
    /// Unset: inherited.
    pub enabled: Option<bool>,
}

/// One entry of `distribute[]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct LocalityDistribute {
    /// Locality of the client.
    pub from: String,
    /// Percent by locality of endpoints; they sum to 100.
    pub to: BTreeMap<String, u32>,
}

/// One entry of `failover[]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct LocalityFailover {
    /// Region of the client.
    pub from: String,
    /// Region that takes over.
    pub to: String,
}

/// `zoneAwareLbSetting`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ZoneAwareLb {
    /// Unset: off.
    pub enabled: Option<bool>,
    /// Which region takes over.
    pub failover: Vec<LocalityFailover>,
    /// Labels that rank endpoints.
    pub failover_priority: Vec<String>,
    /// Fewer endpoints than this: off; unset: 6.
    pub min_cluster_size: Option<u64>,
}

/// `warmup`; from `warmupDurationSecs` where only that is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Warmup {
    /// Time until a new endpoint has its full share.
    pub duration: Duration,
    /// Share at the start; unset: 10 %.
    pub minimum_percent: Option<Percent>,
    /// Curve; unset: 1, linear.
    pub aggression: Option<Finite>,
}
