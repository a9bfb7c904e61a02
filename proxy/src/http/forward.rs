//! The life of a request: head → route → headers → attempts → reply. Read it from top to bottom.

use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONNECTION, HOST, TRAILER, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use weft_proxy_core::chain::RouteSource;
use weft_proxy_core::route::{Action, Destination, FormatContext, Forward, RequestHead, Route};

use super::body::{Relay, ReplyBody, RequestBody};
use super::conn::ConnContext;
use super::deadline::Deadline;
use super::exchange::{Exchange, head_bytes};
use super::failure::{Failure, RequestFailure, RouteFailure, Side, UpstreamFailure};
use super::flags::Flag;
use super::head::{self, Checked};
use super::relay_headers::{
    self, X_ENVOY_ATTEMPT_COUNT, X_ENVOY_ORIGINAL_PATH, X_ENVOY_OVERLOADED, X_ENVOY_UPSTREAM_SERVICE_TIME,
    X_FORWARDED_HOST,
};
use super::{grpc, reply, upgrade};
use crate::snapshot::Snapshot;
use crate::upstream::attempt::Answer;
use crate::upstream::attempts;
use crate::upstream::cluster::Cluster;
use crate::upstream::observe::observe_timeout;

/// Answers one request. Never fails: whatever goes wrong becomes one reply.
pub(crate) async fn forward(context: Rc<ConnContext>, request: Request<Incoming>) -> Response<ReplyBody> {
    let mut exchange = begin(&context, &request);
    let (parts, incoming) = request.into_parts();
    let mut incoming = Some(incoming);
    let relayed = relay(&context, parts, &mut incoming, &mut exchange).await;
    let unread = is_unread(&context, incoming, &exchange).await;
    match relayed {
        Ok(Reply::Upstream(answer, deadline)) => finish(&context, stream(answer, exchange, deadline), true),
        Ok(Reply::Tunnel(answer, client)) => {
            finish(&context, upgrade::tunnel(&context, answer, client, exchange), true)
        }
        Ok(Reply::Local(response)) => {
            let response = shape(&exchange, response, None);
            exchange.reply(response.status(), response.headers());
            exchange.add_response_bytes(response.body().size_hint().lower());
            exchange.complete();
            finish(&context, close_if(unread, response), false)
        }
        Err(failed) => finish(&context, close_if(unread, fail(&context, exchange, &failed)), false),
    }
}

