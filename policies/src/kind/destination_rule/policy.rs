//! Traffic policies.

use std::time::Duration;

use super::{ClientTls, LoadBalancer, OutlierDetection};
use crate::kind::connection_pool::ConnectionPool;
use crate::percent::Percent;

/// `trafficPolicy`. The unit of overriding is the block, never the leaf.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TrafficPolicy {
    /// Choice of endpoints.
    pub load_balancer: Option<LoadBalancer>,
    /// Limits.
    pub connection_pool: Option<ConnectionPool>,
    /// Ejection of endpoints that fail.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards the upstream; unset: automatic mutual TLS.
    pub tls: Option<ClientTls>,
    /// Blocks per service port, replacing all four above for that port.
    pub port_level_settings: Vec<PortTrafficPolicy>,
    /// Tunnel for TCP and TLS traffic.
    pub tunnel: Option<Tunnel>,
    /// PROXY header towards the upstream.
    pub proxy_protocol: Option<ProxyProtocolVersion>,
    /// Bound of concurrent retries; replaces `maxRetries`.
    pub retry_budget: Option<RetryBudget>,
}

/// One entry of `portLevelSettings[]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct PortTrafficPolicy {
    /// Service port.
    pub port: u32,
    /// Choice of endpoints.
    pub load_balancer: Option<LoadBalancer>,
    /// Limits.
    pub connection_pool: Option<ConnectionPool>,
    /// Ejection of endpoints that fail.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards the upstream.
    pub tls: Option<ClientTls>,
}

/// `tunnel`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// Method that opens it.
    pub protocol: TunnelProtocol,
    /// Host named in the request.
    pub target_host: String,
    /// Port named in the request.
    pub target_port: u32,
}

/// `tunnel.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TunnelProtocol {
    /// CONNECT.
    #[default]
    Connect,
    /// POST.
    Post,
}

/// `proxyProtocol.version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ProxyProtocolVersion {
    /// Text.
    #[default]
    V1,
    /// Binary.
    V2,
}

/// `retryBudget`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct RetryBudget {
    /// Retries in percent of active and pending requests; unset: 20.
    pub percent: Option<Percent>,
    /// Lower bound of the budget; unset or 0: 3.
    pub min_retry_concurrency: Option<u32>,
    /// Window of requests that count; unset: only the current ones.
    pub budget_interval: Option<Duration>,
}
