use http::{HeaderMap, HeaderName, StatusCode};

use super::grpc::grpc_status;
use crate::route::{RequestHead, RetryOn, RetryPolicy};

const RATE_LIMITED: HeaderName = HeaderName::from_static("x-envoy-ratelimited");

const SERVER_ERROR: RetryOn = RetryOn::word("5xx");
const GATEWAY_ERROR: RetryOn = RetryOn::word("gateway-error");
const RESET: RetryOn = RetryOn::word("reset");
const RESET_BEFORE_REQUEST: RetryOn = RetryOn::word("reset-before-request");
const CONNECT_FAILURE: RetryOn = RetryOn::word("connect-failure");
const REFUSED_STREAM: RetryOn = RetryOn::word("refused-stream");
const ENVOY_RATE_LIMITED: RetryOn = RetryOn::word("envoy-ratelimited");
const RETRIABLE_4XX: RetryOn = RetryOn::word("retriable-4xx");
const STATUS_CODES: RetryOn = RetryOn::word("retriable-status-codes");
const HEADERS: RetryOn = RetryOn::word("retriable-headers");
// `http3-post-connect-failure` has no meaning without HTTP/3.
const GRPC: [(u32, RetryOn); 6] = [
    (1, RetryOn::word("cancelled")),
    (2, RetryOn::word("unknown")),
    (4, RetryOn::word("deadline-exceeded")),
    (8, RetryOn::word("resource-exhausted")),
    (13, RetryOn::word("internal")),
    (14, RetryOn::word("unavailable")),
];

/// What became of an attempt.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    /// The upstream answered. Replies of the proxy's own are never this: a `503` among the codes means one that was sent.
    Response {
        /// Its status.
        status: StatusCode,
        /// Its headers; for gRPC a trailers-only response has its status here.
        headers: &'a HeaderMap,
    },
    /// There was no response.
    Break(Break),
}

/// Why there was no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Break {
    /// TCP or TLS could not be established, in time or at all. Nothing of the request was sent.
    Connect,
    /// HTTP/2: the upstream refused the stream, or took it back with GOAWAY; it did nothing (RFC 9113, section 8.7).
    RefusedStream,
    /// The connection or stream ended before anything of the request was sent.
    ResetBeforeRequest,
    /// The connection or stream ended after the request was on its way.
    Reset,
    /// The time limit of the try passed before anything of the request was sent.
    TryTimeoutBeforeRequest,
    /// The time limit of the try passed.
    TryTimeout,
    /// The time limit of the route passed: it ends everything.
    RouteTimeout,
    /// One of the cluster's own limits was reached. Trying again at once is what the limit is there to prevent.
    Overflow,
    /// There is no endpoint to try.
    NoEndpoint,
}

/// Whether there is another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// No: what came goes to the client.
    Final,
    /// No, though it would be retried: the attempts are used up (flag `URX`).
    Exhausted,
    /// Yes, if a permit for a retry can be had (else flag `UO`) and the request can be replayed.
    Retry {
        /// Which retry, from 1: the argument of [`backoff`](super::backoff).
        number: u32,
    },
}

/// Whether a request is retried at all: some policies ask for one of some headers. To be asked once, before the first try.
pub fn applies(policy: &RetryPolicy, request: &RequestHead<'_>) -> bool {
    let asked = &policy.request_headers;
    policy.attempts > 0 && (asked.is_empty() || asked.iter().any(|condition| condition.is_match(request)))
}

