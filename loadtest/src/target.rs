//! in → out: URLs and flags about requests → a scenario with the bytes to send.
//! owns: the form of URLs, of headers, of a request's head.
//! may not touch: sockets; names are looked up by whom it is given.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use rustls::ClientConfig;

use crate::client::tls::{self, TlsFlags};
use crate::flags::{FlagError, RunArgs};
use crate::grpc;
use crate::scenario::{
    After, Message, Origin, Payload, Plain, Protocol, Repeat, Reply, ResponseBody, Scenario, Target, Tls,
};

/// URLs at the most.
const URLS_MAX: usize = 1000;
/// Who we are to a server.
const AGENT: &str = concat!("weft-load/", env!("CARGO_PKG_VERSION"));
/// Bytes of a body at the most.
const BODY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Finds the addresses of a host and port, or says why there are none.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str, u16) -> Result<Vec<SocketAddr>, String>;

/// Why there is no scenario.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// A flag is wrong.
    #[error(transparent)]
    Flag(#[from] FlagError),
    /// A host has no address.
    #[error("{host}: cannot be resolved: {problem}")]
    Resolve { host: String, problem: String },
}

/// What all requests of a run have in common.
struct Common<'a> {
    args: &'a RunArgs,
    method: Method,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    pins: Vec<(String, u16, IpAddr)>,
    lookup: Lookup<'a>,
    protocol: Protocol,
    /// Where any URL asks for it.
    tls: Option<Arc<ClientConfig>>,
}

/// A URL of the command line.
struct Place {
    weight: u32,
    uri: Uri,
    protocol: Protocol,
    tls: bool,
}

/// Makes the scenario of a run.
pub(crate) fn scenario(
    args: &RunArgs,
    timeout: std::time::Duration,
    lookup: Lookup<'_>,
) -> Result<Scenario, TargetError> {
    if args.urls.len() > URLS_MAX {
        let wanted = format!("must be at most {URLS_MAX}");
        return Err(FlagError::value("URL", &format!("{} URLs", args.urls.len()), wanted).into());
    }
    let places = args
        .urls
        .iter()
        .map(|text| place(text, args.http2))
        .collect::<Result<Vec<_>, _>>()?;
    let common = common(args, &places, lookup)?;
    let mut scenario = Scenario {
        origins: Vec::new(),
        targets: Vec::new(),
        protocol: common.protocol,
        streams: args.streams.unwrap_or(1),
        timeout,
    };
    for place in places {
        let wanted = common.origin(&place)?;
        let known = scenario.origins.iter().position(|origin| {
            (&origin.host, origin.port, origin.tls.is_some()) == (&wanted.host, wanted.port, wanted.tls.is_some())
        });
        let origin = known.unwrap_or_else(|| {
            scenario.origins.push(wanted);
            scenario.origins.len() - 1
        });
        scenario.targets.push(Target {
            origin,
            weight: place.weight,
            payload: common.payload(&place)?,
            url: place.uri.to_string(),
        });
    }
    Ok(scenario)
}

/// `[WEIGHT:]URL`.
fn place(text: &str, http2: bool) -> Result<Place, FlagError> {
    let wrong = || {
        let wanted = "must be [WEIGHT:]SCHEME://host[:port][/path], with http, https, grpc, grpcs or tcp";
        FlagError::value("URL", text, wanted)
    };
    let (weight, rest) = match text.split_once(':') {
        Some((weight, rest)) if !weight.is_empty() && weight.bytes().all(|byte| byte.is_ascii_digit()) => {
            (weight.parse().map_err(|_| wrong())?, rest)
        }
        _ => (1, text),
    };
    let uri: Uri = rest.parse().map_err(|_| wrong())?;
    let (protocol, tls) = match uri.scheme_str() {
        Some("http") if http2 => (Protocol::Http2, false),
        Some("https") if http2 => (Protocol::Http2, true),
        Some("http") => (Protocol::Http1, false),
        Some("https") => (Protocol::Http1, true),
        Some("grpc") => (Protocol::Grpc, false),
        Some("grpcs") => (Protocol::Grpc, true),
        Some("tcp") => (Protocol::Tcp, false),
        _ => return Err(wrong()),
    };
    let authority = uri.authority().ok_or_else(wrong)?;
    if weight == 0 || uri.host().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    if authority.as_str().contains('@') {
        let wanted = "must not carry a user; give an authorization header with --header";
        return Err(FlagError::value("URL", text, wanted));
    }
    // `http` reads a number that no port can have as no port.
    let has_port = authority
        .as_str()
        .trim_end_matches(|byte: char| byte.is_ascii_digit())
        .ends_with(':');
    if has_port && uri.port_u16().is_none_or(|port| port == 0) {
        return Err(FlagError::value("URL", text, "must have a port from 1 to 65535"));
    }
    if protocol == Protocol::Tcp && !has_port {
        return Err(FlagError::value(
            "URL",
            text,
            "must have a port: TCP has none of its own",
        ));
    }
    Ok(Place {
        weight,
        uri,
        protocol,
        tls,
    })
}

