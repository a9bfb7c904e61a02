use std::sync::Arc;
use std::time::Duration;

use crate::route::{PathNormalization, RouteTable, Upgrade};

/// What a connection that speaks HTTP is told.
#[derive(Debug)]
pub struct HttpConnectionManager {
    /// Prefix of counters.
    pub stat_prefix: Arc<str>,
    /// Where its routes come from.
    pub route: RouteSource,
    /// Which versions are spoken.
    pub codec: Codec,
    /// HTTP/1.
    pub http1: Http1Options,
    /// HTTP/2.
    pub http2: Http2Options,
    /// Value of `server`.
    pub server_name: Arc<str>,
    /// What happens to the upstream's `server`.
    pub server_header: ServerHeader,
    /// Limit of a request's headers, in bytes. Over it: 431.
    pub request_headers_bytes_max: u32,
    /// Limit of the number of headers. Over it: 431.
    pub request_headers_max: u32,
    /// Requests on one connection; `None` without bound.
    pub requests_per_connection_max: Option<u32>,
    /// Time limits.
    pub timeouts: HttpTimeouts,
    /// The peer's address is the client's (an edge); otherwise `x-forwarded-for` is believed.
    pub use_remote_address: bool,
    /// How many proxies before us are trusted.
    pub trusted_hops: u32,
    /// `x-forwarded-for` is not appended to.
    pub skip_xff_append: bool,
    /// What is done to paths.
    pub path: PathNormalization,
    /// The port is taken out of the authority.
    pub strip_port: StripPort,
    /// The dot at the end is taken out of the authority.
    pub strip_trailing_dot: bool,
    /// `x-request-id` is made where it is missing.
    pub generate_request_id: bool,
    /// An `x-request-id` from outside is kept.
    pub preserve_external_request_id: bool,
    /// `x-request-id` is sent back.
    pub always_set_request_id_in_response: bool,
    /// Upgrades that are let through, by their lower-cased token.
    pub upgrades: Vec<Upgrade>,
    /// The text of `via`, empty for none.
    pub via: Arc<str>,
    /// `x-forwarded-client-cert` is forwarded as it came; else it is taken out.
    pub keep_client_cert: bool,
    /// `100 Continue` is left to the upstream.
    pub proxy_100_continue: bool,
    /// Filters that are on.
    pub filters: HttpFilters,
}

impl HttpConnectionManager {
    /// The authority that is routed by and that an upstream sees, where it differs from what the client wrote: port and
    /// final dot are taken out as the listener at `local_port` says.
    pub fn stripped_authority(&self, written: &str, local_port: u16) -> Option<String> {
        if self.strip_port == StripPort::Never && !self.strip_trailing_dot {
            return None;
        }
        let (mut name, mut port) = match written.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, Some(port)),
            _ => (written, None),
        };
        if match self.strip_port {
            StripPort::Never => false,
            StripPort::Any => true,
            StripPort::Matching => port.is_some_and(|port| port.parse() == Ok(local_port)),
        } {
            port = None;
        }
        if self.strip_trailing_dot {
            name = name.strip_suffix('.').unwrap_or(name);
        }
        let kept = name.len() + port.map_or(0, |port| 1 + port.len());
        (kept != written.len()).then(|| match port {
            Some(port) => [name, ":", port].concat(),
            None => name.to_owned(),
        })
    }
}

/// Where routes come from.
#[derive(Debug, Clone)]
pub enum RouteSource {
    /// A route table of this name.
    Rds(Arc<str>),
    /// The connection manager itself.
    Inline(Arc<RouteTable>),
}

/// Which versions of HTTP are spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// What the first bytes or ALPN say.
    #[default]
    Auto,
    /// HTTP/1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
}

/// HTTP/1 of clients.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Http1Options {
    /// HTTP/1.0 is answered; otherwise 426.
    pub accept_http_10: bool,
    /// Authority of HTTP/1.0 requests without one.
    pub default_host_for_http_10: Option<Arc<str>>,
    /// Absolute-form requests are taken.
    pub allow_absolute_url: bool,
    /// Trailers are passed on.
    pub enable_trailers: bool,
}

/// HTTP/2 of clients.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Http2Options {
    /// Streams of one connection.
    pub streams_max: u32,
    /// Initial window of a stream, in bytes.
    pub stream_window_bytes: u32,
    /// Initial window of a connection, in bytes.
    pub connection_window_bytes: u32,
    /// Extended CONNECT is offered.
    pub allow_connect: bool,
    /// Silent connections are probed: time between probes, time for the answer.
    pub keepalive: Option<(Duration, Duration)>,
}

/// Time limits of a connection manager; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct HttpTimeouts {
    /// A connection without requests.
    pub connection_idle: Option<Duration>,
    /// A silent stream.
    pub stream_idle: Option<Duration>,
    /// Headers, from their first byte.
    pub request_headers: Option<Duration>,
}

/// What happens to the upstream's `server` header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ServerHeader {
    /// Replaced by ours.
    #[default]
    Overwrite,
    /// Ours where it is missing.
    AppendIfAbsent,
    /// Left alone.
    PassThrough,
}

/// Which port is taken out of the authority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum StripPort {
    /// None.
    #[default]
    Never,
    /// The listener's own.
    Matching,
    /// Any.
    Any,
}

/// Filters that routes may configure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct HttpFilters {
    /// Cross-origin policies of routes are in force.
    pub cors: bool,
    /// Faults of routes are in force.
    pub fault: bool,
    /// Cross-origin policies come first; else faults do, as Istio has them.
    pub cors_before_fault: bool,
    /// Client-sent `x-envoy-*` control headers are not looked at.
    pub suppress_envoy_headers: bool,
}
