//! in → out: what gRPC says in headers and trailers ↔ status and time limit.
//! owns: the mapping of HTTP statuses, `grpc-timeout`, the shape of local replies to gRPC calls.
//! may not touch: whether a call fails.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::body::ReplyBody;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const CONTENT_TYPE_GRPC: &[u8] = b"application/grpc";
/// `grpc-timeout` has at most so many digits (gRPC over HTTP/2, "Requests").
const TIMEOUT_DIGITS_MAX: usize = 8;
/// Trailers that a reply in HTTP/1 announces when the upstream's did not: HTTP/1 sends only what was announced.
pub(super) const TRAILERS: &str = "grpc-status, grpc-message, grpc-status-details-bin";

/// Whether a request is a gRPC call, by its content type: `application/grpc` and `application/grpc+…`, not gRPC-Web.
pub(super) fn is_call(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let rest = value.as_bytes().strip_prefix(CONTENT_TYPE_GRPC);
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
    })
}

/// `grpc-status` out of headers or trailers.
pub(super) fn status(fields: &HeaderMap) -> Option<u8> {
    fields.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

/// `grpc-timeout`, if there is a legal one.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > TIMEOUT_DIGITS_MAX || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 60 * 60)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

/// The time limit of a call. Envoy: where the route looks at `grpc-timeout` at all, the client's limit replaces the
/// route's, up to the largest that the route allows (zero: any), which also holds for a client that states none.
pub(super) fn limit(route: Option<Duration>, largest: Option<Duration>, asked: Option<Duration>) -> Option<Duration> {
    match (largest, asked) {
        (None, _) => route,
        (Some(Duration::ZERO), asked) => asked,
        (Some(largest), asked) => Some(asked.map_or(largest, |asked| asked.min(largest))),
    }
}

/// gRPC's status for an HTTP status, as Envoy's local replies have it.
fn status_of(status: StatusCode) -> u8 {
    match status.as_u16() {
        // INTERNAL
        400 => 13,
        // UNAUTHENTICATED
        401 => 16,
        // PERMISSION_DENIED
        403 => 7,
        // UNIMPLEMENTED
        404 => 12,
        // UNAVAILABLE
        429 | 502 | 503 | 504 => 14,
        // UNKNOWN
        _ => 2,
    }
}

/// DEADLINE_EXCEEDED.
pub(super) const DEADLINE_EXCEEDED: u8 = 4;

/// Turns a reply of our own into what a gRPC client can read: 200, the status as `grpc-status` (`given`, or the one that
/// the HTTP status means), the body as `grpc-message`.
pub(super) fn local(mut response: Response<ReplyBody>, given: Option<u8>) -> Response<ReplyBody> {
    let status = given.unwrap_or_else(|| status_of(response.status()));
    let body = match std::mem::replace(response.body_mut(), ReplyBody::whole(Bytes::new())) {
        ReplyBody::Whole(body) => body.unwrap_or_default(),
        // Never our own.
        ReplyBody::Relay(_) => Bytes::new(),
    };
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(status)));
    if !body.is_empty()
        && let Ok(message) = HeaderValue::from_bytes(&percent_encode(&body))
    {
        headers.insert(GRPC_MESSAGE, message);
    }
    response
}

/// gRPC over HTTP/2, "Responses": everything but printable ASCII, and the percent sign, is encoded.
fn percent_encode(text: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'%' | 0..=0x1f | 0x7f..=0xff => {
                encoded.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
            }
            plain => encoded.push(*plain),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use http_body::Body;

    use super::*;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn a_call_is_told_by_its_content_type() {
        for (value, call) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=y", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_call(&with("content-type", value)), call, "{value}");
        }
    }

    #[test]
    fn a_timeout_has_up_to_eight_digits_and_a_unit() {
        for (value, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("250m", Some(Duration::from_millis(250))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("7n", Some(Duration::from_nanos(7))),
            ("100000000S", None),
            ("S", None),
            ("", None),
            ("5", None),
            ("-5S", None),
            ("5s", None),
        ] {
            assert_eq!(timeout(&with("grpc-timeout", value)), expected, "{value}");
        }
    }

    #[test]
    fn the_clients_limit_counts_up_to_the_routes_largest() {
        let seconds = |n| Some(Duration::from_secs(n));
        for (route, largest, asked, expected) in [
            (seconds(5), None, seconds(1), seconds(5)),
            (None, Some(Duration::ZERO), seconds(9), seconds(9)),
            (None, Some(Duration::ZERO), None, None),
            (seconds(5), seconds(5), seconds(1), seconds(1)),
            (seconds(5), seconds(5), seconds(9), seconds(5)),
            (seconds(5), seconds(5), None, seconds(5)),
        ] {
            assert_eq!(limit(route, largest, asked), expected);
        }
    }

    #[test]
    fn a_local_reply_is_one_that_a_grpc_client_reads() {
        for (status, grpc) in [
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 12),
            (429, 14),
            (503, 14),
            (418, 2),
        ] {
            let mut response = Response::new(ReplyBody::whole(Bytes::from_static("100% é".as_bytes())));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(7));
            let response = local(response, None);
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()[GRPC_STATUS], grpc.to_string());
            assert_eq!(response.headers()[GRPC_MESSAGE], "100%25 %C3%A9");
            assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
            assert!(!response.headers().contains_key(CONTENT_LENGTH));
            assert!(response.body().is_end_stream());
        }
    }
}
