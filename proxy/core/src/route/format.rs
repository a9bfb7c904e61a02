use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Version};
use rustc_hash::FxHashMap;

use super::format_time::{TimePart, render_time, time_format};
use super::head::{HeaderKey, joined};

/// What `%…%` operators read. Built once per request by whoever applies header operations; unknown values stay `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct FormatContext<'a> {
    /// The client, after `x-forwarded-for` has been taken into account.
    pub downstream_remote: Option<SocketAddr>,
    /// The peer of the connection.
    pub downstream_direct_remote: Option<SocketAddr>,
    /// Our end of the client's connection.
    pub downstream_local: Option<SocketAddr>,
    /// The chosen endpoint.
    pub upstream_host: Option<SocketAddr>,
    /// The chosen cluster.
    pub upstream_cluster: Option<&'a str>,
    /// Name of the route.
    pub route_name: Option<&'a str>,
    /// Headers of the request (for a request's own operations: the headers being changed).
    pub request: Option<&'a HeaderMap>,
    /// Headers of the response.
    pub response: Option<&'a HeaderMap>,
    /// `:method`.
    pub method: Option<&'a str>,
    /// `:path` with query, as forwarded.
    pub path: Option<&'a str>,
    /// `:authority`.
    pub authority: Option<&'a str>,
    /// `:scheme`.
    pub scheme: Option<&'a str>,
    /// Protocol of the client's request.
    pub protocol: Option<Version>,
    /// Status of the response.
    pub response_code: Option<u16>,
    /// Response flags, joined.
    pub response_flags: Option<&'a str>,
    /// When the request began.
    pub start_time: Option<SystemTime>,
    /// How long it has taken so far.
    pub duration: Option<Duration>,
    /// Name of this host.
    pub hostname: Option<&'a str>,
    /// Server name of the TLS handshake.
    pub server_name: Option<&'a str>,
    /// Environment variables, as they were read at start.
    pub environment: Option<&'a FxHashMap<String, String>>,
}

/// A text with `%…%` operators, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    segments: Vec<Segment>,
}

