//! Cross-origin resource sharing of a rule.

use std::time::Duration;

use crate::codes;
use crate::decode::{Field, Fields, Span};
use crate::kind::string_match::{MatchPlace, StringMatch};
use crate::validate;

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

const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*",
];

impl CorsPolicy {
    pub(super) fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let mut allow_origins = fields.list("allowOrigins", |f| StringMatch::read(f, MatchPlace::Other));
        if let Some(old) = fields.old("allowOrigin") {
            old.warn(codes::SCHEMA_WARNING, "is deprecated", "use `allowOrigins`");
            // Istio: the new list hides the old one completely.
            if allow_origins.is_empty() {
                let read = |origin: String| {
                    if origin == "*" {
                        StringMatch::Regex(".*".to_owned())
                    } else {
                        StringMatch::Exact(origin)
                    }
                };
                allow_origins = old.strings().into_iter().map(read).collect();
            }
        }
        let allow_methods = fields.list("allowMethods", |f| {
            let method = f.text()?;
            if !METHODS.contains(&method) {
                f.error(
                    format!("is `{method}`"),
                    format!("must be one of {}", METHODS.join(", ")),
                );
            }
            Some(method.to_owned())
        });
        let policy = Self {
            allow_origins,
            allow_methods,
            allow_headers: names(&mut fields, "allowHeaders"),
            expose_headers: names(&mut fields, "exposeHeaders"),
            max_age: fields.duration("maxAge", Span::Seconds),
            allow_credentials: fields.bool("allowCredentials"),
            unmatched_preflights: fields
                .word(
                    "unmatchedPreflights",
                    &[
                        ("UNSPECIFIED", UnmatchedPreflights::Unspecified),
                        ("FORWARD", UnmatchedPreflights::Forward),
                        ("IGNORE", UnmatchedPreflights::Ignore),
                    ],
                )
                .unwrap_or_default(),
        };
        fields.finish();
        Some(policy)
    }
}

fn names(fields: &mut Fields<'_>, name: &'static str) -> Vec<String> {
    fields.list(name, |f| {
        let header = f.text()?;
        f.check(validate::header_name(header)).map(|()| header.to_owned())
    })
}
