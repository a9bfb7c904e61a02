//! in → out: headers of one hop → headers of the next.
//! owns: what belongs to a connection and is not relayed (RFC 9110, section 7.6.1), and what a proxy adds about itself.
//! may not touch: header operations of rules.

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderName, SERVER, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, Version};
use http_body::Body;
use weft_proxy_core::chain::ServerHeader;

use super::body::RequestBody;
use super::conn::ConnContext;

/// `x-request-id`.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// `x-forwarded-for`.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `x-forwarded-proto`.
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const X_ENVOY_EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");
/// `x-forwarded-host`.
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `x-envoy-original-path`.
pub(crate) const X_ENVOY_ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
/// `x-envoy-attempt-count`.
pub(crate) const X_ENVOY_ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
/// `x-envoy-upstream-service-time`, milliseconds.
pub(crate) const X_ENVOY_OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");
pub(crate) const X_ENVOY_UPSTREAM_SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Headers by which a caller inside the mesh steers a proxy. From outside they are not believed (Envoy: "cleaned" headers).
const STEERING: [HeaderName; 14] = [
    HeaderName::from_static("x-envoy-attempt-count"),
    HeaderName::from_static("x-envoy-decorator-operation"),
    HeaderName::from_static("x-envoy-downstream-service-cluster"),
    HeaderName::from_static("x-envoy-downstream-service-node"),
    HeaderName::from_static("x-envoy-expected-rq-timeout-ms"),
    HeaderName::from_static("x-envoy-force-trace"),
    HeaderName::from_static("x-envoy-internal"),
    HeaderName::from_static("x-envoy-ip-tags"),
    HeaderName::from_static("x-envoy-max-retries"),
    HeaderName::from_static("x-envoy-original-path"),
    HeaderName::from_static("x-envoy-retriable-status-codes"),
    HeaderName::from_static("x-envoy-retry-on"),
    HeaderName::from_static("x-envoy-upstream-rq-per-try-timeout-ms"),
    HeaderName::from_static("x-envoy-upstream-rq-timeout-ms"),
];

/// Takes out what belongs to the connection the message came on. `upgrade` keeps what an accepted upgrade needs.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap, upgrade: bool) {
    // Many messages have none of them: one look at the names is cheaper than a search for each.
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    if headers.contains_key(CONNECTION) {
        remove_named(headers);
        let kept = upgrade.then(|| headers.get(UPGRADE).cloned()).flatten();
        headers.remove(CONNECTION);
        headers.remove(UPGRADE);
        if let Some(token) = kept {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, token);
        }
    } else {
        headers.remove(UPGRADE);
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    headers.remove(TRANSFER_ENCODING);
    if headers
        .get(TE)
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"trailers"))
    {
        headers.remove(TE);
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "keep-alive" | "proxy-connection" | "te" | "transfer-encoding" | "upgrade"
    )
}

/// Takes out the headers that `Connection` names, but for those whose loss would change the message's meaning.
fn remove_named(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .filter(|name| *name != UPGRADE && *name != HOST && *name != TE && !name.as_str().starts_with("x-forwarded-"))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Fields that decide about framing, routing or the connection have no place in trailers (RFC 9110, section 6.5.1): a hop
/// that merged them into the head would be led astray.
pub(crate) fn remove_from_trailers(trailers: &mut HeaderMap) {
    for name in [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        TRANSFER_ENCODING,
        CONTENT_LENGTH,
        UPGRADE,
        HOST,
        TE,
        TRAILER,
    ] {
        trailers.remove(name);
    }
}

/// Cookies may come in several fields of an HTTP/2 head; everybody else expects one (RFC 9113, section 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Adds what this proxy knows about the client, and makes sure that every request has an id.
pub(crate) fn describe_client(headers: &mut HeaderMap, context: &ConnContext) {
    let manager = &context.manager;
    if manager.use_remote_address {
        // Most requests have none of them: one look at the names is cheaper than a search for each.
        if headers.keys().any(|name| name.as_str().starts_with("x-envoy-")) {
            STEERING.iter().for_each(|name| drop(headers.remove(name)));
        }
        if !manager.skip_xff_append {
            append_forwarded_for(headers, &context.peer_value);
        }
        if manager.trusted_hops == 0 {
            headers.insert(X_ENVOY_EXTERNAL_ADDRESS, context.peer_value.clone());
        }
    }
    if !manager.keep_client_cert {
        headers.remove(X_FORWARDED_CLIENT_CERT);
    }
    let from_here = manager.use_remote_address && manager.trusted_hops == 0;
    if from_here || !headers.contains_key(X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(context.scheme));
    }
    let keeps_id = manager.preserve_external_request_id || !manager.use_remote_address;
    if manager.generate_request_id && (!keeps_id || !headers.contains_key(X_REQUEST_ID)) {
        headers.insert(
            X_REQUEST_ID,
            request_id(context.worker.random(), context.worker.random()),
        );
    }
}

