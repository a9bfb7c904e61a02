//! in → out: whatever can go wrong with a request → exactly one status, flag, reason and retry decision.
//! owns: the closed set of reasons (side, phase, cause).
//! may not touch: responses, sockets.

use http::StatusCode;
use weft_proxy_core::retry::Break;

use super::flags::Flag;
use super::guard::Refusal;
use crate::upstream::admit::Overflow;

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Downstream,
    Upstream,
    Local,
}

/// A request that gets no answer of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Request(RequestFailure),
    Route(RouteFailure),
    Upstream(UpstreamFailure),
    /// None: the route asks for this answer.
    Fault {
        status: StatusCode,
        /// For clients that speak gRPC.
        grpc_status: Option<u8>,
    },
    /// A limit of the cluster: nothing was sent to anybody.
    Overflow(Overflow),
}

impl From<Overflow> for Failure {
    fn from(overflow: Overflow) -> Self {
        Failure::Overflow(overflow)
    }
}

/// What the client did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestFailure {
    /// HTTP/1.0 where it is not accepted.
    Version,
    /// No `Host`, several, or one that is no authority.
    Host,
    /// A path that cannot be normalised.
    Path,
    /// A method that this listener does not relay (`CONNECT`).
    Method,
    /// The framing check refused the bytes.
    Framing(Refusal),
    /// The parser refused the head.
    Syntax,
    /// The head is larger than the limit.
    HeadTooLarge,
    /// The head did not end in time.
    HeadTimeout,
    /// The client closed or reset its connection before the reply was complete.
    Left,
    /// The client did not read the reply in time.
    NotReading,
}

/// What the configuration did not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteFailure {
    /// The listener's route table has not arrived.
    NoTable,
    /// No virtual host or no route fits.
    NotFound,
    /// The chosen cluster does not exist.
    NoCluster,
    /// No endpoint of the cluster is usable.
    NoEndpoint,
    /// The time limit of the route.
    Timeout,
    /// The time limit of the last try.
    TryTimeout,
}

/// What the upstream did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpstreamFailure {
    /// The connection was refused or failed otherwise.
    Connect,
    /// It was not up in time.
    ConnectTimeout,
    /// A pooled connection had ended before the request was sent.
    Stale,
    /// It closed or reset the connection before the response head.
    Closed,
    /// It closed or reset the connection inside the response.
    Truncated,
    /// It sent what is no HTTP.
    Protocol,
    /// It refused the stream without having looked at it (HTTP/2).
    RefusedStream,
    /// It was going away when the stream came, and has not looked at it (HTTP/2).
    GoAway,
    /// It reset the stream (HTTP/2).
    Reset,
}

/// What a failure means to everybody who sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Status of the local reply.
    pub(crate) status: StatusCode,
    /// Envoy's flag.
    pub(crate) flag: Flag,
    /// Whose fault it is.
    pub(crate) side: Side,
    /// weft's reason: `side.phase.cause`, the closed set behind `x-weft-reason` and the label of `weft_request_failures_total`.
    pub(crate) reason: &'static str,
    /// Body of the local reply, in Envoy's words where Envoy has some.
    pub(crate) body: &'static str,
    /// What retry policies are asked about; `None` when no other try can help.
    pub(crate) retry: Option<Break>,
}

const fn verdict(status: StatusCode, flag: Flag, side: Side, reason: &'static str, body: &'static str) -> Verdict {
    Verdict {
        status,
        flag,
        side,
        reason,
        body,
        retry: None,
    }
}

impl Failure {
    /// The one place that decides.
    pub(crate) fn verdict(self) -> Verdict {
        match self {
            Failure::Request(failure) => failure.verdict(),
            Failure::Route(failure) => failure.verdict(),
            Failure::Upstream(failure) => failure.verdict(),
            Failure::Fault { status, .. } => {
                verdict(status, Flag::Fi, Side::Local, "local.fault.abort", "fault filter abort")
            }
            Failure::Overflow(overflow) => overflow_verdict(overflow),
        }
    }
}

impl RequestFailure {
    fn verdict(self) -> Verdict {
        use RequestFailure::*;
        let bad = |reason, body| verdict(StatusCode::BAD_REQUEST, Flag::Dpe, Side::Downstream, reason, body);
        match self {
            // RFC 9110, section 15.5.22: the reply names what is spoken here.
            Version => verdict(
                StatusCode::UPGRADE_REQUIRED,
                Flag::Dpe,
                Side::Downstream,
                "downstream.head.version",
                "HTTP/1.1 is required",
            ),
            Host => bad("downstream.head.host", "one valid Host is required"),
            Path => bad("downstream.head.path", "the path cannot be normalised"),
            Method => verdict(
                StatusCode::METHOD_NOT_ALLOWED,
                Flag::Dpe,
                Side::Downstream,
                "downstream.head.method",
                "this method is not relayed here",
            ),
            Framing(refusal) => bad(framing_reason(refusal), ""),
            Syntax => bad("downstream.head.syntax", ""),
            HeadTooLarge => verdict(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                Flag::Dpe,
                Side::Downstream,
                "downstream.head.too_large",
                "",
            ),
            HeadTimeout => verdict(
                StatusCode::REQUEST_TIMEOUT,
                Flag::Si,
                Side::Downstream,
                "downstream.head.timeout",
                "",
            ),
            Left => verdict(
                StatusCode::BAD_REQUEST,
                Flag::Dc,
                Side::Downstream,
                "downstream.exchange.left",
                "the request was not completed",
            ),
            NotReading => verdict(
                StatusCode::REQUEST_TIMEOUT,
                Flag::Si,
                Side::Downstream,
                "downstream.reply.not_reading",
                "",
            ),
        }
    }
}

