//! Names of hosts: short and full, exact and wildcard.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;

/// The full name of a host as an object in `namespace` means it. Istio: a name without any dot that is neither a
/// wildcard nor an address belongs to the namespace of the object; all else is literal. The result is lower case.
pub fn expand_host(host: &str, namespace: &str, domain: &str) -> String {
    let literal = host.is_empty() || host.starts_with('*') || host.contains('.') || host.parse::<IpAddr>().is_ok();
    let host = host.to_ascii_lowercase();
    if literal {
        host
    } else {
        format!("{host}.{namespace}.svc.{domain}")
    }
}

/// Whether a name begins with `*`.
pub fn is_wildcard(host: &str) -> bool {
    host.starts_with('*')
}

/// Whether either name covers the other (Istio: Matches). Both in lower case.
pub fn hosts_match(a: &str, b: &str) -> bool {
    subset_of(a, b) || subset_of(b, a)
}

/// Whether every name that `narrow` covers is covered by `wide` (Istio: SubsetOf). `*.foo.com` covers `a.foo.com` and
/// `a.b.foo.com`, but not `foo.com`. Both in lower case.
pub fn subset_of(narrow: &str, wide: &str) -> bool {
    match (narrow.strip_prefix('*'), wide.strip_prefix('*')) {
        (None, None) => narrow == wide,
        (Some(_), None) => false,
        (Some(narrow), Some(wide)) => narrow.ends_with(wide),
        (None, Some(wide)) => narrow.ends_with(wide),
    }
}

/// The more specific name first: exact before wildcard, then the longer, then by letters.
pub fn by_specificity(a: &str, b: &str) -> Ordering {
    is_wildcard(a)
        .cmp(&is_wildcard(b))
        .then_with(|| b.len().cmp(&a.len()))
        .then_with(|| a.cmp(b))
}

/// The most specific of `rules` that covers `host`. A wildcard `host` is covered by wildcards only.
pub fn most_specific<'a>(host: &str, rules: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    rules
        .into_iter()
        .filter(|rule| subset_of(host, rule))
        .min_by(|a, b| by_specificity(a, b))
}

/// `host` in lower case, without copying where it is so already.
pub(super) fn lower(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}