/// `--resolve HOST:PORT:ADDRESS`, as curl has it.
fn pin(text: &str) -> Result<(String, u16, IpAddr), FlagError> {
    let wrong = || FlagError::value("--resolve", text, "must be HOST:PORT:ADDRESS");
    let (host, rest) = text.split_once(':').ok_or_else(wrong)?;
    let (port, address) = rest.split_once(':').ok_or_else(wrong)?;
    let address = address.trim_matches(['[', ']']).parse().map_err(|_| wrong())?;
    Ok((host.to_ascii_lowercase(), port.parse().map_err(|_| wrong())?, address))
}

fn addresses(
    host: &str,
    port: u16,
    pins: &[(String, u16, IpAddr)],
    lookup: Lookup<'_>,
) -> Result<Vec<SocketAddr>, TargetError> {
    let pinned = pins
        .iter()
        .filter(|(name, number, _)| name.eq_ignore_ascii_case(host) && *number == port);
    let pinned: Vec<_> = pinned.map(|(.., address)| SocketAddr::new(*address, port)).collect();
    if !pinned.is_empty() {
        return Ok(pinned);
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let failed = |problem: String| TargetError::Resolve {
        host: host.to_owned(),
        problem,
    };
    let found = lookup(host, port).map_err(failed)?;
    if found.is_empty() {
        return Err(failed("it has no address".to_owned()));
    }
    Ok(found)
}

fn common<'a>(args: &'a RunArgs, places: &[Place], lookup: Lookup<'a>) -> Result<Common<'a>, FlagError> {
    let protocol = places.first().map_or(Protocol::Http1, |place| place.protocol);
    for (place, text) in places.iter().zip(&args.urls) {
        if place.protocol != protocol {
            let wanted = format!(
                "must be {} as the first URL is: a run speaks one protocol",
                protocol.name()
            );
            return Err(FlagError::value("URL", text, wanted));
        }
    }
    let multiplexed = matches!(protocol, Protocol::Http2 | Protocol::Grpc);
    let contradictions = [
        (
            args.streams.is_some() && !multiplexed,
            "--streams",
            "needs --http2 or a grpc:// URL",
        ),
        (
            args.http2 && protocol == Protocol::Tcp,
            "--http2",
            "has no meaning for tcp://",
        ),
        (
            args.descriptor.is_some() && protocol != Protocol::Grpc,
            "--descriptor",
            "needs a grpc:// URL",
        ),
        (
            args.method.is_some() && protocol == Protocol::Grpc,
            "--method",
            "is always POST in gRPC; name it in the URL",
        ),
        (
            protocol == Protocol::Tcp && !(args.headers.is_empty() && args.method.is_none() && args.host.is_none()),
            "--header, --method, --host",
            "have no meaning for tcp://",
        ),
        (
            !places.iter().any(|place| place.tls)
                && (args.insecure || args.cacert.is_some() || args.cert.is_some() || args.key.is_some()),
            "--cacert, --cert, --key, --insecure",
            "need an https:// or grpcs:// URL",
        ),
    ];
    if let Some((_, flag, wanted)) = contradictions.into_iter().find(|(wrong, ..)| *wrong) {
        return Err(FlagError::Contradiction { flag, wanted });
    }
    let method = match &args.method {
        Some(text) => text
            .parse()
            .map_err(|_| FlagError::value("--method", text, "must be a method such as GET or POST"))?,
        None if args.data.is_some() || protocol == Protocol::Grpc => Method::POST,
        None => Method::GET,
    };
    if let Some(host) = &args.host
        && host.parse::<Authority>().is_err()
    {
        return Err(FlagError::value(
            "--host",
            host,
            "must be a host name, with a port if one is meant",
        ));
    }
    let flags = TlsFlags {
        cacert: args.cacert.as_deref(),
        cert: args.cert.as_deref(),
        key: args.key.as_deref(),
        insecure: args.insecure,
        alpn: if multiplexed { &[b"h2"] } else { &[b"http/1.1"] },
    };
    Ok(Common {
        args,
        method,
        headers: args
            .headers
            .iter()
            .map(|text| header(text))
            .collect::<Result<Vec<_>, _>>()?,
        body: body(args)?,
        pins: args
            .resolve
            .iter()
            .map(|text| pin(text))
            .collect::<Result<Vec<_>, _>>()?,
        lookup,
        protocol,
        tls: places
            .iter()
            .any(|place| place.tls)
            .then(|| tls::config(&flags))
            .transpose()?,
    })
}

fn body(args: &RunArgs) -> Result<Bytes, FlagError> {
    let Some(text) = &args.data else {
        return Ok(Bytes::new());
    };
    let Some(path) = text.strip_prefix('@') else {
        return Ok(text.clone().into());
    };
    let unreadable = |problem: String| FlagError::File {
        flag: "--data",
        path: path.to_owned(),
        problem,
    };
    let length = std::fs::metadata(path)
        .map_err(|error| unreadable(error.to_string()))?
        .len();
    if length > BODY_BYTES_MAX {
        return Err(unreadable(format!("is longer than {BODY_BYTES_MAX} bytes")));
    }
    Ok(std::fs::read(path)
        .map_err(|error| unreadable(error.to_string()))?
        .into())
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), FlagError> {
    let wrong = || FlagError::value("--header", text, "must be NAME: VALUE");
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let name: HeaderName = name.trim().parse().map_err(|_| wrong())?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
    // These say where the request ends; with others of its own it would end elsewhere.
    if name == http::header::CONTENT_LENGTH || name == http::header::TRANSFER_ENCODING {
        let wanted = "must be left out: the length of --data is sent";
        return Err(FlagError::value("--header", text, wanted));
    }
    Ok((name, value))
}

impl Common<'_> {
    fn origin(&self, place: &Place) -> Result<Origin, TargetError> {
        let host = place.uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = place.uri.port_u16().unwrap_or(if place.tls { 443 } else { 80 });
        let tls = match &self.tls {
            Some(config) if place.tls => Some(Tls {
                config: config.clone(),
                // Who is asked for under another name has to prove that one (--host is the name the server knows).
                name: tls::server_name(self.host_name().unwrap_or(&host))?,
            }),
            _ => None,
        };
        Ok(Origin {
            addresses: addresses(&host, port, &self.pins, self.lookup)?,
            host,
            port,
            tls,
        })
    }

    /// `--host` without its port.
    fn host_name(&self) -> Option<&str> {
        let host = self.args.host.as_deref()?;
        Some(match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        })
    }

    fn payload(&self, place: &Place) -> Result<Payload, FlagError> {
        Ok(match self.protocol {
            Protocol::Http1 => Payload::Http1(self.plain(&place.uri)),
            Protocol::Http2 => Payload::Http2(self.message(place, self.body.clone(), Reply::Anything)?.into()),
            Protocol::Grpc => {
                let body = match &self.args.descriptor {
                    Some(descriptor) => grpc::from_json(descriptor, method_path(&place.uri), &self.body)?.into(),
                    None => self.body.clone(),
                };
                let reply = match method_path(&place.uri) {
                    grpc::HEALTH_CHECK => Reply::Health,
                    _ => Reply::Message,
                };
                Payload::Http2(self.message(place, grpc::framed(&body), reply)?.into())
            }
            Protocol::Tcp => Payload::Echo(match self.args.data {
                Some(_) => self.body.clone(),
                None => Bytes::from_static(b"weft\n"),
            }),
        })
    }

    /// Pseudo-headers and headers as HTTP/2 has them (RFC 9113 8.3.1).
    fn message(&self, place: &Place, body: Bytes, reply: Reply) -> Result<Message, FlagError> {
        let grpc = reply != Reply::Anything;
        let wrong = || FlagError::value("URL", &place.uri.to_string(), "cannot be sent over HTTP/2");
        let mut parts = Parts::default();
        parts.scheme = Some(if place.tls { Scheme::HTTPS } else { Scheme::HTTP });
        let path = if grpc {
            method_path(&place.uri).into()
        } else {
            path(&place.uri)
        };
        parts.path_and_query = Some(path.parse::<PathAndQuery>().map_err(|_| wrong())?);
        let named = self.headers.iter().find(|(name, _)| *name == http::header::HOST);
        let host = self
            .args
            .host
            .as_deref()
            .or_else(|| named.and_then(|(_, value)| value.to_str().ok()));
        parts.authority = Some(match host {
            Some(host) => host.parse().map_err(|_| wrong())?,
            None => place.uri.authority().cloned().ok_or_else(wrong)?,
        });
        let uri = Uri::from_parts(parts).map_err(|_| wrong())?;
        let mut head = Request::builder()
            .method(self.method.clone())
            .uri(uri)
            .body(())
            .map_err(|_| wrong())?;
        let headers = head.headers_mut();
        headers.insert(http::header::USER_AGENT, HeaderValue::from_static(AGENT));
        if grpc {
            headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
        } else if !body.is_empty() {
            headers.insert(http::header::CONTENT_LENGTH, body.len().into());
        }
        for (name, value) in self.headers.iter().filter(|(name, _)| *name != http::header::HOST) {
            if *name == http::header::USER_AGENT {
                headers.insert(name, value.clone());
            } else {
                headers.append(name, value.clone());
            }
        }
        Ok(Message { head, body, reply })
    }

    fn plain(&self, uri: &Uri) -> Plain {
        let mut members = self
            .headers
            .iter()
            .filter(|(name, _)| *name == http::header::CONNECTION)
            .flat_map(|(_, value)| value.as_bytes().split(|byte| *byte == b','));
        Plain {
            bytes: self.request(uri),
            body: match self.method {
                Method::HEAD => ResponseBody::Never,
                _ => ResponseBody::AsFramed,
            },
            after: match members.any(|member| member.trim_ascii().eq_ignore_ascii_case(b"close")) {
                true => After::Close,
                false => After::Keep,
            },
            repeat: match self.method.is_idempotent() {
                true => Repeat::Harmless,
                false => Repeat::Never,
            },
        }
    }

    /// Head and body as HTTP/1.1 has them (RFC 9112).
    fn request(&self, uri: &Uri) -> Bytes {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let named = |wanted: HeaderName| self.headers.iter().find(|(name, _)| *name == wanted);
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, path(uri)).into_bytes();
        let mut line = |name: &str, value: &[u8]| {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        };
        match (&self.args.host, named(http::header::HOST)) {
            (Some(host), _) => line("host", host.as_bytes()),
            (None, None) => line("host", authority.as_bytes()),
            (None, Some(_)) => {}
        }
        for (name, value) in &self.headers {
            if self.args.host.is_none() || *name != http::header::HOST {
                line(name.as_str(), value.as_bytes());
            }
        }
        if named(http::header::USER_AGENT).is_none() {
            line("user-agent", AGENT.as_bytes());
        }
        if !self.body.is_empty() || matches!(self.method, Method::POST | Method::PUT | Method::PATCH) {
            line("content-length", self.body.len().to_string().as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes.into()
    }
}

