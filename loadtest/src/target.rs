//! in → out: URLs and flags about requests → a scenario with the bytes to send.
//! owns: the form of URLs, of headers, of a request's head.
//! may not touch: sockets; names are looked up by whom it is given.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Uri};

use crate::flags::{FlagError, RunArgs};
use crate::scenario::{Origin, Protocol, Scenario, Target};

/// URLs at the most.
const URLS_MAX: usize = 1000;
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
struct Common {
    method: Method,
    headers: Vec<(HeaderName, HeaderValue)>,
    host: Option<String>,
    body: Bytes,
}

/// Makes the scenario of a run.
pub(crate) fn scenario(
    args: &RunArgs,
    timeout: std::time::Duration,
    lookup: Lookup<'_>,
) -> Result<Scenario, TargetError> {
    let common = common(args)?;
    let pins = args
        .resolve
        .iter()
        .map(|text| pin(text))
        .collect::<Result<Vec<_>, _>>()?;
    if args.urls.len() > URLS_MAX {
        let wanted = format!("must be at most {URLS_MAX}");
        return Err(FlagError::value("URL", &format!("{} URLs", args.urls.len()), wanted).into());
    }
    let mut scenario = Scenario {
        origins: Vec::new(),
        targets: Vec::new(),
        protocol: Protocol::Http1,
        timeout,
    };
    for text in &args.urls {
        let (weight, uri) = url(text)?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(80);
        let known = scenario
            .origins
            .iter()
            .position(|origin| origin.host == host && origin.port == port);
        let origin = match known {
            Some(index) => index,
            None => {
                let addresses = addresses(&host, port, &pins, lookup)?;
                scenario.origins.push(Origin { host, port, addresses });
                scenario.origins.len() - 1
            }
        };
        scenario.targets.push(Target {
            origin,
            weight,
            request: common.request(&uri),
            head_only: common.method == Method::HEAD,
            url: uri.to_string(),
        });
    }
    Ok(scenario)
}

/// `[WEIGHT:]URL`.
fn url(text: &str) -> Result<(u32, Uri), FlagError> {
    let wanted = "must be [WEIGHT:]http://host[:port][/path]";
    let wrong = || FlagError::value("URL", text, wanted);
    let (weight, rest) = match text.split_once(':') {
        Some((weight, rest)) if !weight.is_empty() && weight.bytes().all(|byte| byte.is_ascii_digit()) => {
            (weight.parse().map_err(|_| wrong())?, rest)
        }
        _ => (1, text),
    };
    let uri: Uri = rest.parse().map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?;
    if weight == 0 || uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    if authority.as_str().contains('@') {
        return Err(FlagError::value(
            "URL",
            text,
            "must not carry a user; give an authorization header with --header",
        ));
    }
    // `http` reads a number that no port can have as no port.
    let has_port = authority
        .as_str()
        .trim_end_matches(|byte: char| byte.is_ascii_digit())
        .ends_with(':');
    if has_port && uri.port_u16().is_none_or(|port| port == 0) {
        return Err(FlagError::value("URL", text, "must have a port from 1 to 65535"));
    }
    Ok((weight, uri))
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

fn common(args: &RunArgs) -> Result<Common, FlagError> {
    let body = body(args)?;
    let method = match &args.method {
        Some(text) => text
            .parse()
            .map_err(|_| FlagError::value("--method", text, "must be a method such as GET or POST"))?,
        None if args.data.is_some() => Method::POST,
        None => Method::GET,
    };
    let headers = args
        .headers
        .iter()
        .map(|text| header(text))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(host) = &args.host
        && (host.is_empty() || HeaderValue::from_str(host).is_err())
    {
        return Err(FlagError::value(
            "--host",
            host,
            "must be a host name, with a port if one is meant",
        ));
    }
    Ok(Common {
        method,
        headers,
        host: args.host.clone(),
        body,
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

impl Common {
    /// Head and body as HTTP/1.1 has them (RFC 9112).
    fn request(&self, uri: &Uri) -> Bytes {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let named = |wanted: HeaderName| self.headers.iter().find(|(name, _)| *name == wanted);
        let mut bytes = format!("{} {path} HTTP/1.1\r\n", self.method).into_bytes();
        let mut line = |name: &str, value: &[u8]| {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        };
        match (&self.host, named(http::header::HOST)) {
            (Some(host), _) => line("host", host.as_bytes()),
            (None, None) => line("host", authority.as_bytes()),
            (None, Some(_)) => {}
        }
        for (name, value) in &self.headers {
            if self.host.is_none() || *name != http::header::HOST {
                line(name.as_str(), value.as_bytes());
            }
        }
        if named(http::header::USER_AGENT).is_none() {
            line(
                "user-agent",
                concat!("weft-load/", env!("CARGO_PKG_VERSION")).as_bytes(),
            );
        }
        if !self.body.is_empty() || matches!(self.method, Method::POST | Method::PUT | Method::PATCH) {
            line("content-length", self.body.len().to_string().as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes.into()
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
        String::from_utf8(scenario.targets[0].request.to_vec()).unwrap()
    }

    #[test]
    fn a_request_says_what_the_flags_say() {
        let agent = format!("user-agent: weft-load/{}\r\n", env!("CARGO_PKG_VERSION"));
        for (line, wanted) in [
            ("http://here", format!("GET / HTTP/1.1\r\nhost: here\r\n{agent}\r\n")),
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
            ("here", "URL \"here\": must be [WEIGHT:]http://"),
            ("ftp://here/", "must be [WEIGHT:]http://"),
            ("0:http://here/", "must be [WEIGHT:]http://"),
            ("http://here:99999/", "URL"),
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
