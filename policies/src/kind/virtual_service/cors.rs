//! Cross-origin resource sharing of a rule.

use std::time::Duration;

use crate::kind::string_match::StringMatch;

/// `http[].corsPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CorsPolicy {
    /// Origins; the deprecated `allowOrigin` list has been translated (`*` is the regex `.*`).
    pub allow_origins: Vec<StringMatch>,
    /// Methods of preflight answers.
    pub allow_methods: Vec<String>,
    /// Request headers of preflight answers.
    pub allow_headers: Vec<String>,
    /// Response headers that pages may read.
    pub expose_headers: Vec<String>,
    /// How long a preflight answer holds; whole seconds.
    pub max_age: Option<Duration>,
    /// Whether credentials are allowed; unset: nothing is said.
    pub allow_credentials: Option<bool>,
    /// What happens to preflights of other origins.
    pub unmatched_preflights: UnmatchedPreflights,
}

/// `unmatchedPreflights`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UnmatchedPreflights {
    /// Not given: as `Forward`.
    #[default]
    Unspecified,
    /// They go to the upstream.
    Forward,
    /// They are answered here, without CORS headers.
    Ignore,
}
