//! The life of a request: head → route → filters → headers → attempts → reply. Read it from top to bottom.

use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use weft_proxy_core::filter::CorsGrant;
use weft_proxy_core::route::{Action, Forward, Route};

use super::body::{ReplyBody, RequestBody, Upload};
use super::conn::ConnContext;
use super::copy::Copies;
use super::deadline::Deadline;
use super::exchange::{Exchange, request_head_bytes};
use super::failure::{Failure, RequestFailure, RouteFailure, UpstreamFailure};
use super::find::{Way, find};
use super::finish::{close_if, fail, finish, is_unread, path_redirect, shape, stream, without_body};
use super::head::{self, Checked};
use super::prepare::{dress, prepare};
use super::relay_headers;
use super::{connect, filter, grpc, upgrade};
use crate::tcp::Reached;
use crate::upstream::attempt::Answer;
use crate::upstream::attempts;
use crate::upstream::cluster::Cluster;
use crate::upstream::observe::observe_timeout;

/// Answers one request. Never fails: whatever goes wrong becomes one reply.
///
/// No `async fn`: those keep room for their arguments twice, and hyper moves what it is given.
pub(crate) fn forward(
    context: Rc<ConnContext>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<ReplyBody>, Infallible>> {
    let mut exchange = begin(&context, &request);
    let (mut parts, incoming) = request.into_parts();
    let mut incoming = Some(incoming);
    let mut grant = None;
    let is_head = parts.method == Method::HEAD;
    async move {
        let relayed = relay(&context, &mut parts, &mut incoming, &mut grant, &mut exchange).await;
        let unread = is_unread(&context, &mut incoming, &exchange).await;
        let mut response = filter::cross(grant, reply(&context, relayed, unread, exchange));
        if is_head {
            without_body(&context, &mut response);
        }
        Ok(response)
    }
}

fn reply(
    context: &Rc<ConnContext>,
    relayed: Result<Reply, Failed>,
    unread: bool,
    mut exchange: Exchange,
) -> Response<ReplyBody> {
    match relayed {
        Ok(Reply::Upstream(answer, deadline)) => finish(context, stream(answer, exchange, deadline), true),
        Ok(Reply::Tunnel(answer, client)) => finish(context, upgrade::tunnel(context, answer, client, exchange), true),
        Ok(Reply::Connected(reached, client)) => {
            finish(context, connect::tunnel(context, reached, client, exchange), true)
        }
        Ok(Reply::Local(response)) => {
            let response = shape(&exchange, response, None);
            exchange.reply(response.status(), response.headers());
            exchange.add_response_bytes(response.body().size_hint().lower());
            exchange.complete();
            finish(context, close_if(unread, response), false)
        }
        Err(failed) => finish(context, close_if(unread, fail(context, exchange, &failed)), false),
    }
}

/// A reply that went well.
enum Reply {
    Upstream(Answer, Option<Deadline>),
    Tunnel(Answer, OnUpgrade),
    /// The far end of a tunnel that the client asked for by CONNECT.
    Connected(Reached, OnUpgrade),
    Local(Response<ReplyBody>),
}

/// A request that failed, and its route if it had one by then: response headers of the route apply to local replies, too.
pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) route: Option<Arc<Route>>,
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
    let head_bytes = request_head_bytes(request.method(), request.uri(), request.headers());
    let mut exchange = Exchange::begin(context, head_bytes);
    exchange.set_original_destination(context.origin.original_destination());
    if grpc::is_call(request.headers()) {
        exchange.set_grpc();
    }
    exchange
}

/// What the check of a head leads to.
enum Accepted {
    /// Go on; with the client's end of an upgrade, if it asks for one that is let through.
    Forward(Option<OnUpgrade>),
    Answered(Response<ReplyBody>),
}

/// Makes a head fit to be routed, and leaves on its connection what belongs there.
fn accept(context: &ConnContext, parts: &mut Parts) -> Result<Accepted, Failed> {
    // Bytes are checked as they are read, so a refusal inside the body may be known before the head is looked at.
    match context.state.refusal() {
        Some((refusal, message)) if message == context.requests.get() => {
            return Err(RequestFailure::Framing(refusal).into());
        }
        _ => {}
    }
    match head::check(parts, &context.manager, context.origin.destination.port())? {
        Checked::Forward => {}
        Checked::Redirect(path) => return Ok(Accepted::Answered(path_redirect(context, parts, &path)?)),
    }
    let token = head::upgrade_token(parts).filter(|token| upgrade::is_enabled(&context.manager, token));
    let asks = token.is_some() || parts.method == Method::CONNECT;
    let client_upgrade = asks.then(|| parts.extensions.remove::<OnUpgrade>()).flatten();
    relay_headers::remove_hop_by_hop(&mut parts.headers, token.is_some());
    relay_headers::remove_expectation(&mut parts.headers);
    relay_headers::describe_client(&mut parts.headers, context);
    Ok(Accepted::Forward(client_upgrade))
}