/// Path and query; a query without a path is one of the root (RFC 9112 3.2.1).
fn path(uri: &Uri) -> Cow<'_, str> {
    match uri.path_and_query().map_or("/", |path| path.as_str()) {
        query if query.starts_with('?') => format!("/{query}").into(),
        path => path.into(),
    }
}

/// The method of a gRPC URL; the health check where there is none.
fn method_path(uri: &Uri) -> &str {
    match uri.path() {
        "/" | "" => grpc::HEALTH_CHECK,
        path => path,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    fn made(line: &str) -> Result<Scenario, TargetError> {
        let args = Line::parse_from(std::iter::once("load").chain(line.split('|')));
        scenario(&args.run, std::time::Duration::from_secs(1), &|host, port| match host {
            "here" => Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]),
            _ => Err("no such host".to_owned()),
        })
    }

    fn request(line: &str) -> String {
        let scenario = made(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        match &scenario.targets[0].payload {
            Payload::Http1(request) => String::from_utf8(request.bytes.to_vec()).unwrap(),
            Payload::Http2(message) => format!("{:?} {:?}", message.head, message.body),
            Payload::Echo(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    #[test]
    fn a_request_says_what_the_flags_say() {
        let agent = format!("user-agent: weft-load/{}\r\n", env!("CARGO_PKG_VERSION"));
        for (line, wanted) in [
            ("http://here", format!("GET / HTTP/1.1\r\nhost: here\r\n{agent}\r\n")),
            (
                "http://here?x=1",
                format!("GET /?x=1 HTTP/1.1\r\nhost: here\r\n{agent}\r\n"),
            ),
            (
                "http://here:81/a?b=c",
                format!("GET /a?b=c HTTP/1.1\r\nhost: here:81\r\n{agent}\r\n"),
            ),
            (
                "http://here/|-X|DELETE|-H|End-User: jason|-H|user-agent: me",
                "DELETE / HTTP/1.1\r\nhost: here\r\nend-user: jason\r\nuser-agent: me\r\n\r\n".to_owned(),
            ),
            (
                "http://here/|-d|abc|--host|reviews:9080|-H|host: other",
                format!("POST / HTTP/1.1\r\nhost: reviews:9080\r\n{agent}content-length: 3\r\n\r\nabc"),
            ),
        ] {
            assert_eq!(request(line), wanted, "{line}");
        }
    }

    #[test]
    fn a_query_without_a_path_is_one_of_the_root_over_http2_too() {
        let wanted = "http://here/?x=1";
        assert!(request("http://here?x=1|--http2").contains(wanted));
    }

    #[test]
    fn a_grpc_url_names_a_method_and_without_one_asks_for_health() {
        let health = request("grpc://here:1");
        assert!(health.contains("http://here:1/grpc.health.v1.Health/Check"), "{health}");
        assert!(health.ends_with(r#"b"\0\0\0\0\0""#), "{health}");
        let named = request("grpc://here:1/a.B/C|-d|xy|--host|there");
        assert!(
            named.contains("http://there/a.B/C") && named.ends_with(r#"b"\0\0\0\0\x02xy""#),
            "{named}"
        );
    }

    #[test]
    fn urls_of_one_host_share_it_and_weights_are_kept() {
        let scenario = made("http://here/a|3:http://here/b|http://here:81/|http://[::1]:82/").unwrap();
        let targets: Vec<_> = scenario
            .targets
            .iter()
            .map(|target| (target.origin, target.weight))
            .collect();
        assert_eq!(targets, [(0, 1), (0, 3), (1, 1), (2, 1)]);
        assert_eq!(scenario.origins[2].addresses[0].to_string(), "[::1]:82");
    }

    #[test]
    fn a_host_may_be_given_its_address() {
        let scenario = made("http://Nowhere:81/|--resolve|nowhere:81:10.0.0.1|--resolve|nowhere:82:10.0.0.2").unwrap();
        assert_eq!(scenario.origins[0].addresses, ["10.0.0.1:81".parse().unwrap()]);
    }

    #[test]
    fn what_cannot_be_sent_is_refused_in_one_line() {
        for (line, words) in [
            ("here", "URL \"here\": must be [WEIGHT:]SCHEME://"),
            ("ftp://here/", "must be [WEIGHT:]SCHEME://"),
            ("0:http://here/", "must be [WEIGHT:]SCHEME://"),
            ("http://here:99999/", "port from 1 to 65535"),
            ("tcp://here", "must have a port"),
            ("http://here/|grpc://here/", "must be HTTP/1.1 as the first URL is"),
            ("http://here/|-m|4", "--streams: needs --http2"),
            ("http://here/|-k", "need an https:// or grpcs:// URL"),
            ("https://here/|--cert|a.pem", "--cert \"a.pem\": needs its --key"),
            ("https://here/|--cacert|/no/such/file", "--cacert \"/no/such/file\""),
            (
                "grpc://here/|--descriptor|/no/such/file",
                "--descriptor \"/no/such/file\"",
            ),
            ("grpc://here/|-X|GET", "--method: is always POST"),
            ("tcp://here:1|-H|a: b", "have no meaning for tcp://"),
            ("http://me:secret@here/", "--header"),
            ("http://nowhere/", "nowhere: cannot be resolved: no such host"),
            (
                "http://here/|--resolve|here:10.0.0.1",
                "--resolve \"here:10.0.0.1\": must be HOST:PORT:ADDRESS",
            ),
            ("http://here/|-H|nonsense", "--header \"nonsense\": must be NAME: VALUE"),
            ("http://here/|-H|a: b\r\nc: d", "--header"),
            ("http://here/|-H|content-length: 9", "must be left out"),
            ("http://here/|-X|G ET", "--method \"G ET\""),
            ("http://here/|-d|@/no/such/file", "--data \"/no/such/file\""),
        ] {
            let error = made(line).unwrap_err().to_string();
            assert!(error.contains(words), "{line}: {error}");
            assert_eq!(error.lines().count(), 1, "{line}: {error}");
        }
    }
}
