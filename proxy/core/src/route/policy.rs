use std::time::Duration;

use http::{HeaderValue, StatusCode};

use super::bind::ClusterRef;
use super::head::HeaderKey;
use super::matcher::HeaderMatch;
use super::string::StringMatch;

/// A share of requests, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percentage(u32);

impl Percentage {
    /// All requests.
    pub const ALL: Self = Self(1_000_000);

    /// Millionths; more than a million counts as all.
    pub fn from_millionths(millionths: u32) -> Self {
        Self(millionths.min(Self::ALL.0))
    }

    /// Millionths.
    pub fn millionths(self) -> u32 {
        self.0
    }

    /// Percent, with fractions.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// Whether a random number falls into the share.
    pub fn draw(self, rng: u64) -> bool {
        // The high bits, scaled: no bias worth the name at 64 bits.
        let millionth = (u128::from(rng) * u128::from(Self::ALL.0)) >> 64;
        millionth < u128::from(self.0)
    }
}

/// When and how a request is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Retries after the first try; 0 switches retries off.
    pub attempts: u32,
    /// Limit of one try; `None` leaves only the route's.
    pub per_try_timeout: Option<Duration>,
    /// Idle limit of one try.
    pub per_try_idle_timeout: Option<Duration>,
    /// Conditions.
    pub on: RetryOn,
    /// Status codes that are retried when the conditions include `retriable-status-codes`.
    pub codes: Vec<StatusCode>,
    /// Response headers that make a response retriable, with `retriable-headers`.
    pub response_headers: Vec<HeaderMatch>,
    /// Only requests that meet one of these are retried; empty: all.
    pub request_headers: Vec<HeaderMatch>,
    /// First step of the backoff.
    pub backoff_base: Duration,
    /// Cap of the backoff.
    pub backoff_max: Duration,
    /// Endpoints that were tried are avoided.
    pub avoid_previous_hosts: bool,
    /// Priorities that were tried are avoided, updated every so many tries.
    pub avoid_previous_priorities: Option<u32>,
    /// How often a pick is repeated in search of an endpoint that was not tried.
    pub host_selection_attempts: u32,
}

/// Retry conditions, in Envoy's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct RetryOn(u32);

/// Every word that is known, in the order in which they are printed.
const RETRY_WORDS: [&str; 17] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
    "unknown",
];

impl RetryOn {
    /// Reads a comma-separated list. Words that are not known are handed back, as Envoy ignores them.
    pub fn parse(list: &str) -> (Self, Vec<String>) {
        let (mut on, mut unknown) = (Self::default(), Vec::new());
        for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match RETRY_WORDS.iter().position(|known| *known == word) {
                Some(bit) => on.0 |= 1 << bit,
                None => unknown.push(word.to_owned()),
            }
        }
        (on, unknown)
    }

    /// The condition of a word that is known; to be resolved when the program is compiled.
    pub(crate) const fn word(word: &str) -> Self {
        let mut bit = 0;
        while bit < RETRY_WORDS.len() {
            if equal(RETRY_WORDS[bit].as_bytes(), word.as_bytes()) {
                return Self(1 << bit);
            }
            bit += 1;
        }
        panic!("no retry condition has this name");
    }

    /// No condition.
    pub(crate) const fn none() -> Self {
        Self(0)
    }

    /// The conditions of both.
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether one of these conditions is set.
    pub(crate) const fn has_any(self, conditions: Self) -> bool {
        self.0 & conditions.0 != 0
    }

    /// Whether a condition is set, by its word.
    pub fn has(self, word: &str) -> bool {
        RETRY_WORDS
            .iter()
            .position(|known| *known == word)
            .is_some_and(|bit| self.0 & (1 << bit) != 0)
    }

    /// The words that are set.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        RETRY_WORDS
            .iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, word)| *word)
    }
}

/// `==` on slices is not to be had in constants.
const fn equal(left: &[u8], right: &[u8]) -> bool {
    let mut at = 0;
    while at < left.len() && at < right.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    left.len() == right.len()
}

/// A copy of requests to another cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Where to.
    pub cluster: ClusterRef,
    /// Share of requests.
    pub share: Percentage,
    /// The authority keeps its name instead of getting `-shadow` appended.
    pub keep_authority: bool,
}

/// Faults put into requests on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fault {
    /// Wait before forwarding.
    pub delay: Option<Delay>,
    /// Answer instead of forwarding.
    pub abort: Option<FaultAbort>,
}

/// A wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delay {
    /// How long.
    pub fixed: Duration,
    /// Share of requests.
    pub share: Percentage,
}

/// An answer made on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultAbort {
    /// The status; with a gRPC status the HTTP status is 200.
    pub status: StatusCode,
    /// The gRPC status, where one is wanted.
    pub grpc_status: Option<u8>,
    /// Share of requests.
    pub share: Percentage,
}

/// Cross-origin policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Origins that are allowed.
    pub allow_origins: Vec<StringMatch>,
    /// `access-control-allow-methods`; `*` is an echo of what is asked for.
    pub allow_methods: Option<HeaderValue>,
    /// `access-control-allow-headers`; `*` is an echo of what is asked for.
    pub allow_headers: Option<HeaderValue>,
    /// `access-control-expose-headers`.
    pub expose_headers: Option<HeaderValue>,
    /// `access-control-max-age`, as text.
    pub max_age: Option<HeaderValue>,
    /// `access-control-allow-credentials: true` is sent.
    pub allow_credentials: bool,
    /// A preflight whose origin is not allowed is forwarded (Istio's default) rather than answered.
    pub forward_unmatched_preflights: bool,
    /// Share of requests for which the policy is in force.
    pub enabled: Percentage,
}

/// What a consistent hash is computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// A request header, all its values.
    Header(HeaderKey),
    /// A cookie, made by the proxy when it is missing and `ttl` is given.
    Cookie {
        /// Its name.
        name: Box<str>,
        /// Its path.
        path: Box<str>,
        /// Lifetime; zero is a session cookie; `None` makes none.
        ttl: Option<Duration>,
        /// What else is said when it is made, as it stands in the header: `name` or `name=value`.
        attributes: Vec<Box<str>>,
    },
    /// The address of the client.
    SourceIp,
    /// First value of a query parameter.
    Query(Box<str>),
}