/// Whether the body of a request is not going to be read to its end. What has arrived of a body that nobody took is thrown
/// away, so that the next request of the connection can be read; the rest of one is not waited for.
async fn is_unread(context: &ConnContext, untaken: Option<Incoming>, exchange: &Exchange) -> bool {
    if context.state.has_streams() {
        // A stream ends by itself; the others are not touched.
        return false;
    }
    let arriving = context.state.is_reading_body_of(context.requests.get());
    match untaken {
        None => !exchange.is_upload_complete(),
        Some(body) if body.is_end_stream() => false,
        Some(_) if arriving => true,
        Some(mut body) => {
            let mut broken = false;
            while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
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
fn close_if(unread: bool, mut response: Response<ReplyBody>) -> Response<ReplyBody> {
    if unread {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A reply that went well.
enum Reply {
    Upstream(Answer, Option<Deadline>),
    Tunnel(Answer, OnUpgrade),
    Local(Response<ReplyBody>),
}

/// A request that failed, and its route if it had one by then: response headers of the route apply to local replies, too.
struct Failed {
    failure: Failure,
    route: Option<Arc<Route>>,
}

impl From<RequestFailure> for Failed {
    fn from(failure: RequestFailure) -> Self {
        Self {
            failure: Failure::Request(failure),
            route: None,
        }
    }
}

impl From<RouteFailure> for Failed {
    fn from(failure: RouteFailure) -> Self {
        Self {
            failure: Failure::Route(failure),
            route: None,
        }
    }
}

fn begin(context: &ConnContext, request: &Request<Incoming>) -> Exchange {
    context.requests.set(context.requests.get().saturating_add(1));
    let line = request.method().as_str().len() + request.uri().path().len() + 12;
    let mut exchange = Exchange::begin(
        context.worker.clone(),
        context.state.clone(),
        line as u64 + head_bytes(request.headers()),
    );
    if grpc::is_call(request.headers()) {
        exchange.set_grpc();
    }
    exchange
}

/// Takes `incoming` when the request goes to an upstream.
async fn relay(
    context: &ConnContext,
    mut parts: Parts,
    incoming: &mut Option<Incoming>,
    exchange: &mut Exchange,
) -> Result<Reply, Failed> {
    // Bytes are checked as they are read, so a refusal inside the body may be known before the head is looked at.
    match context.state.refusal() {
        Some((refusal, message)) if message == context.requests.get() => {
            return Err(RequestFailure::Framing(refusal).into());
        }
        _ => {}
    }
    match head::check(&mut parts, &context.manager, context.local.port())? {
        Checked::Forward => {}
        Checked::Redirect(path) => return Ok(Reply::Local(path_redirect(context, &parts, &path)?)),
    }
    let token = head::upgrade_token(&parts).filter(|token| upgrade::is_enabled(&context.manager, token));
    let mut client_upgrade = token.as_ref().and_then(|_| parts.extensions.remove::<OnUpgrade>());
    relay_headers::remove_hop_by_hop(&mut parts.headers, token.is_some());
    relay_headers::remove_expectation(&mut parts.headers);
    relay_headers::describe_client(&mut parts.headers, context);

    let (route, cluster, place) = match context
        .worker
        .with_snapshot(|snapshot| find(snapshot, context, &parts))?
    {
        Found::Local(response) => return Ok(Reply::Local(response)),
        Found::Upstream { route, cluster, place } => (route, cluster, place),
    };
    let Action::Forward(forward) = &route.action else {
        return Err(RouteFailure::NotFound.into());
    };
    let destination = &forward.choice.destinations()[place];
    exchange.set_destination(&cluster.labels);
    let limit = match exchange.is_grpc() {
        true => grpc::limit(forward.timeout, forward.grpc_timeout_max, grpc::timeout(&parts.headers)),
        false => forward.timeout,
    };
    let version = cluster.version(parts.version);
    let sent_as = prepare(context, &mut parts, &route, forward, destination);

    let (body, upload) = incoming.take().map_or((RequestBody::Empty, None), RequestBody::new);
    parts.version = version;
    if version == Version::HTTP_2 {
        // HTTP/2 has no upgrade: the upstream answers the plain request (RFC 9113, section 8.6).
        client_upgrade = None;
    } else if body.size_hint().exact().is_none() {
        // hyper would send a GET of unknown length without its body.
        parts
            .headers
            .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let mut deadline = limit.map(|limit| Deadline::new(limit, upload.clone()));
    if let Some(upload) = upload {
        exchange.set_upload(upload);
    }
    let sent = attempts::send(
        &context.worker,
        &cluster,
        forward,
        Request::from_parts(parts, body),
        exchange,
    );
    let answered = match &mut deadline {
        None => sent.await,
        // Cancel safe: what has been sent is lost with its connection, which is what a time limit means. Biased, so that an
        // answer that is there counts even when the limit ends in the same turn.
        Some(deadline) => tokio::select! {
            biased;
            answered = sent => answered,
            () = deadline => Err(Failure::Route(RouteFailure::Timeout)),
        },
    };
    if matches!(answered, Err(Failure::Route(RouteFailure::Timeout))) {
        observe_timeout(exchange);
    }
    let mut answer = answered.map_err(|failure| Failed {
        failure: blame(context, exchange, failure),
        route: Some(route.clone()),
    })?;
    dress(context, &mut answer, &sent_as, destination, exchange);
    match (answer.response.status(), client_upgrade) {
        (StatusCode::SWITCHING_PROTOCOLS, Some(client)) => Ok(Reply::Tunnel(answer, client)),
        // Nobody asked for it (RFC 9110, section 15.2.2).
        (StatusCode::SWITCHING_PROTOCOLS, None) => Err(Failed {
            failure: Failure::Upstream(UpstreamFailure::Protocol),
            route: Some(route.clone()),
        }),
        _ => Ok(Reply::Upstream(answer, deadline)),
    }
}

/// A request whose own body broke off is the client's failure, whatever the upstream made of it.
fn blame(context: &ConnContext, exchange: &Exchange, failure: Failure) -> Failure {
    match (exchange.upload_failed(), context.state.refusal()) {
        (true, Some((refusal, _))) => Failure::Request(RequestFailure::Framing(refusal)),
        (true, None) => Failure::Request(RequestFailure::Left),
        (false, _) => failure,
    }
}

/// What a route leads to, taken out of one snapshot.
enum Found {
    /// A cluster; `place` is the destination's among those of the route's choice.
    Upstream {
        route: Arc<Route>,
        cluster: Arc<Cluster>,
        place: usize,
    },
    /// An answer of our own.
    Local(Response<ReplyBody>),
}

fn find(snapshot: &Snapshot, context: &ConnContext, parts: &Parts) -> Result<Found, Failed> {
    let table = match &context.manager.route {
        RouteSource::Rds(name) => snapshot.route_table(name).ok_or(RouteFailure::NoTable)?,
        RouteSource::Inline(table) => table,
    };
    let head = RequestHead {
        method: parts.method.as_str(),
        scheme: context.scheme,
        authority: parts
            .headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default(),
        path: parts.uri.path(),
        query: parts.uri.query(),
        headers: &parts.headers,
    };
    let route = table.find(&head).map_err(|_miss| RouteFailure::NotFound)?.route;
    match &route.action {
        Action::Forward(forward) => {
            let chosen = forward.choice.choose();
            let place = forward
                .choice
                .destinations()
                .iter()
                .position(|one| std::ptr::eq(one, chosen));
            match (snapshot.cluster(chosen.cluster.slot), place) {
                (Some(cluster), Some(place)) => Ok(Found::Upstream {
                    route: route.clone(),
                    cluster: cluster.clone(),
                    place,
                }),
                _ => Err(Failed {
                    failure: Failure::Route(RouteFailure::NoCluster),
                    route: Some(route.clone()),
                }),
            }
        }
        Action::Redirect(redirect) => match redirect.location(&route.matcher.path, &head) {
            Some(location) => Ok(local(context, route, parts, reply::redirect(redirect.status, location))),
            None => Err(RequestFailure::Path.into()),
        },
        Action::DirectResponse(direct) => Ok(local(
            context,
            route,
            parts,
            reply::local(direct.status, direct.body.clone()),
        )),
    }
}

/// Response header operations of a route on a reply that needs no upstream.
fn local(context: &ConnContext, route: &Route, parts: &Parts, mut response: Response<ReplyBody>) -> Found {
    if !route.response_headers.is_empty() {
        let format = FormatContext {
            response_code: Some(response.status().as_u16()),
            request: Some(&parts.headers),
            ..format_context(context, parts)
        };
        route
            .response_headers
            .apply_to_response(response.headers_mut(), &format);
    }
    Found::Local(response)
}

fn format_context<'a>(context: &'a ConnContext, parts: &'a Parts) -> FormatContext<'a> {
    FormatContext {
        downstream_remote: Some(context.peer),
        downstream_direct_remote: Some(context.peer),
        downstream_local: Some(context.local),
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
type SentAs = Option<Parts>;

/// Changes the head into what the destination is to see: path, then header operations, then authority.
fn prepare(context: &ConnContext, parts: &mut Parts, route: &Route, forward: &Forward, to: &Destination) -> SentAs {
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
        sent
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
fn dress(context: &ConnContext, answer: &mut Answer, sent_as: &SentAs, from: &Destination, exchange: &Exchange) {
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

/// The answer of an upstream as a reply that ends the exchange with its body.
fn stream(answer: Answer, mut exchange: Exchange, deadline: Option<Deadline>) -> Response<ReplyBody> {
    exchange.reply(answer.response.status(), answer.response.headers());
    let (parts, incoming) = answer.response.into_parts();
    Response::from_parts(
        parts,
        ReplyBody::relay(Relay::new(incoming, answer.hold, exchange, deadline)),
    )
}

/// The reply to a request that failed.
fn fail(context: &ConnContext, mut exchange: Exchange, failed: &Failed) -> Response<ReplyBody> {
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
            downstream_remote: Some(context.peer),
            response_code: Some(verdict.status.as_u16()),
            ..FormatContext::default()
        };
        route
            .response_headers
            .apply_to_response(response.headers_mut(), &format);
    }
    let deadline = matches!(
        failed.failure,
        Failure::Route(RouteFailure::Timeout | RouteFailure::TryTimeout)
    );
    response = shape(&exchange, response, deadline.then_some(grpc::DEADLINE_EXCEEDED));
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
fn finish(context: &ConnContext, mut response: Response<ReplyBody>, from_upstream: bool) -> Response<ReplyBody> {
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

/// A reply of our own in the form that the client reads. `status` is gRPC's, where the HTTP status says less.
fn shape(exchange: &Exchange, response: Response<ReplyBody>, status: Option<u8>) -> Response<ReplyBody> {
    match exchange.is_grpc() {
        true => grpc::local(response, status),
        false => response,
    }
}

/// Sends a client to the normalised form of its path.
fn path_redirect(context: &ConnContext, parts: &Parts, path: &str) -> Result<Response<ReplyBody>, RequestFailure> {
    let authority = parts
        .headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let location = [context.scheme, "://", authority, path].concat();
    let location = HeaderValue::try_from(location).map_err(|_| RequestFailure::Path)?;
    Ok(reply::redirect(StatusCode::TEMPORARY_REDIRECT, location))
}
