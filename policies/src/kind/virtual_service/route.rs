//! HTTP rules and what they do.

use std::sync::Arc;
use std::time::Duration;

use super::{CorsPolicy, Fault, Headers, HttpMatch, HttpRetry};
use crate::kind::destination::Destination;
use crate::object::Meta;
use crate::percent::Percent;

/// One entry of `http[]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpRoute {
    /// Name in logs.
    pub name: Option<String>,
    /// Alternatives, in order; empty: every request.
    pub matches: Vec<HttpMatch>,
    /// What is done.
    pub action: HttpAction,
    /// Change of path and authority.
    pub rewrite: Option<HttpRewrite>,
    /// Limit of the whole exchange; zero: off, as when unset.
    pub timeout: Option<Duration>,
    /// Retries; unset: the mesh default.
    pub retries: Option<HttpRetry>,
    /// Injected faults.
    pub fault: Option<Fault>,
    /// The single mirror, with `mirror_percentage`. Excludes `mirrors`. Most readers want `effective_mirrors`.
    pub mirror: Option<Destination>,
    /// `mirrorPercentage`, or the deprecated `mirrorPercent` where that is unset; unset: all.
    pub mirror_percentage: Option<Percent>,
    /// Any number of mirrors.
    pub mirrors: Vec<HttpMirror>,
    /// CORS.
    pub cors_policy: Option<CorsPolicy>,
    /// Header operations of the rule.
    pub headers: Headers,
    /// Where it stands, unless that is where it was written.
    pub origin: Option<RuleOrigin>,
}

/// Where a rule of an object with delegates was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RuleOrigin {
    /// Index in the object's own `http[]`.
    pub rule: usize,
    /// The delegate that it comes from, and its index there.
    pub delegate: Option<(Arc<Meta>, usize)>,
    /// Why the delegate's rule stands for nothing; its action is then the root's delegation.
    pub dropped: Option<Dropped>,
}

/// Why a rule of a delegate has no place under a rule of its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// One of its matches fits no match of the root's rule.
    FitsNoMatch,
    /// With it the root would have more matches than are merged.
    TooManyMatches,
}

impl HttpRoute {
    /// The mirrors of the rule in one form, each with its share; none with a share of zero.
    pub fn effective_mirrors(&self) -> Vec<HttpMirror> {
        let single = self.mirror.iter().map(|destination| HttpMirror {
            destination: destination.clone(),
            percentage: self.mirror_percentage.unwrap_or(Percent::HUNDRED),
        });
        single
            .chain(self.mirrors.iter().cloned())
            .filter(|m| m.percentage > Percent::ZERO)
            .collect()
    }
}

/// Exactly one of these per rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HttpAction {
    /// Forward to one of these, by weight.
    Route(Vec<HttpRouteDestination>),
    /// Answer with a redirect.
    Redirect(HttpRedirect),
    /// Answer at once.
    DirectResponse(DirectResponse),
    /// The rules of another VirtualService stand here.
    Delegate(Delegate),
}

/// One entry of `http[].route`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct HttpRouteDestination {
    /// Where to.
    pub destination: Destination,
    /// Share of the sum of weights; ignored with a single destination.
    pub weight: u32,
    /// Header operations for this destination.
    pub headers: Headers,
}

/// `http[].redirect`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct HttpRedirect {
    /// Whole new path. Excludes `prefix_rewrite`.
    pub uri: Option<String>,
    /// Replacement of the matched prefix.
    pub prefix_rewrite: Option<String>,
    /// Host part of the Location.
    pub authority: Option<String>,
    /// Port part of the Location; unset: none.
    pub port: Option<RedirectPort>,
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// 301, 302, 303, 307 or 308; unset: 301.
    pub redirect_code: Option<u16>,
}

/// How the port of a Location is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RedirectPort {
    /// This one.
    Number(u16),
    /// The default of the scheme, hence not printed.
    FromProtocolDefault,
    /// The port of the listener.
    FromRequestPort,
}

/// `http[].directResponse`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct DirectResponse {
    /// Status, 200..=599.
    pub status: u16,
    /// Body, at most 1 MB.
    pub body: Vec<u8>,
}

/// `http[].delegate`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Delegate {
    /// Name of a VirtualService without hosts.
    pub name: String,
    /// Its namespace; unset: that of the delegating object.
    pub namespace: Option<String>,
}

/// `http[].rewrite`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct HttpRewrite {
    /// Change of the path.
    pub uri: Option<UriRewrite>,
    /// New Host towards the upstream.
    pub authority: Option<String>,
}

/// How a path is rewritten.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UriRewrite {
    /// Replaces the matched prefix, or the whole path of an exact or regex match.
    Literal(String),
    /// Replaces every match of `pattern`; groups are `\1`.
    Regex {
        /// RE2 expression, searched, not anchored.
        pattern: String,
        /// Substitution.
        substitution: String,
    },
}

/// One mirror.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpMirror {
    /// Where copies go.
    pub destination: Destination,
    /// Share of requests.
    pub percentage: Percent,
}