/// Whether an attempt that was sent can be followed by another at all: if not, nothing has to be kept for one. gRPC's words are
/// about gRPC calls, refused streams about HTTP/2; what never left needs no keeping.
pub fn follows_sending(policy: &RetryPolicy, is_grpc: bool, is_http2: bool) -> bool {
    const ANSWERED: RetryOn = SERVER_ERROR
        .with(GATEWAY_ERROR)
        .with(RESET)
        .with(ENVOY_RATE_LIMITED)
        .with(RETRIABLE_4XX);
    let on = policy.on;
    policy.attempts > 0
        && (on.has_any(ANSWERED)
            || on.has_any(STATUS_CODES) && !policy.codes.is_empty()
            || on.has_any(HEADERS) && !policy.response_headers.is_empty()
            || is_http2 && on.has_any(REFUSED_STREAM)
            || is_grpc && GRPC.iter().any(|(_, word)| on.has_any(*word)))
}

/// Decides after an attempt. `retries` is the number of retries made so far: 0 after the first try.
#[inline]
pub fn decide(policy: &RetryPolicy, retries: u32, outcome: Outcome<'_>) -> Decision {
    // Without attempts there is no policy, hence nothing that could be exhausted.
    if policy.attempts == 0 || !is_retriable(policy, outcome) {
        Decision::Final
    } else if retries >= policy.attempts {
        Decision::Exhausted
    } else {
        Decision::Retry { number: retries + 1 }
    }
}

fn is_retriable(policy: &RetryPolicy, outcome: Outcome<'_>) -> bool {
    match outcome {
        Outcome::Response { status, headers } => is_response_retriable(policy, status, headers),
        Outcome::Break(cause) => policy.on.has_any(conditions_of(cause)),
    }
}

/// The conditions that a break meets. Envoy: whatever ends without a response is a `reset`, and, since the client would get
/// 503 or 504 for it, a `5xx` and a `gateway-error`.
fn conditions_of(cause: Break) -> RetryOn {
    const BROKEN: RetryOn = RESET.with(SERVER_ERROR).with(GATEWAY_ERROR);
    const UNSENT: RetryOn = BROKEN.with(RESET_BEFORE_REQUEST);
    const NOTHING: RetryOn = RetryOn::none();
    match cause {
        Break::Connect => UNSENT.with(CONNECT_FAILURE),
        Break::RefusedStream => BROKEN.with(REFUSED_STREAM),
        Break::ResetBeforeRequest | Break::TryTimeoutBeforeRequest => UNSENT,
        Break::Reset | Break::TryTimeout => BROKEN,
        // The client would get 503. Envoy never retries it; the breaker of retries bounds what comes of it here.
        Break::Overflow => SERVER_ERROR,
        Break::RouteTimeout | Break::NoEndpoint => NOTHING,
    }
}

fn is_response_retriable(policy: &RetryPolicy, status: StatusCode, headers: &HeaderMap) -> bool {
    let on = policy.on;
    // Envoy: a proxy upstream has limited the rate; that is retried only by those who say so, whatever the status.
    if headers.contains_key(RATE_LIMITED) {
        return on.has_any(ENVOY_RATE_LIMITED);
    }
    let by_status = match status.as_u16() {
        502..=504 => SERVER_ERROR.with(GATEWAY_ERROR),
        500..=599 => SERVER_ERROR,
        409 => RETRIABLE_4XX,
        _ => RetryOn::none(),
    };
    on.has_any(by_status)
        || on.has_any(STATUS_CODES) && policy.codes.contains(&status)
        || on.has_any(HEADERS) && has_retriable_header(policy, headers)
        || is_grpc_retriable(on, headers)
}

fn has_retriable_header(policy: &RetryPolicy, headers: &HeaderMap) -> bool {
    // Conditions are written for requests; a response has none of a request's pseudo headers.
    let response = RequestHead {
        method: "",
        scheme: "",
        authority: "",
        path: "",
        query: None,
        headers,
    };
    policy
        .response_headers
        .iter()
        .any(|condition| condition.is_match(&response))
}

fn is_grpc_retriable(on: RetryOn, headers: &HeaderMap) -> bool {
    let Some(status) = grpc_status(headers) else {
        return false;
    };
    GRPC.iter().any(|(code, word)| *code == status && on.has_any(*word))
}
