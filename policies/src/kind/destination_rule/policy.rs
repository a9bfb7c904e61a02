//! Traffic policies.

use std::time::Duration;

use super::{ClientTls, LoadBalancer, OutlierDetection};
use crate::decode::{Field, Fields, Span};
use crate::kind::connection_pool::ConnectionPool;
use crate::percent::Percent;
use crate::validate;

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

impl TrafficPolicy {
    pub(crate) fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let blocks = Blocks::read(&mut fields);
        let policy = Self {
            load_balancer: blocks.load_balancer,
            connection_pool: blocks.connection_pool,
            outlier_detection: blocks.outlier_detection,
            tls: blocks.tls,
            port_level_settings: read_ports(&mut fields),
            tunnel: fields.field("tunnel").and_then(|f| Tunnel::read(&f)),
            proxy_protocol: fields.field("proxyProtocol").and_then(|f| {
                let mut fields = f.fields()?;
                let words = [("V1", ProxyProtocolVersion::V1), ("V2", ProxyProtocolVersion::V2)];
                let version = fields.word("version", &words).unwrap_or_default();
                fields.finish();
                Some(version)
            }),
            retry_budget: fields.field("retryBudget").and_then(|f| RetryBudget::read(&f)),
        };
        if policy.tunnel.is_some() && policy.proxy_protocol.is_some() {
            field.error("has both `tunnel` and `proxyProtocol`", "keep one of them");
        }
        if BLOCKS
            .iter()
            .chain(&["portLevelSettings", "tunnel", "proxyProtocol", "retryBudget"])
            .all(|b| !fields.has(b))
        {
            field.error("is empty", "give at least one block, or remove it");
        }
        fields.finish();
        Some(policy)
    }
}

const BLOCKS: [&str; 4] = ["loadBalancer", "connectionPool", "outlierDetection", "tls"];

/// What a policy and an entry for one port have in common.
struct Blocks {
    load_balancer: Option<LoadBalancer>,
    connection_pool: Option<ConnectionPool>,
    outlier_detection: Option<OutlierDetection>,
    tls: Option<ClientTls>,
}

impl Blocks {
    fn read(fields: &mut Fields<'_>) -> Self {
        let outlier_detection = fields
            .field("outlierDetection")
            .and_then(|f| OutlierDetection::read(&f));
        Self {
            load_balancer: fields
                .field("loadBalancer")
                .and_then(|f| LoadBalancer::read(&f, outlier_detection.is_some())),
            connection_pool: fields.field("connectionPool").and_then(|f| ConnectionPool::read(&f)),
            outlier_detection,
            tls: fields.field("tls").and_then(|f| ClientTls::read(&f)),
        }
    }
}

fn read_ports(fields: &mut Fields<'_>) -> Vec<PortTrafficPolicy> {
    fields.list("portLevelSettings", |field| {
        let mut fields = field.fields()?;
        let port = fields.required("port", "give `port.number`").and_then(|f| {
            let mut fields = f.fields()?;
            let number = fields
                .required("number", "give the Service's port")
                .and_then(|f| f.u32(1..=65_535));
            fields.finish();
            number
        });
        let blocks = Blocks::read(&mut fields);
        if BLOCKS.iter().all(|b| !fields.has(b)) {
            field.error(
                "sets nothing for the port",
                format!("give one of {}", BLOCKS.join(", ")),
            );
        }
        fields.finish();
        Some(PortTrafficPolicy {
            port: port.unwrap_or_default(),
            load_balancer: blocks.load_balancer,
            connection_pool: blocks.connection_pool,
            outlier_detection: blocks.outlier_detection,
            tls: blocks.tls,
        })
    })
}

impl Tunnel {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let words = [("CONNECT", TunnelProtocol::Connect), ("POST", TunnelProtocol::Post)];
        let protocol = fields.word("protocol", &words).unwrap_or_default();
        let target_host = fields
            .required("targetHost", "name the host behind the tunnel")
            .and_then(|f| {
                let host = f.text()?;
                if validate::ip(host).is_err() {
                    f.check(validate::fqdn(host))?;
                }
                Some(host.to_owned())
            });
        let target_port = fields
            .required("targetPort", "give the port behind the tunnel")
            .and_then(|f| f.u32(1..=65_535));
        fields.finish();
        Some(Self {
            protocol,
            target_host: target_host?,
            target_port: target_port?,
        })
    }
}

impl RetryBudget {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let budget = Self {
            percent: fields.percent("percent"),
            min_retry_concurrency: fields.limit("minRetryConcurrency"),
            budget_interval: fields
                .duration("budgetInterval", Span::ZeroOrPositive)
                .filter(|d| !d.is_zero()),
        };
        fields.finish();
        Some(budget)
    }
}
