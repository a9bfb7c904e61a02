use http::StatusCode;

use crate::cluster::OutlierDetection;

/// What an attempt says about the endpoint that it went to. Each try of a retried request is an event of its own.
///
/// Replies that the proxy made itself (a limit, no route, a fault, a refusal) say nothing about an endpoint and are no
/// events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It answered with this status: for gRPC what [`crate::retry::http_of_grpc`] makes of a `grpc-status` in the headers.
    Response(StatusCode),
    /// No connection, or the connection or stream broke before the response.
    Unreachable,
    /// A time limit, the try's or the route's, passed while it was being waited for.
    Timeout,
    /// A connection for HTTP was opened to it; what it answers is still to come.
    Connected,
    /// A connection for TCP was opened to it, which is all that can be known.
    ConnectedTcp,
}

/// Which detector sees an endpoint as an outlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Consecutive 502, 503, 504.
    Gateway,
    /// Consecutive 5xx.
    ServerError,
    /// Consecutive failures to get anything from it.
    LocalOrigin,
}

impl Cause {
    /// Envoy's word, as in its counters: `ejections_enforced_consecutive_5xx`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "consecutive_gateway_failure",
            Self::ServerError => "consecutive_5xx",
            Self::LocalOrigin => "consecutive_local_origin_failure",
        }
    }
}

/// An event as the counters see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tally {
    /// It works, in every respect.
    Success,
    /// It answered with an error, but not with one of a gateway.
    ServerError,
    /// 502, 503, 504 or what counts as such.
    GatewayError,
    /// Nothing came of it; counted apart.
    LocalFailure,
    /// It can be reached; counted apart.
    LocalSuccess,
    /// Nothing is known yet.
    Nothing,
}

impl Event {
    pub(super) fn tally(self, config: &OutlierDetection) -> Tally {
        match (self, config.split_local_origin) {
            // Envoy: an error by the cluster's own list counts as a 500 unless it is a 5xx, what is none as a 200.
            (Self::Response(status), _) => match status.as_u16() {
                status if !config.errors.contains(status) => Tally::Success,
                502..=504 => Tally::GatewayError,
                _ => Tally::ServerError,
            },
            // Envoy: unless they are counted apart, a failure to connect is a 503 and a timeout a 504.
            (Self::Unreachable | Self::Timeout, false) => Tally::GatewayError,
            (Self::Unreachable | Self::Timeout, true) => Tally::LocalFailure,
            (Self::Connected, false) => Tally::Nothing,
            (Self::ConnectedTcp, false) => Tally::Success,
            (Self::Connected | Self::ConnectedTcp, true) => Tally::LocalSuccess,
        }
    }
}
