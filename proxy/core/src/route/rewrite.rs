use std::borrow::Cow;

use super::matcher::PathMatch;
use super::pattern::Pattern;

/// How the path changes on its way to the upstream. The query always stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRewrite {
    /// It does not.
    Keep,
    /// What the route matched is replaced: a prefix, or the whole path for an exact or regex match.
    Matched(Box<str>),
    /// The whole path is replaced.
    Full(Box<str>),
    /// Every place where the expression matches is replaced.
    Regex {
        /// Searched, not anchored.
        pattern: Pattern,
        /// With `\1` for groups.
        substitution: Box<str>,
    },
}

impl PathRewrite {
    /// The path that the upstream sees (without query). Borrowed when nothing changes.
    pub fn apply<'a>(&self, matched: &PathMatch, path: &'a str) -> Cow<'a, str> {
        match self {
            Self::Keep => Cow::Borrowed(path),
            Self::Matched(replacement) => Cow::Owned(replace_matched(matched, path, replacement)),
            Self::Full(replacement) => Cow::Owned(replacement.to_string()),
            Self::Regex { pattern, substitution } => {
                let bytes = pattern.replace_all(path.as_bytes(), substitution);
                match String::from_utf8(bytes) {
                    Ok(text) => Cow::Owned(text),
                    // A byte-wise expression can cut a character in two; such a rewrite is not made.
                    Err(_) => Cow::Borrowed(path),
                }
            }
        }
    }
}

/// Replaces what the match covered. Plain string replacement: `/api` → `/` turns `/api/v1` into `//v1`.
pub(super) fn replace_matched(matched: &PathMatch, path: &str, replacement: &str) -> String {
    let covered = match matched {
        PathMatch::Prefix(text) | PathMatch::Segments(text) => text.value.len(),
        PathMatch::Exact(_) | PathMatch::Regex(_) | PathMatch::Connect => path.len(),
    };
    let rest = path.get(covered..).unwrap_or_default();
    [replacement, rest].concat()
}
