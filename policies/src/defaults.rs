//! The only home of Istio's default timeouts, limits, retries and names.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::kind::virtual_service::RetryWord;

/// Gateway name that means "every sidecar".
pub const MESH_GATEWAY: &str = "mesh";
/// Namespace whose objects apply mesh-wide.
pub const ROOT_NAMESPACE: &str = "istio-system";
/// Domain of the cluster's service names.
pub const CLUSTER_DOMAIN: &str = "cluster.local";
/// Trust domain of identities.
pub const TRUST_DOMAIN: &str = "cluster.local";
/// Namespace of objects that state none.
pub const NAMESPACE: &str = "default";
/// Limit on connecting to an upstream.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idleness after which upstream connections are closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// A limit of a circuit breaker that the user has not set (Istio: the largest 32-bit number).
pub const UNLIMITED: u32 = u32::MAX;
/// Streams of an HTTP/2 connection (Istio).
pub const MAX_CONCURRENT_STREAMS: u32 = i32::MAX as u32;

/// Retries where nobody says otherwise.
pub const RETRY_ATTEMPTS: u32 = 2;
/// Conditions of those retries. With them goes an empty list of statuses.
pub const RETRY_ON: [RetryWord; 5] = [
    RetryWord::ConnectFailure,
    RetryWord::RefusedStream,
    RetryWord::Unavailable,
    RetryWord::Cancelled,
    RetryWord::RetriableStatusCodes,
];
/// How often another endpoint is looked for when the pick has been tried before.
pub const RETRY_HOST_SELECTION_ATTEMPTS: u32 = 5;
/// Base of the back-off between tries.
pub const RETRY_BACKOFF: Duration = Duration::from_millis(25);
/// Server side: retries towards the application, on `reset-before-request`.
pub const INBOUND_RETRY_ATTEMPTS: u32 = 2;
/// Retry budget: percent of active and pending requests.
pub const RETRY_BUDGET_PERCENT: u32 = 20;
/// Retry budget: lower bound.
pub const RETRY_BUDGET_MIN_CONCURRENCY: u32 = 3;

/// Outlier detection: 5xx in a row.
pub const CONSECUTIVE_5XX: u32 = 5;
/// Outlier detection: local failures in a row, where they are counted apart.
pub const CONSECUTIVE_LOCAL_ORIGIN: u32 = 5;
/// Outlier detection: time between sweeps.
pub const OUTLIER_INTERVAL: Duration = Duration::from_secs(10);
/// Outlier detection: ejection time per ejection so far.
pub const BASE_EJECTION_TIME: Duration = Duration::from_secs(30);
/// Outlier detection: cap of the ejection time (or the base, if that is longer).
pub const MAX_EJECTION_TIME: Duration = Duration::from_secs(300);
/// Outlier detection: ejected endpoints in percent.
pub const MAX_EJECTION_PERCENT: u32 = 10;
/// Outlier detection: panic threshold in percent; 0 is never.
pub const MIN_HEALTH_PERCENT: u32 = 0;

/// Points of a hash ring.
pub const RING_SIZE_MIN: u64 = 1024;
/// Size of a Maglev table.
pub const MAGLEV_TABLE_SIZE: u64 = 65_537;
/// Slow start: share at the start, percent.
pub const WARMUP_MINIMUM_PERCENT: u32 = 10;
/// Zone-aware balancing: fewer endpoints switch it off.
pub const ZONE_AWARE_MIN_CLUSTER_SIZE: u64 = 6;
/// Status of redirects.
pub const REDIRECT_CODE: u16 = 301;
/// Weight of a workload that states none.
pub const WORKLOAD_WEIGHT: u32 = 1;

/// Refresh of DNS names after a failed lookup.
pub const DNS_REFRESH: Duration = Duration::from_secs(60);
/// Port of outbound capture.
pub const OUTBOUND_PORT: u16 = 15001;
/// Port of inbound capture.
pub const INBOUND_PORT: u16 = 15006;
/// Port of merged metrics and rewritten probes.
pub const STATUS_PORT: u16 = 15020;
/// Time over which a listener is drained.
pub const DRAIN_DURATION: Duration = Duration::from_secs(45);
/// Time between the order to stop and the end of the proxy.
pub const TERMINATION_DRAIN_DURATION: Duration = Duration::from_secs(5);
/// Source address of inbound traffic to the application.
pub const INBOUND_SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
/// The same where the pod's address is an IPv6 one (Istio: `InboundPassthroughBindIpv6`).
pub const INBOUND_SOURCE_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);
/// Port of the proxy's admin server.
pub const ADMIN_PORT: u16 = 15000;
/// First port that needs no right to be bound.
pub const UNPRIVILEGED_PORT_MIN: u16 = 1024;
/// Ports that belong to the proxy; applications may not use them.
pub const RESERVED_PORTS: [u16; 10] = [
    ADMIN_PORT, 15001, 15002, 15004, 15006, 15008, 15020, 15021, 15053, 15090,
];
