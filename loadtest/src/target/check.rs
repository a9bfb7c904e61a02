//! What goes together on the command line, and what each flag about requests may say.

use std::path::Path;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method};

use super::place::Place;
use crate::flags::{FlagError, RunArgs};
use crate::input;
use crate::scenario::Protocol;

/// Bytes of a body, at most.
const BODY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A header of the command line.
pub(super) type Header = (HeaderName, HeaderValue);

/// What all URLs speak.
///
/// # Errors
/// If they do not speak the same.
pub(super) fn protocol(args: &RunArgs, places: &[Place]) -> Result<Protocol, FlagError> {
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
    Ok(protocol)
}

/// Refuses flags that do not go together.
pub(super) fn contradictions(args: &RunArgs, protocol: Protocol, places: &[Place]) -> Result<(), FlagError> {
    let tls = places.iter().any(|place| place.tls);
    let rules = [
        (
            args.streams.is_some() && !protocol.is_multiplexed(),
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
            !tls && (args.insecure || args.cacert.is_some() || args.cert.is_some() || args.key.is_some()),
            "--cacert, --cert, --key, --insecure",
            "need an https:// or grpcs:// URL",
        ),
        (
            args.insecure && args.cacert.is_some(),
            "--insecure",
            "believes every certificate: leave out --cacert",
        ),
    ];
    match rules.into_iter().find(|(wrong, ..)| *wrong) {
        Some((_, flag, wanted)) => Err(FlagError::Contradiction { flag, wanted }),
        None => Ok(()),
    }
}

/// The method of all requests.
pub(super) fn method(args: &RunArgs, protocol: Protocol) -> Result<Method, FlagError> {
    match &args.method {
        Some(text) => text
            .parse()
            .map_err(|_| FlagError::value("--method", text, "must be a method such as GET or POST")),
        None if args.data.is_some() || protocol == Protocol::Grpc => Ok(Method::POST),
        None => Ok(Method::GET),
    }
}

/// Refuses a name that no host can have.
pub(super) fn host(args: &RunArgs) -> Result<(), FlagError> {
    match &args.host {
        Some(host) if host.parse::<Authority>().is_err() => Err(FlagError::value(
            "--host",
            host,
            "must be a host name, with a port if one is meant",
        )),
        _ => Ok(()),
    }
}

/// The headers of all requests.
pub(super) fn headers(args: &RunArgs, protocol: Protocol) -> Result<Vec<Header>, FlagError> {
    let mut headers = Vec::new();
    for text in &args.headers {
        let (name, value) = header(text)?;
        if name == HOST && (args.host.is_some() || headers.iter().any(|(known, _)| *known == HOST)) {
            return Err(FlagError::value(
                "--header",
                text,
                "must be the only host, without --host",
            ));
        }
        if protocol.is_multiplexed() && is_of_connections(&name, &value) {
            let wanted = "must be left out: HTTP/2 knows no such header (RFC 9113 8.2.2)";
            return Err(FlagError::value("--header", text, wanted));
        }
        headers.push((name, value));
    }
    Ok(headers)
}

fn header(text: &str) -> Result<Header, FlagError> {
    let wrong = || FlagError::value("--header", text, "must be NAME: VALUE");
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let name: HeaderName = name.trim().parse().map_err(|_| wrong())?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
    // These say where the request ends; with others of its own it would end elsewhere.
    if name == CONTENT_LENGTH || name == TRANSFER_ENCODING {
        let wanted = "must be left out: the length of --data is sent";
        return Err(FlagError::value("--header", text, wanted));
    }
    Ok((name, value))
}

/// Whether a header speaks of a connection that carries one request at a time.
fn is_of_connections(name: &HeaderName, value: &HeaderValue) -> bool {
    *name == CONNECTION
        || *name == UPGRADE
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
        || (*name == TE && value != "trailers")
}

/// The body of all requests: text, or a file.
pub(super) fn body(args: &RunArgs, protocol: Protocol) -> Result<Bytes, FlagError> {
    let Some(text) = &args.data else {
        return Ok(Bytes::new());
    };
    let body: Bytes = match text.strip_prefix('@') {
        Some(path) => input::file("--data", Path::new(path), BODY_BYTES_MAX)?.into(),
        None => text.clone().into(),
    };
    if body.is_empty() && protocol == Protocol::Tcp {
        let wanted = "must not be empty for tcp://: nothing would come back";
        return Err(FlagError::value("--data", text, wanted));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use crate::target::assemble::tests::{made, refused};

    #[test]
    fn what_does_not_go_together_is_refused_in_one_line() {
        refused(&[
            ("http://here/|grpc://here/", "must be HTTP/1.1 as the first URL is"),
            ("http://here/|-m|4", "--streams: needs --http2"),
            ("http://here/|-k", "need an https:// or grpcs:// URL"),
            (
                "https://here/|-k|--cacert|/no/such/file",
                "--insecure: believes every certificate",
            ),
            ("https://here/|--cert|a.pem", "--cert \"a.pem\": needs its --key"),
            ("https://here/|--cacert|/no/such/file", "--cacert \"/no/such/file\""),
            (
                "grpc://here/|--descriptor|/no/such/file",
                "--descriptor \"/no/such/file\"",
            ),
            ("grpc://here/|-X|GET", "--method: is always POST"),
            ("tcp://here:1|-H|a: b", "have no meaning for tcp://"),
            ("http://here/|--host|a|-H|Host: b", "must be the only host"),
            ("http://here/|-H|host: a|-H|host: b", "must be the only host"),
            (
                "http://here/|--http2|-H|connection: close",
                "HTTP/2 knows no such header",
            ),
            ("grpc://here/|-H|te: gzip", "HTTP/2 knows no such header"),
        ]);
        assert!(made("grpc://here/|-H|te: trailers").is_ok());
    }

    #[test]
    fn what_no_request_can_say_is_refused_in_one_line() {
        refused(&[
            ("http://here/|-H|nonsense", "--header \"nonsense\": must be NAME: VALUE"),
            ("http://here/|-H|a: b\r\nc: d", "--header"),
            ("http://here/|-H|content-length: 9", "must be left out"),
            ("http://here/|-X|G ET", "--method \"G ET\""),
            ("http://here/|-d|@/no/such/file", "--data \"/no/such/file\""),
            ("http://here/|--host|a b", "--host \"a b\": must be a host name"),
            ("tcp://here:1|-d|", "--data \"\": must not be empty"),
            ("tcp://here:1|-d|@/dev/null", "--data \"@/dev/null\": must not be empty"),
        ]);
    }
}
