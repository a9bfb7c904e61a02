use super::head::{HeaderKey, RequestHead};
use super::pattern::Pattern;
use super::string::{StringMatch, Text};

/// When a route applies: all conditions together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteMatch {
    /// The path, without query.
    pub path: PathMatch,
    /// Conditions on headers.
    pub headers: Vec<HeaderMatch>,
    /// Conditions on query parameters.
    pub query: Vec<QueryMatch>,
    /// Only gRPC requests (`content-type: application/grpc…`).
    pub grpc: bool,
}

/// A condition on the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    /// The whole path.
    Exact(Text),
    /// A plain string prefix: `/foo` takes `/foobar`.
    Prefix(Text),
    /// A prefix that ends at a separator: `/foo` takes `/foo` and `/foo/bar`, not `/foobar`.
    Segments(Text),
    /// The whole path matches.
    Regex(Pattern),
    /// A CONNECT request, which has no path.
    Connect,
}

/// A condition on a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Which one.
    pub name: HeaderKey,
    /// The test.
    pub test: HeaderTest,
    /// The outcome is turned round. A missing header still fails every test but presence, unless `missing_is_empty`.
    pub invert: bool,
    /// A missing header is tested as the empty text.
    pub missing_is_empty: bool,
}

/// A test of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderTest {
    /// It is there, or it is not.
    Present(bool),
    /// Its joined value passes.
    Value(StringMatch),
    /// Its value is an integer in `start..end`.
    Range {
        /// Included.
        start: i64,
        /// Excluded.
        end: i64,
    },
}

/// A condition on a query parameter: the first of its name, raw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryMatch {
    /// Name, case-sensitive, raw.
    pub name: Box<str>,
    /// `None` is presence.
    pub value: Option<StringMatch>,
}

impl RouteMatch {
    /// Every request.
    pub fn any() -> Self {
        Self {
            path: PathMatch::Prefix(Text::new("", false)),
            headers: Vec::new(),
            query: Vec::new(),
            grpc: false,
        }
    }

    /// Whether the request meets every condition.
    pub fn is_match(&self, head: &RequestHead<'_>) -> bool {
        self.path.is_match(head)
            && (!self.grpc || is_grpc(head))
            && self.headers.iter().all(|condition| condition.is_match(head))
            && self.query.iter().all(|condition| condition.is_match(head.query))
    }

    /// Whether nothing but the path is asked for.
    pub fn is_path_only(&self) -> bool {
        self.headers.is_empty() && self.query.is_empty() && !self.grpc
    }
}

fn is_grpc(head: &RequestHead<'_>) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    head.headers.get(http::header::CONTENT_TYPE).is_some_and(|value| {
        value
            .as_bytes()
            .strip_prefix(GRPC)
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'+')
    })
}

impl PathMatch {
    /// Whether the path passes.
    pub fn is_match(&self, head: &RequestHead<'_>) -> bool {
        let path = head.path.as_bytes();
        let connect = head.method == "CONNECT" && path.is_empty();
        match self {
            // A CONNECT request without a path meets only what asks for CONNECT.
            Self::Connect => head.method == "CONNECT",
            _ if connect => false,
            Self::Exact(text) => text.equals(path),
            Self::Prefix(text) => text.starts(path),
            Self::Segments(text) => text.starts(path) && path.get(text.value.len()).is_none_or(|next| *next == b'/'),
            Self::Regex(pattern) => pattern.is_match(path),
        }
    }
}

impl HeaderMatch {
    /// Whether the request meets the condition.
    pub fn is_match(&self, head: &RequestHead<'_>) -> bool {
        let value = head.header(&self.name);
        let passed = match (&self.test, value) {
            (HeaderTest::Present(wanted), value) => {
                // With "missing counts as empty" the header is there for every request.
                (value.is_some() || self.missing_is_empty) == *wanted
            }
            (_, None) if !self.missing_is_empty => return false,
            (HeaderTest::Value(test), value) => test.is_match(value.as_deref().unwrap_or_default()),
            (HeaderTest::Range { start, end }, value) => value
                .as_deref()
                .and_then(|bytes| std::str::from_utf8(bytes).ok())
                .and_then(|text| text.parse::<i64>().ok())
                .is_some_and(|number| (*start..*end).contains(&number)),
        };
        passed != self.invert
    }
}

impl QueryMatch {
    /// Whether the query meets the condition.
    pub fn is_match(&self, query: Option<&str>) -> bool {
        let found = query.and_then(|query| {
            query.split('&').find_map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (name == &*self.name).then_some(value)
            })
        });
        match (&self.value, found) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(test), Some(value)) => test.is_match(value.as_bytes()),
        }
    }
}
