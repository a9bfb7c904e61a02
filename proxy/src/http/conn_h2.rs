//! in → out: a stream that begins with HTTP/2's preface → HTTP/2 spoken on it until it ends.
//! owns: hyper's HTTP/2 server side, its limits, the graceful end of a connection.
//! may not touch: routes.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use weft_proxy_core::chain::HttpConnectionManager;

use super::conn::ConnContext;
use super::conn_state::Order;
use super::forward;
use super::guard::WatchedStream;
use crate::detect::Rewind;
use crate::worker::LocalExecutor;

/// Bytes of replies that wait for the client's window, per stream: a client that opens many streams and reads none of
/// them costs so much for each.
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Streams that a client has opened and reset before they were looked at. More in one turn is the rapid-reset attack
/// (CVE-2023-44487): the connection ends with ENHANCE_YOUR_CALM.
const PENDING_RESETS_MAX: usize = 20;
/// Streams that had to be reset for a client's mistakes on one connection; the next one ends it.
const MISTAKES_MAX: usize = 1024;
/// The largest window that a flow-control update may make (RFC 9113, section 6.9.1).
const WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;
/// By how much a head may be over our own limit and still reach us, so that the 431 is ours and counted; the codec answers
/// larger ones by itself. It counts 32 bytes for each field besides name and value (RFC 9113, section 6.5.2).
const HEAD_BYTES_SLACK: u32 = 64 * 1024;

/// Serves a connection to its end.
pub(super) async fn serve(context: Rc<ConnContext>, stream: Rewind<TcpStream>) {
    let state = context.state.clone();
    state.speak_in_streams();
    let watched = WatchedStream::new(stream, state.clone());
    let service = {
        let context = context.clone();
        service_fn(move |request| forward::forward(context.clone(), request))
    };
    let connection = builder(&context.manager).serve_connection(TokioIo::new(watched), service);
    let mut connection = pin!(connection);
    let requests_max = context.manager.requests_per_connection_max.unwrap_or(u32::MAX);
    let mut leaving = false;
    let ended = poll_fn(|cx| {
        let order = state.order(cx.waker());
        let used_up = context.requests.get() >= requests_max;
        if !leaving && (order.is_some() || used_up) {
            leaving = true;
            // GOAWAY twice, a round trip apart: a request that crosses the first is still served (RFC 9113, section 6.8).
            connection.as_mut().graceful_shutdown();
        }
        let polled = connection.as_mut().poll(cx);
        match order {
            // One turn for the GOAWAY: whoever is late does not get to decide when it ends.
            Some(Order::IdleTimeout | Order::HeadTimeout | Order::WriteTimeout) => Poll::Ready(Ok(())),
            Some(Order::Drain) | None => polled,
        }
    })
    .await;
    if let Err(error) = ended {
        // Its requests have been counted when their exchanges were dropped.
        tracing::debug!(peer = %context.origin.source, %error, "an HTTP/2 connection broke");
    }
}

fn builder(manager: &HttpConnectionManager) -> Builder<LocalExecutor> {
    let options = &manager.http2;
    let mut builder = Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.streams_max)
        .initial_stream_window_size(options.stream_window_bytes.min(WINDOW_BYTES_MAX))
        .initial_connection_window_size(options.connection_window_bytes.min(WINDOW_BYTES_MAX))
        .max_header_list_size(manager.request_headers_bytes_max.saturating_add(HEAD_BYTES_SLACK))
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(MISTAKES_MAX);
    if let Some((interval, timeout)) = options.keepalive {
        builder.keep_alive_interval(interval).keep_alive_timeout(timeout);
    }
    builder
}
