//! in → out: what became of a request → the reply as the client gets it, and the end of its exchange.
//! owns: replies to failures, what every reply gets on its way out, whether the connection goes on.
//! may not touch: why a request failed.

use std::pin::Pin;

use http::header::{CONNECTION, HOST};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use weft_proxy_core::route::FormatContext;

use super::body::{Relay, ReplyBody};
use super::conn::ConnContext;
use super::deadline::Deadline;
use super::exchange::Exchange;
use super::failure::{Failure, RequestFailure, RouteFailure, Side};
use super::flags::Flag;
use super::forward::Failed;
use super::relay_headers::{self, X_ENVOY_OVERLOADED};
use super::{grpc, reply};
use crate::upstream::attempt::Answer;

/// Whether the body of a request is not going to be read to its end. What has arrived of a body that nobody took is thrown
/// away, so that the next request of the connection can be read; the rest of one is not waited for.
pub(super) async fn is_unread(context: &ConnContext, untaken: &mut Option<Incoming>, exchange: &Exchange) -> bool {
    if context.state.has_streams() {
        // A stream ends by itself; the others are not touched.
        return false;
    }
    let arriving = context.state.is_reading_body_of(context.requests.get());
    match untaken {
        None => !exchange.is_upload_complete(),
        Some(body) if body.is_end_stream() => false,
        Some(_) if arriving => true,
        Some(body) => {
            let mut broken = false;
            while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
                broken = frame.is_err();
                if broken {
                    break;
                }
            }
            broken
        }
    }
}

/// A client that is answered before its request has ended learns that its connection ends with the reply.
pub(super) fn close_if(unread: bool, mut response: Response<ReplyBody>) -> Response<ReplyBody> {
    if unread {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The answer of an upstream as a reply that ends the exchange with its body.
pub(super) fn stream(answer: Answer, mut exchange: Exchange, deadline: Option<Deadline>) -> Response<ReplyBody> {
    exchange.reply(answer.response.status(), answer.response.headers());
    let (parts, incoming) = answer.response.into_parts();
    Response::from_parts(
        parts,
        ReplyBody::relay(Relay::new(incoming, answer.hold, exchange, deadline)),
    )
}

/// The reply to a request that failed.
pub(super) fn fail(context: &ConnContext, mut exchange: Exchange, failed: &Failed) -> Response<ReplyBody> {
    let verdict = failed.failure.verdict();
    // A gateway does not tell the outside why; inside the mesh the reason helps.
    let mut response = reply::failure(&verdict, !context.manager.use_remote_address);
    if verdict.flag == Flag::Uo && !context.manager.filters.suppress_envoy_headers {
        response
            .headers_mut()
            .insert(X_ENVOY_OVERLOADED, HeaderValue::from_static("true"));
    }
    if let Some(route) = &failed.route {
        let format = FormatContext {
            downstream_remote: Some(context.origin.source),
            response_code: Some(verdict.status.as_u16()),
            ..FormatContext::default()
        };
        route
            .response_headers
            .apply_to_response(response.headers_mut(), &format);
    }
    let grpc_status = match failed.failure {
        Failure::Route(RouteFailure::Timeout | RouteFailure::TryTimeout) => Some(grpc::DEADLINE_EXCEEDED),
        Failure::Fault { grpc_status, .. } => grpc_status,
        Failure::Request(_) | Failure::Route(_) | Failure::Upstream(_) | Failure::Overflow(_) => None,
    };
    response = shape(&exchange, response, grpc_status);
    // Nobody is there to read the reply to a request that was left: it has no code.
    if failed.failure != Failure::Request(RequestFailure::Left) {
        exchange.reply(response.status(), response.headers());
        exchange.add_response_bytes(verdict.body.len() as u64);
    }
    exchange.fail(failed.failure);
    if verdict.side == Side::Downstream {
        // What follows on a connection whose framing is in doubt is not looked at.
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What every reply gets on its way out.
pub(super) fn finish(
    context: &ConnContext,
    mut response: Response<ReplyBody>,
    from_upstream: bool,
) -> Response<ReplyBody> {
    relay_headers::set_server(
        response.headers_mut(),
        context.manager.server_header,
        &context.server,
        from_upstream,
    );
    if context.state.is_draining() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if context.state.has_streams() {
        // Its connection ends by a frame of its own (RFC 9113, section 8.2.2).
        response.headers_mut().remove(CONNECTION);
    }
    response
}

/// hyper's HTTP/1 writes no body after HEAD; in HTTP/2 that is left to us (RFC 9113, section 8.1.1).
pub(super) fn without_body(context: &ConnContext, response: &mut Response<ReplyBody>) {
    if let (true, ReplyBody::Whole(body)) = (context.state.has_streams(), response.body_mut()) {
        *body = None;
    }
}

/// A reply of our own in the form that the client reads. `status` is gRPC's, where the HTTP status says less.
pub(super) fn shape(exchange: &Exchange, response: Response<ReplyBody>, status: Option<u8>) -> Response<ReplyBody> {
    match exchange.is_grpc() {
        true => grpc::local(response, status),
        false => response,
    }
}

/// Sends a client to the normalised form of its path.
pub(super) fn path_redirect(
    context: &ConnContext,
    parts: &Parts,
    path: &str,
) -> Result<Response<ReplyBody>, RequestFailure> {
    let authority = parts
        .headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let location = [context.scheme, "://", authority, path].concat();
    let location = HeaderValue::try_from(location).map_err(|_| RequestFailure::Path)?;
    Ok(reply::redirect(StatusCode::TEMPORARY_REDIRECT, location))
}
