//! How a string is compared.

/// A condition on one string.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StringMatch {
    /// Equal.
    Exact(String),
    /// Starts with; never empty but for uris.
    Prefix(String),
    /// The whole value matches this RE2 expression; it has been compiled once and is known to be good.
    Regex(String),
    /// There is a value at all: `{}`, or `regex: "*"` in `withoutHeaders`.
    Present,
}
