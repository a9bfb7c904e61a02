//! Retries of a rule.

use std::time::Duration;

/// `http[].retries`. No such block at all means the mesh default; `attempts: 0` means none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct HttpRetry {
    /// Retries, the first try not counted.
    pub attempts: u32,
    /// Limit of each try.
    pub per_try_timeout: Option<Duration>,
    /// When to retry; unset: the default list.
    pub retry_on: Option<RetryOn>,
    /// Prefer localities that have not been tried.
    pub retry_remote_localities: Option<bool>,
    /// Avoid endpoints that have been tried; unset: yes.
    pub retry_ignore_previous_hosts: Option<bool>,
    /// Base of the back-off; unset: 25 ms.
    pub backoff: Option<Duration>,
}

/// `retryOn`, split into words and statuses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct RetryOn {
    /// Conditions, in the order written. Statuses do not put `RetriableStatusCodes` here by themselves.
    pub words: Vec<RetryWord>,
    /// Statuses that are retried.
    pub codes: Vec<u16>,
}

/// One condition of `retryOn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // The words are Envoy's own; `as_str` spells them.
pub enum RetryWord {
    FiveXx,
    GatewayError,
    Reset,
    ResetBeforeRequest,
    ConnectFailure,
    Retriable4xx,
    RefusedStream,
    RetriableStatusCodes,
    RetriableHeaders,
    EnvoyRatelimited,
    Http3PostConnectFailure,
    Cancelled,
    DeadlineExceeded,
    Internal,
    ResourceExhausted,
    Unavailable,
}

impl RetryWord {
    /// Every word, for reading and for advice.
    pub const ALL: [Self; 16] = [
        Self::FiveXx,
        Self::GatewayError,
        Self::Reset,
        Self::ResetBeforeRequest,
        Self::ConnectFailure,
        Self::Retriable4xx,
        Self::RefusedStream,
        Self::RetriableStatusCodes,
        Self::RetriableHeaders,
        Self::EnvoyRatelimited,
        Self::Http3PostConnectFailure,
        Self::Cancelled,
        Self::DeadlineExceeded,
        Self::Internal,
        Self::ResourceExhausted,
        Self::Unavailable,
    ];

    /// Envoy's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FiveXx => "5xx",
            Self::GatewayError => "gateway-error",
            Self::Reset => "reset",
            Self::ResetBeforeRequest => "reset-before-request",
            Self::ConnectFailure => "connect-failure",
            Self::Retriable4xx => "retriable-4xx",
            Self::RefusedStream => "refused-stream",
            Self::RetriableStatusCodes => "retriable-status-codes",
            Self::RetriableHeaders => "retriable-headers",
            Self::EnvoyRatelimited => "envoy-ratelimited",
            Self::Http3PostConnectFailure => "http3-post-connect-failure",
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::Internal => "internal",
            Self::ResourceExhausted => "resource-exhausted",
            Self::Unavailable => "unavailable",
        }
    }

    /// Reads one word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|w| w.as_str() == word)
    }
}
