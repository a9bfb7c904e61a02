//! in → out: a head as one side sent it → the head that the other side is to see.
//! owns: rewrites of path and authority, header operations of rules, what a proxy says about an answer.
//! may not touch: which route or endpoint it is.

use std::borrow::Cow;

use http::header::{HOST, TRAILER};
use http::request::Parts;
use http::{HeaderValue, Request, StatusCode, Version};
use weft_proxy_core::route::{Destination, FormatContext, Forward, RequestHead, Route};

use super::conn::ConnContext;
use super::exchange::Exchange;
use super::relay_headers::{
    self, X_ENVOY_ATTEMPT_COUNT, X_ENVOY_ORIGINAL_PATH, X_ENVOY_UPSTREAM_SERVICE_TIME, X_FORWARDED_HOST,
};
use super::{grpc, head};
use crate::upstream::attempt::Answer;

/// What `%…%` operators may read of a request.
pub(super) fn format_context<'a>(context: &'a ConnContext, parts: &'a Parts) -> FormatContext<'a> {
    FormatContext {
        downstream_remote: Some(context.origin.source),
        downstream_direct_remote: Some(context.origin.source),
        downstream_local: Some(context.origin.destination),
        method: Some(parts.method.as_str()),
        path: parts.uri.path_and_query().map(|path| path.as_str()),
        authority: parts.headers.get(HOST).and_then(|host| host.to_str().ok()),
        scheme: Some(context.scheme),
        protocol: Some(parts.version),
        start_time: context.worker.wall_clock(),
        hostname: Some(&context.worker.shared.hostname),
        environment: Some(&context.worker.shared.environment),
        ..FormatContext::default()
    }
}

/// A copy of the head as it was sent, kept only where response header operations may ask for it.
pub(super) type SentAs = Option<Box<Parts>>;

/// Changes the head into what the destination is to see: path, then header operations, then authority.
pub(super) fn prepare(
    context: &ConnContext,
    parts: &mut Parts,
    route: &Route,
    forward: &Forward,
    to: &Destination,
) -> SentAs {
    let authority = host_rewrite(forward, to, parts);
    rewrite_path(parts, route, forward);
    if !to.request_headers.is_empty() {
        // The operations borrow the head that they change: they get its headers by themselves.
        let mut headers = std::mem::take(&mut parts.headers);
        let host = headers.get(HOST).cloned();
        let format = FormatContext {
            upstream_cluster: Some(&to.cluster.name),
            route_name: Some(&route.name),
            authority: host.as_ref().and_then(|host| host.to_str().ok()),
            ..format_context(context, parts)
        };
        to.request_headers.apply_to_request(&mut headers, &format);
        parts.headers = headers;
    }
    if let Some(authority) = authority {
        let before = parts.headers.insert(HOST, authority);
        if let (true, Some(before)) = (forward.append_forwarded_host, before) {
            parts.headers.append(X_FORWARDED_HOST, before);
        }
    }
    if forward.attempt_count {
        parts
            .headers
            .insert(X_ENVOY_ATTEMPT_COUNT, HeaderValue::from_static("1"));
    }
    (!to.response_headers.is_empty()).then(|| {
        let mut sent = Request::new(()).into_parts().0;
        sent.method = parts.method.clone();
        sent.uri = parts.uri.clone();
        sent.headers = parts.headers.clone();
        Box::new(sent)
    })
}

fn host_rewrite(forward: &Forward, to: &Destination, parts: &Parts) -> Option<HeaderValue> {
    let head = RequestHead {
        method: parts.method.as_str(),
        scheme: "http",
        authority: "",
        path: parts.uri.path(),
        query: None,
        headers: &parts.headers,
    };
    forward.host_rewrite(to).apply(&head, None)
}

fn rewrite_path(parts: &mut Parts, route: &Route, forward: &Forward) {
    let Cow::Owned(path) = forward.path.apply(&route.matcher.path, parts.uri.path()) else {
        return;
    };
    let original = parts
        .uri
        .path_and_query()
        .and_then(|path| HeaderValue::from_str(path.as_str()).ok());
    let rewritten = match parts.uri.query() {
        Some(query) => [&path, "?", query].concat(),
        None => path,
    };
    // A rewrite that makes no request target leaves the path as it was, as Envoy does.
    if head::set_path(parts, rewritten).is_some()
        && let Some(original) = original
    {
        parts.headers.insert(X_ENVOY_ORIGINAL_PATH, original);
    }
}

/// Changes an upstream's response head into what the client is to see.
pub(super) fn dress(
    context: &ConnContext,
    answer: &mut Answer,
    sent_as: &SentAs,
    from: &Destination,
    exchange: &Exchange,
) {
    let status = answer.response.status();
    let announce = exchange.is_grpc() && answer.response.version() == Version::HTTP_2 && !context.state.has_streams();
    // The version is the hop's own (RFC 9110, section 2.5).
    *answer.response.version_mut() = Version::HTTP_11;
    let headers = answer.response.headers_mut();
    relay_headers::remove_hop_by_hop(headers, status == StatusCode::SWITCHING_PROTOCOLS);
    if announce && !headers.contains_key(TRAILER) {
        headers.insert(TRAILER, HeaderValue::from_static(grpc::TRAILERS));
    }
    if !context.manager.filters.suppress_envoy_headers {
        let milliseconds = exchange.started().elapsed().as_millis();
        headers.insert(
            X_ENVOY_UPSTREAM_SERVICE_TIME,
            HeaderValue::from(u64::try_from(milliseconds).unwrap_or(u64::MAX)),
        );
    }
    if let Some(sent) = sent_as {
        let format = FormatContext {
            upstream_host: Some(answer.endpoint.address),
            upstream_cluster: Some(&from.cluster.name),
            request: Some(&sent.headers),
            response_code: Some(status.as_u16()),
            duration: Some(exchange.started().elapsed()),
            ..format_context(context, sent)
        };
        from.response_headers.apply_to_response(headers, &format);
    }
}
