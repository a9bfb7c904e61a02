//! A request as HTTP/1.1 has it.

use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderName, Method};

use super::assemble::{AGENT, Common};
use super::place::Place;
use crate::scenario::{After, Plain, Repeat, ResponseBody};

/// The request for a place, and what its answer and its connection will be like.
pub(super) fn plain(common: &Common<'_>, place: &Place) -> Plain {
    let mut members = common
        .headers
        .iter()
        .filter(|(name, _)| *name == CONNECTION)
        .flat_map(|(_, value)| value.as_bytes().split(|byte| *byte == b','));
    Plain {
        bytes: bytes(common, place).into(),
        body: if common.method == Method::HEAD {
            ResponseBody::Never
        } else {
            ResponseBody::AsFramed
        },
        after: if members.any(|member| member.trim_ascii().eq_ignore_ascii_case(b"close")) {
            After::Close
        } else {
            After::Keep
        },
        repeat: if common.method.is_idempotent() {
            Repeat::Harmless
        } else {
            Repeat::Never
        },
    }
}

/// Head and body (RFC 9112).
fn bytes(common: &Common<'_>, place: &Place) -> Vec<u8> {
    let named = |wanted: HeaderName| common.headers.iter().any(|(name, _)| *name == wanted);
    let mut bytes = format!("{} {} HTTP/1.1\r\n", common.method, place.path()).into_bytes();
    let mut line = |name: &str, value: &[u8]| {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    };
    if !named(HOST) {
        let authority = place.uri.authority().map_or("", |authority| authority.as_str());
        line("host", common.args.host.as_deref().unwrap_or(authority).as_bytes());
    }
    for (name, value) in &common.headers {
        line(name.as_str(), value.as_bytes());
    }
    if !named(USER_AGENT) {
        line("user-agent", AGENT.as_bytes());
    }
    if !common.body.is_empty() || matches!(common.method, Method::POST | Method::PUT | Method::PATCH) {
        line("content-length", common.body.len().to_string().as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&common.body);
    bytes
}

#[cfg(test)]
mod tests {
    use crate::scenario::{After, Payload, Plain, Repeat, ResponseBody};
    use crate::target::assemble::tests::made;

    fn request(line: &str) -> Plain {
        let scenario = made(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        match &scenario.targets[0].payload {
            Payload::Http1(request) => request.clone(),
            other => panic!("{line}: {other:?}"),
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
                "http://here/|-H|host: other",
                format!("GET / HTTP/1.1\r\nhost: other\r\n{agent}\r\n"),
            ),
            (
                "http://here/|-d|abc|--host|reviews:9080",
                format!("POST / HTTP/1.1\r\nhost: reviews:9080\r\n{agent}content-length: 3\r\n\r\nabc"),
            ),
        ] {
            assert_eq!(
                String::from_utf8(request(line).bytes.to_vec()).unwrap(),
                wanted,
                "{line}"
            );
        }
    }

    #[test]
    fn a_request_knows_what_its_answer_and_its_connection_will_be_like() {
        for (flags, body, after, repeat) in [
            ("", ResponseBody::AsFramed, After::Keep, Repeat::Harmless),
            ("|-X|HEAD", ResponseBody::Never, After::Keep, Repeat::Harmless),
            ("|-X|POST", ResponseBody::AsFramed, After::Keep, Repeat::Never),
            (
                "|-X|PUT|-H|connection: upgrade, Close",
                ResponseBody::AsFramed,
                After::Close,
                Repeat::Harmless,
            ),
        ] {
            let request = request(&format!("http://here/{flags}"));
            assert_eq!(
                (request.body, request.after, request.repeat),
                (body, after, repeat),
                "{flags}"
            );
        }
    }
}
