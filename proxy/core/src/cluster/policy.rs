use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::EndpointSet;
use super::names::Names;
use super::statuses::Statuses;
use crate::Provenance;

/// A named upstream set with its policies.
#[derive(Debug)]
pub struct Cluster {
    /// The name.
    pub name: Arc<str>,
    /// Where its endpoints come from.
    pub kind: ClusterKind,
    /// How an endpoint is picked.
    pub balance: Balance,
    /// Below this share of healthy endpoints (percent) health is ignored; 0 never.
    pub panic_threshold_percent: f64,
    /// Limit of dialling, handshakes included.
    pub connect_timeout: Duration,
    /// What its connections are wrapped in.
    pub transport: Transport,
    /// Circuit breakers of the default priority.
    pub limits: Limits,
    /// Outlier detection, if any.
    pub outlier: Option<OutlierDetection>,
    /// How HTTP is spoken to it.
    pub http: UpstreamHttp,
    /// Where its connections come from.
    pub sources: Sources,
    /// Keepalive probes on its connections.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// What metrics call it.
    pub destination: DestinationLabels,
    /// Where it comes from.
    pub provenance: Option<Provenance>,
}

/// What connections to a cluster are wrapped in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Nothing.
    #[default]
    Plain,
    /// TLS.
    Tls {
        /// Server name that is asked for, if the configuration fixes one.
        sni: Option<Arc<str>>,
    },
}

/// Where endpoints come from.
#[derive(Debug)]
pub enum ClusterKind {
    /// An endpoint resource of this name.
    Eds(Arc<str>),
    /// The cluster itself.
    Static(Arc<EndpointSet>),
    /// Names that the proxy resolves.
    Dns(Names),
    /// The address that the client dialled.
    OriginalDst(OriginalDst),
}

/// How a cluster follows its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OriginalDst {
    /// Takes the place of the port that the client dialled.
    pub port: Option<u16>,
    /// An address that nothing uses is forgotten after this time, at the latest after twice of it.
    pub cleanup_interval: Duration,
}

impl OriginalDst {
    /// Where a connection is sent whose client dialled `destination`.
    pub fn target(&self, destination: SocketAddr) -> SocketAddr {
        SocketAddr::new(destination.ip(), self.port.unwrap_or(destination.port()))
    }
}

/// Where connections to a cluster come from; without an address the system chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Sources(Box<[SocketAddr]>);

impl Sources {
    /// These addresses, the first being preferred. Port 0 lets the system choose the port.
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self(addresses.into_iter().collect())
    }

    /// The source of a connection to `target`: the first of its family. Where there is none, the first of all is taken, so
    /// that dialling fails rather than going out from an address that nobody asked for (Envoy: the default selector of local
    /// addresses).
    pub fn of(&self, target: SocketAddr) -> Option<SocketAddr> {
        let fits = |source: &&SocketAddr| source.is_ipv4() == target.is_ipv4();
        self.0.iter().find(fits).or(self.0.first()).copied()
    }
}

/// How an endpoint is picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// Fewest active requests of so many random ones.
    LeastRequest {
        /// How many are compared; Envoy's default is 2.
        choices: u32,
    },
    /// In turn, by weight.
    RoundRobin,
    /// By lot, by weight.
    Random,
    /// By hash of the request.
    Hash(HashTable),
    /// None: the client's address is used.
    OriginalDst,
}

/// Table of a consistent hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashTable {
    /// A ring.
    Ring {
        /// Least number of entries.
        size_min: u64,
        /// Largest number of entries.
        size_max: u64,
    },
    /// Maglev.
    Maglev {
        /// Number of entries, prime.
        size: u64,
    },
}

/// Circuit breakers of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Open connections.
    pub connections_max: u32,
    /// Requests waiting for a connection.
    pub pending_max: u32,
    /// Requests in flight.
    pub requests_max: u32,
    /// Concurrent retries, unless there is a budget.
    pub retries_max: u32,
    /// Budget in place of `retries_max`.
    pub retry_budget: Option<RetryBudget>,
}

