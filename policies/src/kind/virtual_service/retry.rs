//! Retries of a rule.

use std::time::Duration;

use crate::decode::{Field, Span, nearest};

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

impl HttpRetry {
    pub(crate) fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let retry = Self {
            attempts: fields.count("attempts").unwrap_or_default(),
            per_try_timeout: fields
                .duration("perTryTimeout", Span::ZeroOrPositive)
                .filter(|d| !d.is_zero()),
            retry_on: fields.field("retryOn").and_then(|f| RetryOn::read(&f)),
            retry_remote_localities: fields.bool("retryRemoteLocalities"),
            retry_ignore_previous_hosts: fields.bool("retryIgnorePreviousHosts"),
            backoff: fields.duration("backoff", Span::Positive),
        };
        let more =
            retry.per_try_timeout.is_some() || retry.retry_on.is_some() || retry.retry_remote_localities.is_some();
        if retry.attempts == 0 && more {
            field.error(
                "sets retries up without allowing any",
                "set `attempts`, or remove the other fields",
            );
        }
        fields.finish();
        Some(retry)
    }
}

impl RetryOn {
    fn read(field: &Field<'_>) -> Option<Self> {
        let text = field.text().filter(|text| !text.is_empty())?;
        let mut retry_on = Self::default();
        for word in text.split(',') {
            let code = word
                .parse::<u16>()
                .ok()
                .filter(|n| word.len() == 3 && (100..=599).contains(n));
            if let Some(known) = RetryWord::parse(word) {
                retry_on.words.push(known);
            } else if let Some(code) = code {
                retry_on.codes.push(code);
            } else if word.contains(char::is_whitespace) {
                field.error(format!("holds a blank in `{word}`"), "write the words with commas only");
            } else {
                let fix = match nearest(word, RetryWord::ALL.map(RetryWord::as_str)) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => "use Envoy's words, or three-digit statuses".to_owned(),
                };
                field.error(format!("holds `{word}`"), fix);
            }
        }
        Some(retry_on)
    }
}