fn append_forwarded_for(headers: &mut HeaderMap, peer: &HeaderValue) {
    let mut before = headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
    let value = match before.next() {
        None => Ok(peer.clone()),
        // Several lines are one list (RFC 9110, section 5.3).
        Some(first) => {
            let lines: Vec<&[u8]> = std::iter::once(first).chain(before).chain([peer.as_bytes()]).collect();
            HeaderValue::from_bytes(&lines.join(&b','))
        }
    };
    if let Ok(value) = value {
        headers.insert(X_FORWARDED_FOR, value);
    }
}

/// `100-continue` is between the client and us: our reading of the body answers it, before an upstream could.
pub(crate) fn remove_expectation(headers: &mut HeaderMap) {
    if headers
        .get(EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        headers.remove(EXPECT);
    }
}

/// A random UUID (RFC 9562, version 4) as text.
fn request_id(high: u64, low: u64) -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bits = (u128::from(high) << 64 | u128::from(low)) & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
    let mut text = [b'-'; 36];
    let places = (0..36).filter(|at| !matches!(at, 8 | 13 | 18 | 23));
    for (digit, at) in places.enumerate() {
        text[at] = HEX[(bits >> (124 - 4 * digit)) as usize & 0xf];
    }
    HeaderValue::from_bytes(&text).expect("hexadecimal digits and hyphens are legal in a header value")
}

/// The `server` header of a response.
pub(crate) fn set_server(headers: &mut HeaderMap, rule: ServerHeader, name: &HeaderValue, from_upstream: bool) {
    let insert = match rule {
        ServerHeader::Overwrite => true,
        ServerHeader::AppendIfAbsent => !headers.contains_key(SERVER),
        ServerHeader::PassThrough => !from_upstream && !headers.contains_key(SERVER),
    };
    if insert {
        headers.insert(SERVER, name.clone());
    }
}

/// Says how a body is framed where hyper would not: it would send a GET of unknown length without its body.
pub(super) fn frame(request: &mut Request<RequestBody>) {
    if request.version() != Version::HTTP_2 && request.body().size_hint().exact().is_none() {
        request
            .headers_mut()
            .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_a_connection_stay_on_it() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-mine, close, host, x-forwarded-for"),
            ("x-mine", "1"),
            ("x-forwarded-for", "1.1.1.1"),
            ("host", "a"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("other", "2"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        let mut upgraded = headers.clone();
        remove_hop_by_hop(&mut headers, false);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["host", "other", "x-forwarded-for"]);
        remove_hop_by_hop(&mut upgraded, true);
        assert_eq!(upgraded.get("connection").unwrap(), "upgrade");
        assert_eq!(upgraded.get("upgrade").unwrap(), "websocket");
    }

    #[test]
    fn a_request_id_is_a_uuid_of_version_four() {
        let id = request_id(u64::MAX, 0);
        assert_eq!(id, "ffffffff-ffff-4fff-8000-000000000000");
    }
}
