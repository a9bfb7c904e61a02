use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::bind::ClusterRef;
use super::headers::HeaderOps;
use super::matcher::RouteMatch;
use super::pattern::Pattern;
use super::policy::{Cors, Fault, HashKey, Mirror, RetryPolicy};
use super::redirect::Redirect;
use super::rewrite::PathRewrite;
use super::split::WeightedSplit;
use crate::Provenance;

/// A match and what is done with a request that meets it. Everything below is compiled: nothing refers to its table.
#[derive(Debug)]
pub struct Route {
    /// Name for logs; empty where the source gave none.
    pub name: Arc<str>,
    /// Name of the virtual host it stands in (`allow_any`, `block_all` and the like show in metrics).
    pub virtual_host: Arc<str>,
    /// When it applies.
    pub matcher: RouteMatch,
    /// What is done.
    pub action: Action,
    /// Response header operations of route, virtual host and table: for replies of our own once the route is known
    /// (redirects, direct responses, 503 and 504). A forwarded response has the ones of its [`Destination`].
    pub response_headers: HeaderOps,
    /// Filters that this route asks for.
    pub filters: RouteFilters,
    /// Name of the operation, for tracing.
    pub operation: Option<Arc<str>>,
    /// Where the route comes from.
    pub provenance: Option<Provenance>,
}

/// Filters with settings of this route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteFilters {
    /// Faults.
    pub fault: Option<Fault>,
    /// Cross-origin policy.
    pub cors: Option<Cors>,
}

impl RouteFilters {
    /// Whether the route asks for none, as nearly all do.
    pub fn is_empty(&self) -> bool {
        self.fault.is_none() && self.cors.is_none()
    }
}

/// What is done with a request.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "most routes forward, and a pointer more would be followed by each request"
)]
pub enum Action {
    /// Sent to a cluster.
    Forward(Forward),
    /// Answered with another place.
    Redirect(Redirect),
    /// Answered here.
    DirectResponse(DirectResponse),
}

/// An answer that needs no upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectResponse {
    /// The status.
    pub status: StatusCode,
    /// The body, possibly empty.
    pub body: Bytes,
}

/// How a request is sent on.
#[derive(Debug)]
pub struct Forward {
    /// Which cluster.
    pub choice: ClusterChoice,
    /// How the path changes.
    pub path: PathRewrite,
    /// How the authority changes, unless the destination says otherwise.
    pub host: HostRewrite,
    /// `x-forwarded-host` gets the original authority when it is rewritten.
    pub append_forwarded_host: bool,
    /// Limit of the whole response, retries included; `None` is no limit.
    pub timeout: Option<Duration>,
    /// A `grpc-timeout` of the client counts, up to this; `Some(ZERO)` is without bound; `None` ignores the header.
    pub grpc_timeout_max: Option<Duration>,
    /// Limit of silence on the stream; `None` leaves the connection manager's.
    pub idle_timeout: Option<Duration>,
    /// Limit of the stream's life; `None` leaves the connection manager's.
    pub max_stream_duration: Option<Duration>,
    /// Retries; `None` is none.
    pub retry: Option<RetryPolicy>,
    /// The upstream is told `x-envoy-attempt-count`.
    pub attempt_count: bool,
    /// Keys for consistent hashing, in order.
    pub hash: Vec<HashKey>,
    /// Copies.
    pub mirrors: Vec<Mirror>,
    /// Upgrades that differ from the connection manager's.
    pub upgrades: Vec<Upgrade>,
    /// Status of the reply when the cluster does not exist.
    pub cluster_not_found: StatusCode,
}

/// Whether an upgrade is let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// Its token, lower-cased: `websocket`, `connect`, …
    pub kind: Box<str>,
    /// Whether.
    pub enabled: bool,
}

/// Which cluster a request goes to.
#[derive(Debug)]
pub enum ClusterChoice {
    /// Always this one.
    One(Box<Destination>),
    /// One of several, by weight.
    Weighted(WeightedSplit),
}

/// A cluster together with what is done on the way to it.
#[derive(Debug)]
pub struct Destination {
    /// The cluster.
    pub cluster: ClusterRef,
    /// Its weight among its neighbours; 1 when it stands alone.
    pub weight: u32,
    /// Request header operations of all levels, this one included, joined.
    pub request_headers: HeaderOps,
    /// Response header operations of all levels, this one included, joined.
    pub response_headers: HeaderOps,
    /// Overrides the route's host rewrite.
    pub host: Option<HostRewrite>,
}

/// How the authority changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRewrite {
    /// It does not.
    Keep,
    /// It becomes this.
    Literal(HeaderValue),
    /// It becomes the name of the chosen endpoint (clusters by DNS).
    Endpoint,
    /// It becomes the value of a request header, if there is one.
    Header(HeaderName),
    /// It is made out of the path.
    Path {
        /// Searched in the path.
        pattern: Pattern,
        /// With `\1` for groups.
        substitution: Box<str>,
    },
}

impl ClusterChoice {
    /// Takes the next turn in the split: the place of a destination among [`Self::destinations`]. Wait-free, and shared by
    /// all workers.
    #[inline]
    pub fn choose(&self) -> usize {
        match self {
            Self::One(_) => 0,
            Self::Weighted(split) => split.choose(),
        }
    }

    /// All destinations that can be chosen.
    pub fn destinations(&self) -> &[Destination] {
        match self {
            Self::One(destination) => std::slice::from_ref(destination),
            Self::Weighted(split) => split.destinations(),
        }
    }
}

impl Forward {
    /// The host rewrite that holds for a destination.
    pub fn host_rewrite<'a>(&'a self, destination: &'a Destination) -> &'a HostRewrite {
        match &destination.host {
            Some(host) => host,
            None => &self.host,
        }
    }
}

impl Route {
    /// The route that sends plain text to TLS, for virtual hosts that take nothing else.
    pub(super) fn to_https() -> Self {
        Self {
            name: "".into(),
            virtual_host: "".into(),
            matcher: RouteMatch::any(),
            action: Action::Redirect(Redirect::to_https()),
            response_headers: HeaderOps::default(),
            filters: RouteFilters::default(),
            operation: None,
            provenance: None,
        }
    }
}

impl HostRewrite {
    /// The new authority, or `None` when it stays. `endpoint` is the host name of the chosen endpoint.
    pub fn apply(&self, head: &super::RequestHead<'_>, endpoint: Option<&str>) -> Option<HeaderValue> {
        match self {
            Self::Keep => None,
            Self::Literal(value) => Some(value.clone()),
            Self::Endpoint => endpoint.and_then(|name| HeaderValue::from_str(name).ok()),
            Self::Header(name) => head.headers.get(name).cloned(),
            Self::Path { pattern, substitution } => {
                HeaderValue::from_bytes(&pattern.replace_all(head.path.as_bytes(), substitution)).ok()
            }
        }
    }
}
