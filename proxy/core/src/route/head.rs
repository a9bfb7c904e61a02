use std::borrow::Cow;

use http::HeaderMap;

/// What matching looks at. Everything is borrowed: building one costs nothing.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// The method, as sent.
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The authority as sent, with its port if it has one.
    pub authority: &'a str,
    /// The normalised path without query and fragment.
    pub path: &'a str,
    /// The query without `?`, raw; `None` when there was no `?`.
    pub query: Option<&'a str>,
    /// All other headers.
    pub headers: &'a HeaderMap,
}

impl<'a> RequestHead<'a> {
    /// The value of a header as matching sees it: several lines are joined with `,` in order of arrival.
    pub fn header(&self, name: &HeaderKey) -> Option<Cow<'a, [u8]>> {
        let name = match name {
            HeaderKey::Method => return Some(Cow::Borrowed(self.method.as_bytes())),
            HeaderKey::Scheme => return Some(Cow::Borrowed(self.scheme.as_bytes())),
            HeaderKey::Authority => return Some(Cow::Borrowed(self.authority.as_bytes())),
            HeaderKey::Path => return Some(self.path_and_query()),
            HeaderKey::Name(name) => name,
        };
        joined(self.headers, name)
    }

    fn path_and_query(&self) -> Cow<'a, [u8]> {
        match self.query {
            None => Cow::Borrowed(self.path.as_bytes()),
            Some(query) => Cow::Owned([self.path, "?", query].concat().into_bytes()),
        }
    }
}

/// All lines of a header as one value.
pub(super) fn joined<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<Cow<'a, [u8]>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    let Some(second) = values.next() else {
        return Some(Cow::Borrowed(first.as_bytes()));
    };
    let mut joined = Vec::with_capacity(first.len() + second.len() + 1);
    joined.extend_from_slice(first.as_bytes());
    for value in std::iter::once(second).chain(values) {
        joined.push(b',');
        joined.extend_from_slice(value.as_bytes());
    }
    Some(Cow::Owned(joined))
}

/// A header name with the pseudo headers resolved once, when the rule is compiled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HeaderKey {
    /// `:method`.
    Method,
    /// `:scheme`.
    Scheme,
    /// `:authority` (and `host`, which is the same header).
    Authority,
    /// `:path`, query included.
    Path,
    /// Any other.
    Name(http::HeaderName),
}

impl HeaderKey {
    /// Resolves a name; `None` when it is no header name.
    pub fn new(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            ":method" => Self::Method,
            ":scheme" => Self::Scheme,
            ":authority" | "host" => Self::Authority,
            ":path" => Self::Path,
            name => Self::Name(http::HeaderName::from_bytes(name.as_bytes()).ok()?),
        })
    }

    /// The name as it is written in rules.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Method => ":method",
            Self::Scheme => ":scheme",
            Self::Authority => ":authority",
            Self::Path => ":path",
            Self::Name(name) => name.as_str(),
        }
    }
}
