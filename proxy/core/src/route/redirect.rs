use http::{HeaderValue, StatusCode};

use super::head::RequestHead;
use super::matcher::PathMatch;
use super::pattern::Pattern;
use super::rewrite::replace_matched;

/// An answer that names another place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// The new scheme; `None` keeps it.
    pub scheme: Option<Box<str>>,
    /// The new host; `None` keeps it.
    pub host: Option<Box<str>>,
    /// The port that is printed; `None` prints none of our own.
    pub port: Option<u16>,
    /// The new path.
    pub path: PathRedirect,
    /// The query is dropped.
    pub strip_query: bool,
}

/// How the path changes in a redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRedirect {
    /// It does not.
    Keep,
    /// It becomes this; when this has a query of its own, the request's is dropped.
    Full(Box<str>),
    /// What the route matched is replaced.
    Matched(Box<str>),
    /// Every place where the expression matches is replaced.
    Regex {
        /// Searched, not anchored.
        pattern: Pattern,
        /// With `\1` for groups.
        substitution: Box<str>,
    },
}

impl Redirect {
    /// The value of `location`.
    pub fn location(&self, matched: &PathMatch, head: &RequestHead<'_>) -> Option<HeaderValue> {
        let scheme = self.scheme.as_deref().unwrap_or(head.scheme);
        let host = match &self.host {
            Some(host) => host,
            None => self.kept_host(head, scheme),
        };

        let path = self.path(matched, head.path);
        let query = head.query.filter(|_| !self.strip_query && !path.contains('?'));
        let mut location = [scheme, "://", host].concat();
        if let Some(port) = self.port {
            location.push(':');
            location.push_str(&port.to_string());
        }
        location.push_str(&path);
        if let Some(query) = query {
            location.push('?');
            location.push_str(query);
        }
        HeaderValue::try_from(location).ok()
    }

    /// The request's authority. A new port replaces its port; a new scheme drops the port that was its old scheme's own
    /// (Envoy: `RedirectAction`); any other port stays.
    fn kept_host<'a>(&self, head: &RequestHead<'a>, new_scheme: &str) -> &'a str {
        let (host, port) = split_port(head.authority);
        let drops =
            self.port.is_some() || (new_scheme != head.scheme && port.is_some() && port == default_port(head.scheme));
        if drops { host } else { head.authority }
    }

    fn path(&self, matched: &PathMatch, path: &str) -> String {
        match &self.path {
            PathRedirect::Keep => path.to_owned(),
            PathRedirect::Full(new) => new.to_string(),
            PathRedirect::Matched(replacement) => replace_matched(matched, path, replacement),
            PathRedirect::Regex { pattern, substitution } => {
                String::from_utf8(pattern.replace_all(path.as_bytes(), substitution))
                    .unwrap_or_else(|_| path.to_owned())
            }
        }
    }

    /// The permanent redirect of a virtual host that takes only TLS.
    pub fn to_https() -> Self {
        Self {
            status: StatusCode::MOVED_PERMANENTLY,
            scheme: Some("https".into()),
            host: None,
            port: None,
            path: PathRedirect::Keep,
            strip_query: false,
        }
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// Splits `host:port`; an IPv6 literal keeps its brackets.
pub(super) fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (authority, None),
        },
        _ => (authority, None),
    }
}
