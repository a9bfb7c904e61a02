//! in → out: an accepted stream → HTTP spoken on it until it ends.
//! owns: the choice of the codec, hyper's HTTP/1 server side, the limits of a connection, counting what hyper answers by itself.
//! may not touch: routes.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use weft_proxy_core::chain::{Codec as CodecType, HttpConnectionManager, Listener, Origin};

use super::conn_h2;
use super::conn_state::{ConnLimits, ConnState, Order};
use super::exchange::Exchange;
use super::failure::{Failure, RequestFailure};
use super::forward;
use super::guard::GuardedStream;
use crate::detect::{self, Codec, Rewind, Unknown};
use crate::listener::Accepted;
use crate::worker::Worker;

/// Without a limit of the configuration: an idle connection is closed after an hour, as Envoy does.
pub(crate) const IDLE_DEFAULT: Duration = Duration::from_secs(60 * 60);
/// Without a limit of the configuration: a head that takes longer is no person's and no healthy client's.
pub(crate) const HEAD_DEFAULT: Duration = Duration::from_secs(60);
/// A client that does not read for so long is gone; Envoy's stream idle limit has the same value.
const WRITE_STALL_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// The least that hyper takes as its buffer.
const BUFFER_BYTES_MIN: usize = 8192;
/// hyper reads the request line and the line ends into the same buffer; the limit counts names and values.
const HEAD_BYTES_SLACK: usize = 4096;

/// What a request has to know about its connection.
pub(crate) struct ConnContext {
    pub(crate) worker: Rc<Worker>,
    pub(crate) state: Arc<ConnState>,
    /// What took the connection.
    pub(crate) listener: Arc<Listener>,
    pub(crate) manager: Arc<HttpConnectionManager>,
    pub(crate) server: HeaderValue,
    /// Where the connection comes from and where its client meant it to go.
    pub(crate) origin: Origin,
    pub(crate) scheme: &'static str,
    /// The peer's address as a header value, made once.
    pub(crate) peer_value: HeaderValue,
    /// Requests so far, the present one included.
    pub(crate) requests: Cell<u32>,
}

/// Serves one connection whose chain speaks HTTP.
pub(crate) async fn serve(worker: Rc<Worker>, manager: Arc<HttpConnectionManager>, mut accepted: Accepted) {
    let state = Arc::new(ConnState::new(limits(&manager), worker.now_ms()));
    if !accepted.enter(&worker, &state) {
        return;
    }
    let origin = accepted.origin;
    let peer_value =
        HeaderValue::try_from(origin.source.ip().to_canonical().to_string()).unwrap_or(HeaderValue::from_static(""));
    let server = HeaderValue::from_str(&manager.server_name).unwrap_or(HeaderValue::from_static("weft"));
    let context = Rc::new(ConnContext {
        worker,
        state,
        listener: accepted.listener.clone(),
        manager,
        server,
        origin,
        scheme: "http",
        peer_value,
        requests: Cell::new(0),
    });
    let (stream, first, _guard) = accepted.into_stream();
    let detected = match context.manager.codec {
        CodecType::Auto => detect::sniff(&stream, &context.state, first).await,
        CodecType::Http1 => Ok((Codec::Http1, first)),
        CodecType::Http2 => Ok((Codec::Http2, first)),
    };
    match detected {
        Ok((Codec::Http1, first)) => drive(context, Rewind::new(first, stream)).await,
        // Boxed: connections that speak HTTP/1 do not carry its size.
        Ok((Codec::Http2, first)) => Box::pin(conn_h2::serve(context, Rewind::new(first, stream))).await,
        Err(Unknown::Ordered(Order::HeadTimeout)) => count(&context, RequestFailure::HeadTimeout),
        Err(Unknown::Ordered(_) | Unknown::Closed) => {}
    }
}

fn limits(manager: &HttpConnectionManager) -> ConnLimits {
    let timeouts = &manager.timeouts;
    ConnLimits {
        idle: Some(timeouts.connection_idle.unwrap_or(IDLE_DEFAULT)),
        head: Some(timeouts.request_headers.unwrap_or(HEAD_DEFAULT)),
        write: Some(timeouts.stream_idle.unwrap_or(WRITE_STALL_DEFAULT)),
    }
}

async fn drive(context: Rc<ConnContext>, stream: Rewind<TcpStream>) {
    let head_bytes_max = context.manager.request_headers_bytes_max as usize + HEAD_BYTES_SLACK;
    let guarded = GuardedStream::new(stream, head_bytes_max, context.state.clone());
    let service = {
        let context = context.clone();
        service_fn(move |request| forward::forward(context.clone(), request))
    };
    let connection = http1::Builder::new()
        .max_buf_size(head_bytes_max.max(BUFFER_BYTES_MIN))
        .half_close(false)
        .serve_connection(TokioIo::new(guarded), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let end = poll_fn(|cx| poll_until_ordered(&context.state, connection.as_mut(), cx)).await;
    let failure = match end {
        End::Closed(Ok(())) => None,
        End::Closed(Err(error)) => failure_of(&error, &context),
        End::Ordered(Order::HeadTimeout) => Some(RequestFailure::HeadTimeout),
        // The request whose reply was not read has been counted with its exchange.
        End::Ordered(Order::WriteTimeout | Order::IdleTimeout | Order::Drain) => None,
    };
    if let Some(failure) = failure {
        count(&context, failure);
    }
}

enum End {
    Closed(hyper::Result<()>),
    Ordered(Order),
}

/// Polls the connection, after its orders: a late connection is not given another turn.
fn poll_until_ordered<F>(state: &ConnState, connection: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<End>
where
    F: Future<Output = hyper::Result<()>>,
{
    match state.order(cx.waker()) {
        Some(Order::Drain) | None => connection.poll(cx).map(End::Closed),
        Some(order @ Order::HeadTimeout) => {
            // One more turn, in which the stream answers 408 and ends.
            let ended = connection.poll(cx).is_ready();
            tracing::trace!(ended, "closing a connection whose head was late");
            Poll::Ready(End::Ordered(order))
        }
        Some(order @ (Order::IdleTimeout | Order::WriteTimeout)) => Poll::Ready(End::Ordered(order)),
    }
}

/// What a connection's error says about the request that hyper answered by itself, or could not answer.
fn failure_of(error: &hyper::Error, context: &ConnContext) -> Option<RequestFailure> {
    if let Some((refusal, message)) = context.state.refusal() {
        // What was refused in the body of a request has been counted with that request.
        return (message > context.requests.get()).then_some(RequestFailure::Framing(refusal));
    }
    if error.is_parse_too_large() {
        Some(RequestFailure::HeadTooLarge)
    } else if error.is_parse() {
        Some(RequestFailure::Syntax)
    } else {
        // Its request, if there was one, has been counted when its exchange was dropped.
        None
    }
}

/// Counts a request that never became one. hyper has answered 400, 414 or 431 by then.
fn count(context: &ConnContext, failure: RequestFailure) {
    let mut exchange = Exchange::begin(context, 0);
    exchange.reply(Failure::Request(failure).verdict().status, &http::HeaderMap::new());
    exchange.fail(Failure::Request(failure));
}