fn framing_reason(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::BareLineFeed => "downstream.framing.bare_line_feed",
        Refusal::ContentLength => "downstream.framing.content_length",
        Refusal::TransferEncoding => "downstream.framing.transfer_encoding",
        Refusal::LengthAndEncoding => "downstream.framing.length_and_encoding",
        Refusal::FoldedHeader => "downstream.framing.folded_header",
        Refusal::HeaderSyntax => "downstream.framing.header_syntax",
        Refusal::ChunkSize => "downstream.framing.chunk_size",
    }
}

impl RouteFailure {
    fn verdict(self) -> Verdict {
        use RouteFailure::*;
        match self {
            NoTable => verdict(StatusCode::NOT_FOUND, Flag::Nr, Side::Local, "local.route.no_table", ""),
            NotFound => verdict(
                StatusCode::NOT_FOUND,
                Flag::Nr,
                Side::Local,
                "local.route.not_found",
                "",
            ),
            NoCluster => verdict(
                StatusCode::SERVICE_UNAVAILABLE,
                Flag::Nc,
                Side::Local,
                "local.cluster.not_found",
                "",
            ),
            NoEndpoint => Verdict {
                retry: Some(Break::NoEndpoint),
                ..verdict(
                    StatusCode::SERVICE_UNAVAILABLE,
                    Flag::Uh,
                    Side::Upstream,
                    "upstream.pick.no_endpoint",
                    "no healthy upstream",
                )
            },
            Timeout => late(Break::RouteTimeout, "upstream.response.timeout"),
            TryTimeout => late(Break::TryTimeout, "upstream.response.try_timeout"),
        }
    }
}

fn late(limit: Break, reason: &'static str) -> Verdict {
    Verdict {
        retry: Some(limit),
        ..verdict(
            StatusCode::GATEWAY_TIMEOUT,
            Flag::Ut,
            Side::Upstream,
            reason,
            "upstream request timeout",
        )
    }
}

fn overflow_verdict(overflow: Overflow) -> Verdict {
    let over = |reason| Verdict {
        retry: Some(Break::Overflow),
        ..verdict(
            StatusCode::SERVICE_UNAVAILABLE,
            Flag::Uo,
            Side::Local,
            reason,
            "upstream connect error or disconnect/reset before headers. reset reason: overflow",
        )
    };
    match overflow {
        Overflow::Connections => over("local.admit.connections"),
        Overflow::Pending => over("local.admit.pending"),
        Overflow::Requests => over("local.admit.requests"),
    }
}

impl UpstreamFailure {
    fn verdict(self) -> Verdict {
        use UpstreamFailure::*;
        let gone = |flag, reason, body| Verdict {
            retry: Some(Break::Reset),
            ..verdict(StatusCode::SERVICE_UNAVAILABLE, flag, Side::Upstream, reason, body)
        };
        match self {
            Connect => Verdict {
                retry: Some(Break::Connect),
                ..gone(
                    Flag::Uf,
                    "upstream.connect.refused",
                    "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure",
                )
            },
            ConnectTimeout => Verdict {
                retry: Some(Break::Connect),
                ..gone(
                    Flag::Uf,
                    "upstream.connect.timeout",
                    "upstream connect error or disconnect/reset before headers. reset reason: connection timeout",
                )
            },
            Stale => Verdict {
                retry: Some(Break::ResetBeforeRequest),
                ..gone(
                    Flag::Uc,
                    "upstream.send.stale_connection",
                    "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
                )
            },
            Closed => gone(
                Flag::Uc,
                "upstream.response.closed",
                "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
            ),
            Truncated => gone(Flag::Uc, "upstream.body.truncated", ""),
            RefusedStream => Verdict {
                retry: Some(Break::RefusedStream),
                ..gone(
                    Flag::Ur,
                    "upstream.stream.refused",
                    "upstream connect error or disconnect/reset before headers. reset reason: remote refused stream reset",
                )
            },
            GoAway => Verdict {
                retry: Some(Break::RefusedStream),
                ..gone(
                    Flag::Ur,
                    "upstream.stream.going_away",
                    "upstream connect error or disconnect/reset before headers. reset reason: remote refused stream reset",
                )
            },
            Reset => gone(
                Flag::Ur,
                "upstream.stream.reset",
                "upstream connect error or disconnect/reset before headers. reset reason: remote reset",
            ),
            Protocol => Verdict {
                retry: Some(Break::Reset),
                ..verdict(
                    StatusCode::BAD_GATEWAY,
                    Flag::Upe,
                    Side::Upstream,
                    "upstream.response.protocol",
                    "upstream connect error or disconnect/reset before headers. reset reason: protocol error",
                )
            },
        }
    }
}
