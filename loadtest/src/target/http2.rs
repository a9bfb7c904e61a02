//! A request as HTTP/2 has it, and gRPC over it.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, TE, USER_AGENT};
use http::uri::{Parts, PathAndQuery, Scheme};
use http::{Request, Uri};

use super::assemble::{AGENT, Common};
use super::place::Place;
use crate::flags::FlagError;
use crate::grpc;
use crate::scenario::{Message, Reply};

/// The request for a place.
///
/// # Errors
/// If the URL holds what HTTP/2 cannot say.
pub(super) fn web(common: &Common<'_>, place: &Place) -> Result<Message, FlagError> {
    message(common, place, common.body.clone(), Reply::Anything)
}

/// The call of a place's method.
///
/// # Errors
/// If it has no such message, or its URL holds what HTTP/2 cannot say.
pub(super) fn call(common: &Common<'_>, place: &Place) -> Result<Message, FlagError> {
    let method = place.method_path();
    let body = match &common.args.descriptor {
        Some(descriptor) => grpc::from_json(descriptor, method, &common.body)?.into(),
        None => common.body.clone(),
    };
    let reply = match method {
        grpc::HEALTH_CHECK => Reply::Health,
        _ => Reply::Message,
    };
    message(common, place, grpc::framed(&body), reply)
}

fn message(common: &Common<'_>, place: &Place, body: Bytes, reply: Reply) -> Result<Message, FlagError> {
    let mut head = Request::new(());
    *head.method_mut() = common.method.clone();
    *head.uri_mut() = uri(common, place, reply)
        .ok_or_else(|| FlagError::value("URL", &place.uri.to_string(), "cannot be sent over HTTP/2"))?;
    let headers = head.headers_mut();
    for (name, value) in common.headers.iter().filter(|(name, _)| *name != HOST) {
        headers.append(name, value.clone());
    }
    let defaults = [(USER_AGENT, AGENT)].into_iter();
    match reply {
        Reply::Message | Reply::Health => {
            let grpc = [(CONTENT_TYPE, "application/grpc"), (TE, "trailers")];
            fill(headers, defaults.chain(grpc));
        }
        Reply::Anything => fill(headers, defaults),
    }
    if reply == Reply::Anything && !body.is_empty() {
        headers.insert(CONTENT_LENGTH, body.len().into());
    }
    Ok(Message { head, body, reply })
}

/// Sets headers that nobody has given.
fn fill(headers: &mut HeaderMap, defaults: impl Iterator<Item = (http::HeaderName, &'static str)>) {
    for (name, value) in defaults {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// The pseudo-headers (RFC 9113 8.3.1).
fn uri(common: &Common<'_>, place: &Place, reply: Reply) -> Option<Uri> {
    let path = match reply {
        Reply::Anything => place.path(),
        Reply::Message | Reply::Health => place.method_path().into(),
    };
    let named = common.headers.iter().find(|(name, _)| *name == HOST);
    let named = named.and_then(|(_, value)| value.to_str().ok());
    let mut parts = Parts::default();
    parts.scheme = Some(if place.tls { Scheme::HTTPS } else { Scheme::HTTP });
    parts.path_and_query = Some(path.parse::<PathAndQuery>().ok()?);
    parts.authority = match common.args.host.as_deref().or(named) {
        Some(host) => Some(host.parse().ok()?),
        None => place.uri.authority().cloned(),
    };
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use crate::scenario::{Message, Payload, Reply};
    use crate::target::assemble::tests::made;

    fn message(line: &str) -> Message {
        let scenario = made(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        match &scenario.targets[0].payload {
            Payload::Http2(message) => (**message).clone(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_grpc_url_names_a_method_and_without_one_asks_for_health() {
        for (line, uri, body, reply) in [
            (
                "grpc://here:1",
                "http://here:1/grpc.health.v1.Health/Check",
                &b"\0\0\0\0\0"[..],
                Reply::Health,
            ),
            (
                "grpc://here:1/a.B/C|-d|xy|--host|there",
                "http://there/a.B/C",
                b"\0\0\0\0\x02xy",
                Reply::Message,
            ),
        ] {
            let message = message(line);
            assert_eq!(message.head.uri().to_string(), uri, "{line}");
            assert_eq!((&message.body[..], message.reply), (body, reply), "{line}");
            assert_eq!(message.head.headers()["content-type"], "application/grpc", "{line}");
            assert_eq!(message.head.headers()["te"], "trailers", "{line}");
        }
    }

    #[test]
    fn a_request_says_what_the_flags_say_each_header_once() {
        let message = message("http://here?x=1|--http2|-H|user-agent: me|-H|host: there|-H|a: 1|-H|a: 2");
        assert_eq!(message.head.uri().to_string(), "http://there/?x=1");
        let headers: Vec<_> = message
            .head
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(headers, [("user-agent", "me"), ("a", "1"), ("a", "2")]);
    }
}
