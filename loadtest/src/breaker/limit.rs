//! What the configured limit counts.

use clap::ValueEnum;

use super::ledger::Highest;
use crate::scenario::Protocol;

/// `--limit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LimitOf {
    /// Connections to the upstream: `maxConnections`.
    #[default]
    Connections,
    /// Requests at once: `http2MaxRequests`.
    Requests,
}

impl LimitOf {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Requests => "requests",
        }
    }
}

/// What the limit counts, where a ledger is at hand.
///
/// # Errors
/// What is wrong with `asked`, or with the ledger.
pub(super) fn limit_of(asked: Option<LimitOf>, protocol: Protocol, highest: Highest) -> Result<LimitOf, &'static str> {
    let by_connection = matches!(protocol, Protocol::Http1 | Protocol::Tcp);
    // An upstream behind a proxy of its own sees that proxy's connections, and may count requests alone.
    let limit = asked.unwrap_or(if by_connection && highest.connections.is_some() {
        LimitOf::Connections
    } else {
        LimitOf::Requests
    });
    match limit {
        LimitOf::Connections if highest.connections.is_none() => Err("the ledger counts no connections"),
        LimitOf::Requests if highest.in_flight.is_none() => Err("the ledger counts no requests"),
        LimitOf::Requests if protocol == Protocol::Tcp => Err("TCP has no requests: connections are limited"),
        limit => Ok(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_counts_connections_only_where_callers_and_ledger_have_them() {
        let (both, requests) = (
            Highest {
                connections: Some(0),
                in_flight: Some(0),
            },
            Highest {
                connections: None,
                in_flight: Some(0),
            },
        );
        for (asked, protocol, highest, wanted) in [
            (None, Protocol::Http1, both, Ok(LimitOf::Connections)),
            (None, Protocol::Http1, requests, Ok(LimitOf::Requests)),
            (None, Protocol::Http2, both, Ok(LimitOf::Requests)),
            (None, Protocol::Grpc, both, Ok(LimitOf::Requests)),
            (None, Protocol::Tcp, both, Ok(LimitOf::Connections)),
            (Some(LimitOf::Requests), Protocol::Http1, both, Ok(LimitOf::Requests)),
            (
                Some(LimitOf::Connections),
                Protocol::Http2,
                both,
                Ok(LimitOf::Connections),
            ),
            (
                Some(LimitOf::Connections),
                Protocol::Http1,
                requests,
                Err("the ledger counts no connections"),
            ),
            (
                None,
                Protocol::Tcp,
                requests,
                Err("TCP has no requests: connections are limited"),
            ),
        ] {
            assert_eq!(
                limit_of(asked, protocol, highest),
                wanted,
                "{asked:?} {protocol:?} {highest:?}"
            );
        }
    }
}
