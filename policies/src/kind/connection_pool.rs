//! Limits on connections and requests: the circuit breaker of DestinationRule, Sidecar and mesh.

use std::time::Duration;

use crate::decode::{Field, Span};

/// `connectionPool`. A limit that is unset or 0 is `None`: no limit of the user's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ConnectionPool {
    /// Settings of connections.
    pub tcp: Option<TcpSettings>,
    /// Settings of requests.
    pub http: Option<HttpSettings>,
}

/// `connectionPool.tcp`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TcpSettings {
    /// Open connections to the cluster, at most.
    pub max_connections: Option<u32>,
    /// Limit on connecting; unset: the mesh's.
    pub connect_timeout: Option<Duration>,
    /// Keep-alive probes of the socket.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Age after which a connection is drained (HTTP) or closed (TCP).
    pub max_connection_duration: Option<Duration>,
    /// Silence after which a connection is closed; zero: never.
    pub idle_timeout: Option<Duration>,
}

/// `tcpKeepalive`; unset attributes fall back to the mesh's, one by one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TcpKeepalive {
    /// Unanswered probes before the connection is dead.
    pub probes: Option<u32>,
    /// Silence before the first probe.
    pub time: Option<Duration>,
    /// Between probes.
    pub interval: Option<Duration>,
}

/// `connectionPool.http`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct HttpSettings {
    /// Requests waiting for a connection, at most.
    pub http1_max_pending_requests: Option<u32>,
    /// Requests in flight, at most; HTTP/1.1 counts as well.
    pub http2_max_requests: Option<u32>,
    /// Requests after which a connection is retired.
    pub max_requests_per_connection: Option<u32>,
    /// Retries in flight, at most.
    pub max_retries: Option<u32>,
    /// Idleness after which an upstream connection is closed; unset: `tcp.idleTimeout`.
    pub idle_timeout: Option<Duration>,
    /// Whether HTTP/1.1 is upgraded to HTTP/2 towards the upstream.
    pub h2_upgrade_policy: H2UpgradePolicy,
    /// Speak the client's HTTP version to the upstream.
    pub use_client_protocol: bool,
    /// Streams of one HTTP/2 connection, at most.
    pub max_concurrent_streams: Option<u32>,
    /// HTTP/2 PINGs on upstream connections.
    pub http2_keep_alive: Option<Http2KeepAlive>,
}

/// `h2UpgradePolicy` of a DestinationRule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum H2UpgradePolicy {
    /// As the mesh says.
    #[default]
    Default,
    /// Keep the version of the port.
    DoNotUpgrade,
    /// Always HTTP/2.
    Upgrade,
}

/// `http2KeepAlive`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Http2KeepAlive {
    /// Between PINGs.
    pub interval: Duration,
    /// Time for an answer.
    pub timeout: Duration,
}

impl ConnectionPool {
    pub(crate) fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let tcp = fields.field("tcp").and_then(|f| TcpSettings::read(&f));
        let http = fields.field("http").and_then(|f| HttpSettings::read(&f));
        if tcp.is_none() && http.is_none() {
            field.error("is empty", "give `tcp` or `http`, or remove the block");
        }
        fields.finish();
        Some(Self { tcp, http })
    }
}

impl TcpSettings {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let settings = Self {
            max_connections: fields.limit("maxConnections"),
            connect_timeout: fields.duration("connectTimeout", Span::Positive),
            tcp_keepalive: fields.field("tcpKeepalive").and_then(|f| TcpKeepalive::read(&f)),
            max_connection_duration: fields.duration("maxConnectionDuration", Span::Positive),
            idle_timeout: fields.duration("idleTimeout", Span::ZeroOrPositive),
        };
        fields.finish();
        Some(settings)
    }
}

impl TcpKeepalive {
    pub(crate) fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let keepalive = Self {
            probes: fields.limit("probes"),
            time: fields.duration("time", Span::ZeroOrPositive),
            interval: fields.duration("interval", Span::ZeroOrPositive),
        };
        fields.finish();
        Some(keepalive)
    }
}

impl HttpSettings {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let settings = Self {
            http1_max_pending_requests: fields.limit("http1MaxPendingRequests"),
            http2_max_requests: fields.limit("http2MaxRequests"),
            max_requests_per_connection: fields.limit("maxRequestsPerConnection"),
            max_retries: fields.limit("maxRetries"),
            idle_timeout: fields.duration("idleTimeout", Span::Positive),
            h2_upgrade_policy: fields
                .word("h2UpgradePolicy", &H2UpgradePolicy::WORDS)
                .unwrap_or_default(),
            use_client_protocol: fields.flag("useClientProtocol"),
            max_concurrent_streams: fields.limit("maxConcurrentStreams"),
            http2_keep_alive: fields
                .field("http2KeepAlive")
                .or_else(|| fields.field("http2Keepalive"))
                .and_then(|f| Http2KeepAlive::read(&f)),
        };
        if settings.use_client_protocol && settings.h2_upgrade_policy == H2UpgradePolicy::Upgrade {
            field.error(
                "has `useClientProtocol` with `h2UpgradePolicy: UPGRADE`",
                "keep one of them",
            );
        }
        fields.finish();
        Some(settings)
    }
}

impl H2UpgradePolicy {
    pub(crate) const WORDS: [(&'static str, Self); 3] = [
        ("DEFAULT", Self::Default),
        ("DO_NOT_UPGRADE", Self::DoNotUpgrade),
        ("UPGRADE", Self::Upgrade),
    ];
}

impl Http2KeepAlive {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let interval = fields
            .required("interval", "interval and timeout belong together")?
            .duration(Span::Positive);
        let timeout = fields
            .required("timeout", "interval and timeout belong together")?
            .duration(Span::Positive);
        fields.finish();
        Some(Self {
            interval: interval?,
            timeout: timeout?,
        })
    }
}