/// A text that is no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A `%` that opens an operator and is never closed.
    #[error("unbalanced % in {0:?} (a literal percent sign is %%)")]
    Unbalanced(String),
    /// An operator that is not known here.
    #[error("unknown operator %{0}%")]
    Unknown(String),
    /// An operator with an argument that makes no sense.
    #[error("operator %{operator}%: {reason}")]
    Argument {
        /// The operator with its argument.
        operator: String,
        /// What is wrong.
        reason: &'static str,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    Operator { operator: Operator, max: Option<usize> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operator {
    DownstreamRemote(AddressPart),
    DownstreamDirectRemote(AddressPart),
    DownstreamLocal(AddressPart),
    UpstreamHost(AddressPart),
    UpstreamCluster,
    RouteName,
    Request(HeaderSource),
    Response(HeaderSource),
    Protocol,
    ResponseCode,
    ResponseFlags,
    StartTime(Vec<TimePart>),
    Duration,
    Hostname,
    ServerName,
    Environment(Box<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AddressPart {
    Both,
    Ip,
    Port,
}

/// A header, or another one when it is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HeaderSource {
    first: HeaderKey,
    second: Option<HeaderKey>,
}

impl Format {
    /// Compiles a text.
    ///
    /// # Errors
    /// For unbalanced `%` and for operators that are not known: a value that would silently differ helps nobody.
    pub fn new(text: &str) -> Result<Self, FormatError> {
        let mut segments = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            literal.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                literal.push('%');
                rest = after;
                continue;
            }
            let end = operator_end(rest).ok_or_else(|| FormatError::Unbalanced(text.to_owned()))?;
            if !literal.is_empty() {
                segments.push(Segment::Literal(std::mem::take(&mut literal).into()));
            }
            segments.push(operator(&rest[..end])?);
            rest = &rest[end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            segments.push(Segment::Literal(literal.into()));
        }
        Ok(Self { segments })
    }

    /// The text, when it has no operator.
    pub fn as_literal(&self) -> Option<&str> {
        match self.segments.as_slice() {
            [] => Some(""),
            [Segment::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Fills in the operators. An unknown value becomes `missing`: nothing in a header, `-` in a log.
    pub fn render(&self, context: &FormatContext<'_>, missing: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for segment in &self.segments {
            match segment {
                Segment::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Segment::Operator { operator, max } => {
                    let value = operator.value(context);
                    let value = value.as_deref().unwrap_or(missing.as_bytes());
                    out.extend_from_slice(&value[..value.len().min(max.unwrap_or(usize::MAX))]);
                }
            }
        }
        out
    }
}

/// Position of the `%` that closes an operator: an argument in parentheses may hold percent signs of its own.
fn operator_end(text: &str) -> Option<usize> {
    let close = text.find('%')?;
    match text.find('(').filter(|open| *open < close) {
        None => Some(close),
        Some(open) => {
            let shut = open + text[open..].find(')')?;
            Some(shut + text[shut..].find('%')?)
        }
    }
}

fn operator(text: &str) -> Result<Segment, FormatError> {
    let argument_error = |reason| FormatError::Argument {
        operator: text.to_owned(),
        reason,
    };
    let (name, argument, tail) = match text.split_once('(') {
        None => match text.split_once(':') {
            Some((name, max)) => (name, None, Some(max)),
            None => (text, None, None),
        },
        Some((name, rest)) => {
            let (argument, tail) = rest
                .split_once(')')
                .ok_or_else(|| argument_error("no closing parenthesis"))?;
            (name, Some(argument), tail.strip_prefix(':'))
        }
    };
    let max = tail
        .map(str::parse)
        .transpose()
        .map_err(|_| argument_error("the length is no number"))?;
    let header = || {
        let argument = argument.ok_or_else(|| argument_error("names no header"))?;
        let (first, second) = match argument.split_once('?') {
            Some((first, second)) => (first, Some(second)),
            None => (argument, None),
        };
        let key = |name: &str| HeaderKey::new(name).ok_or_else(|| argument_error("is no header name"));
        Ok(HeaderSource {
            first: key(first)?,
            second: second.map(key).transpose()?,
        })
    };
    let operator = match name {
        "DOWNSTREAM_REMOTE_ADDRESS" => Operator::DownstreamRemote(AddressPart::Both),
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Operator::DownstreamRemote(AddressPart::Ip),
        "DOWNSTREAM_REMOTE_PORT" => Operator::DownstreamRemote(AddressPart::Port),
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => Operator::DownstreamDirectRemote(AddressPart::Both),
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => Operator::DownstreamDirectRemote(AddressPart::Ip),
        "DOWNSTREAM_DIRECT_REMOTE_PORT" => Operator::DownstreamDirectRemote(AddressPart::Port),
        "DOWNSTREAM_LOCAL_ADDRESS" => Operator::DownstreamLocal(AddressPart::Both),
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => Operator::DownstreamLocal(AddressPart::Ip),
        "DOWNSTREAM_LOCAL_PORT" => Operator::DownstreamLocal(AddressPart::Port),
        "UPSTREAM_HOST" | "UPSTREAM_REMOTE_ADDRESS" => Operator::UpstreamHost(AddressPart::Both),
        "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Operator::UpstreamHost(AddressPart::Ip),
        "UPSTREAM_REMOTE_PORT" => Operator::UpstreamHost(AddressPart::Port),
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Operator::UpstreamCluster,
        "ROUTE_NAME" => Operator::RouteName,
        "REQ" => Operator::Request(header()?),
        "RESP" => Operator::Response(header()?),
        "PROTOCOL" => Operator::Protocol,
        "RESPONSE_CODE" => Operator::ResponseCode,
        "RESPONSE_FLAGS" => Operator::ResponseFlags,
        "START_TIME" => Operator::StartTime(
            time_format(argument.unwrap_or_default()).ok_or_else(|| argument_error("a conversion is not known"))?,
        ),
        "DURATION" => Operator::Duration,
        "HOSTNAME" => Operator::Hostname,
        "REQUESTED_SERVER_NAME" => Operator::ServerName,
        "ENVIRONMENT" => Operator::Environment(argument.ok_or_else(|| argument_error("names no variable"))?.into()),
        _ => return Err(FormatError::Unknown(text.to_owned())),
    };
    Ok(Segment::Operator { operator, max })
}

impl Operator {
    fn value<'a>(&self, context: &FormatContext<'a>) -> Option<Cow<'a, [u8]>> {
        let text = |value: &'a str| Cow::Borrowed(value.as_bytes());
        let made = |value: String| Cow::Owned(value.into_bytes());
        match self {
            Self::DownstreamRemote(part) => context.downstream_remote.map(|address| made(part.of(address))),
            Self::DownstreamDirectRemote(part) => {
                context.downstream_direct_remote.map(|address| made(part.of(address)))
            }
            Self::DownstreamLocal(part) => context.downstream_local.map(|address| made(part.of(address))),
            Self::UpstreamHost(part) => context.upstream_host.map(|address| made(part.of(address))),
            Self::UpstreamCluster => context.upstream_cluster.map(text),
            Self::RouteName => context.route_name.filter(|name| !name.is_empty()).map(text),
            Self::Request(source) => source.read(|key| context.request_header(key)),
            Self::Response(source) => source.read(|key| match key {
                HeaderKey::Name(name) => joined(context.response?, name),
                _ => None,
            }),
            Self::Protocol => context.protocol.map(|version| text(protocol(version))),
            Self::ResponseCode => context.response_code.map(|code| made(code.to_string())),
            Self::ResponseFlags => context.response_flags.map(text),
            Self::StartTime(parts) => context.start_time.map(|time| made(render_time(parts, time))),
            Self::Duration => context.duration.map(|duration| made(duration.as_millis().to_string())),
            Self::Hostname => context.hostname.map(text),
            Self::ServerName => context.server_name.map(text),
            Self::Environment(name) => context.environment?.get(&**name).map(|value| text(value)),
        }
    }
}

impl AddressPart {
    fn of(self, address: SocketAddr) -> String {
        match self {
            Self::Both => address.to_string(),
            Self::Ip => address.ip().to_string(),
            Self::Port => address.port().to_string(),
        }
    }
}

impl HeaderSource {
    fn read<'a>(&self, read: impl Fn(&HeaderKey) -> Option<Cow<'a, [u8]>>) -> Option<Cow<'a, [u8]>> {
        read(&self.first).or_else(|| read(self.second.as_ref()?))
    }
}

impl<'a> FormatContext<'a> {
    fn request_header(&self, key: &HeaderKey) -> Option<Cow<'a, [u8]>> {
        let pseudo = match key {
            HeaderKey::Method => self.method,
            HeaderKey::Scheme => self.scheme,
            HeaderKey::Authority => self.authority,
            HeaderKey::Path => self.path,
            HeaderKey::Name(name) => return joined(self.request?, name),
        };
        pseudo.map(|value| Cow::Borrowed(value.as_bytes()))
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}