/// Takes `incoming` when the request goes to an upstream. `grant` is what the reply tells the page that asked.
async fn relay(
    context: &Rc<ConnContext>,
    parts: &mut Parts,
    incoming: &mut Option<Incoming>,
    grant: &mut Option<CorsGrant>,
    exchange: &mut Exchange,
) -> Result<Reply, Failed> {
    let client_upgrade = match accept(context, parts)? {
        Accepted::Forward(upgrade) => upgrade,
        Accepted::Answered(response) => return Ok(Reply::Local(response)),
    };
    let found = context
        .worker
        .with_snapshot(|snapshot| find(snapshot, context, parts))?;
    found.blocked.iter().for_each(|labels| exchange.set_destination(labels));
    filter::hold(found.passed.delay, exchange).await;
    *grant = found.passed.grant;
    let (route, cluster, place, mirrors) = match found.way? {
        Way::Local(response) => return Ok(Reply::Local(response)),
        Way::Abort { failed, destination } => {
            destination.iter().for_each(|labels| exchange.set_destination(labels));
            return Err(failed);
        }
        Way::Upstream {
            route,
            cluster,
            place,
            mirrors,
        } => (route, cluster, place, mirrors),
    };
    let Action::Forward(forward) = &route.action else {
        return Err(RouteFailure::NotFound.into());
    };
    let destination = &forward.choice.destinations()[place];
    exchange.set_destination(&cluster.labels);
    let failed = |failure| Failed {
        failure,
        route: Some(route.clone()),
    };
    if parts.method == Method::CONNECT {
        let client = client_upgrade.ok_or(RequestFailure::Method)?;
        let reached = connect::open(context, cluster, exchange).await;
        return reached.map(|reached| Reply::Connected(reached, client)).map_err(failed);
    }
    let limit = match exchange.is_grpc() {
        true => grpc::limit(forward.timeout, forward.grpc_timeout_max, grpc::timeout(&parts.headers)),
        false => forward.timeout,
    };
    let version = cluster.version(parts.version);
    let sent_as = prepare(context, parts, &route, forward, destination);
    let copies = match mirrors.is_empty() || client_upgrade.is_some() {
        true => Copies::default(),
        false => filter::copy(context, &mirrors, parts, incoming.as_ref(), limit, exchange.is_grpc()),
    };
    let cookies = filter::place(context, &cluster, forward, parts);

    parts.version = version;
    // HTTP/2 has no upgrade: the upstream answers the plain request (RFC 9113, section 8.6).
    let client_upgrade = client_upgrade.filter(|_| version != Version::HTTP_2);
    let body = incoming.take().map(|incoming| RequestBody::new(incoming, copies));
    let (answered, deadline) = transmit(context, &cluster, forward, parts, body, limit, exchange).await;
    let mut answer = answered.map_err(|failure| failed(blame(context, exchange, failure)))?;
    dress(context, &mut answer, &sent_as, destination, exchange);
    filter::remember(cookies, answer.response.headers_mut());
    match (answer.response.status(), client_upgrade) {
        (StatusCode::SWITCHING_PROTOCOLS, Some(client)) => Ok(Reply::Tunnel(answer, client)),
        // Nobody asked for it (RFC 9110, section 15.2.2).
        (StatusCode::SWITCHING_PROTOCOLS, None) => Err(failed(Failure::Upstream(UpstreamFailure::Protocol))),
        _ => Ok(Reply::Upstream(answer, deadline)),
    }
}

/// Sends the request and waits for the head of its answer, as long as the route allows. The time limit goes on with the body.
async fn transmit(
    context: &ConnContext,
    cluster: &Arc<Cluster>,
    forward: &Forward,
    parts: &mut Parts,
    body: Option<(RequestBody, Option<Arc<Upload>>)>,
    limit: Option<Duration>,
    exchange: &mut Exchange,
) -> (Result<Answer, Failure>, Option<Deadline>) {
    let (body, upload) = body.unwrap_or((RequestBody::Empty, None));
    let mut deadline = limit.map(|limit| Deadline::new(limit, upload.clone()));
    if let Some(upload) = upload {
        exchange.set_upload(upload);
    }
    let mut slot = Some(take_request(parts, body));
    slot.as_mut().map(relay_headers::frame);
    let answered = {
        // Pinned here: awaited in two places it would take its room twice.
        let mut sent = pin!(attempts::send(&context.worker, cluster, forward, &mut slot, exchange));
        match &mut deadline {
            None => sent.await,
            // Cancel safe: what has been sent is lost with its connection, which is what a time limit means. Biased, so that
            // an answer that is there counts even when the limit ends in the same turn.
            Some(deadline) => tokio::select! {
                biased;
                answered = &mut sent => answered,
                () = deadline => Err(Failure::Route(RouteFailure::Timeout)),
            },
        }
    };
    if matches!(answered, Err(Failure::Route(RouteFailure::Timeout))) {
        observe_timeout(exchange);
    }
    (answered, deadline)
}

/// The request out of a head that nobody looks at any more.
fn take_request(parts: &mut Parts, body: RequestBody) -> Request<RequestBody> {
    let mut request = Request::new(body);
    *request.method_mut() = std::mem::take(&mut parts.method);
    *request.uri_mut() = std::mem::take(&mut parts.uri);
    *request.version_mut() = parts.version;
    *request.headers_mut() = std::mem::take(&mut parts.headers);
    *request.extensions_mut() = std::mem::take(&mut parts.extensions);
    request
}

/// A request whose own body broke off is the client's failure, whatever the upstream made of it.
fn blame(context: &ConnContext, exchange: &Exchange, failure: Failure) -> Failure {
    match (exchange.upload_failed(), context.state.refusal()) {
        (true, Some((refusal, _))) => Failure::Request(RequestFailure::Framing(refusal)),
        (true, None) => Failure::Request(RequestFailure::Left),
        (false, _) => failure,
    }
}