/// Retries in proportion to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RetryBudget {
    /// Share of active and pending requests, in hundredths of a percent.
    pub basis_points: u32,
    /// Concurrent retries that are always allowed.
    pub concurrency_min: u32,
}

/// When an endpoint is taken out and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OutlierDetection {
    /// Which statuses are errors. Those below 500 count as a 500; the others of a cluster whose errors are not just 5xx, as a 200.
    pub errors: Statuses,
    /// Consecutive 5xx; 0 is off.
    pub consecutive_5xx: u32,
    /// Consecutive 502, 503, 504; 0 is off.
    pub consecutive_gateway: u32,
    /// Consecutive failures to reach it; 0 is off. Only with `split_local_origin`.
    pub consecutive_local_origin: u32,
    /// Transport failures are counted apart from responses.
    pub split_local_origin: bool,
    /// Time between sweeps.
    pub interval: Duration,
    /// Time of a first ejection.
    pub ejection_base: Duration,
    /// Cap of the time of an ejection.
    pub ejection_max: Duration,
    /// Largest share of endpoints that may be out, in percent.
    pub ejection_percent_max: u32,
}

/// How HTTP is spoken to a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpstreamHttp {
    /// Which version.
    pub protocol: UpstreamProtocol,
    /// Idle connections are closed after this; `None` never.
    pub idle_timeout: Option<Duration>,
    /// Connections are drained after this; `None` never.
    pub connection_duration_max: Option<Duration>,
    /// A connection is closed after so many requests; `None` is without bound.
    pub requests_per_connection_max: Option<u32>,
    /// Streams on one HTTP/2 connection; `None` leaves it to the peer.
    pub streams_max: Option<u32>,
    /// Silent HTTP/2 connections are probed.
    pub keepalive: Option<(Duration, Duration)>,
}

/// Which version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// What the client spoke.
    Downstream,
}

/// Keepalive probes of a socket; `None` leaves the system's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TcpKeepalive {
    /// Unanswered probes before the connection counts as dead.
    pub probes: Option<u32>,
    /// Idle time before the first.
    pub time: Option<Duration>,
    /// Time between two.
    pub interval: Option<Duration>,
}

/// What metrics call a destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DestinationLabels {
    /// Host of the service.
    pub service: Arc<str>,
    /// Its short name.
    pub service_name: Arc<str>,
    /// Its namespace.
    pub service_namespace: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_comes_from_the_first_source_of_its_family() {
        let sources = |all: &[&str]| Sources::new(all.iter().map(|one| one.parse().unwrap()));
        for (all, target, expected) in [
            (vec![], "10.0.0.1:80", None),
            (vec!["127.0.0.6:0"], "127.0.0.1:80", Some("127.0.0.6:0")),
            (vec!["127.0.0.6:0", "[::6]:0"], "[::1]:80", Some("[::6]:0")),
            (vec!["[::6]:0", "127.0.0.6:0"], "127.0.0.1:80", Some("127.0.0.6:0")),
            (vec!["127.0.0.6:0"], "[::1]:80", Some("127.0.0.6:0")),
        ] {
            let source = sources(&all).of(target.parse().unwrap());
            assert_eq!(source, expected.map(|one| one.parse().unwrap()), "{all:?} to {target}");
        }
    }

    #[test]
    fn a_client_is_followed_to_its_destination_or_to_a_port_in_its_place() {
        for (port, expected) in [(None, "10.0.0.1:80"), (Some(8443), "10.0.0.1:8443")] {
            let kind = OriginalDst {
                port,
                cleanup_interval: Duration::ZERO,
            };
            assert_eq!(kind.target("10.0.0.1:80".parse().unwrap()), expected.parse().unwrap());
        }
    }
}
