//! in → out: an open socket → an HTTP/2 connection that says how many streams it has room for.
//! owns: hyper's HTTP/2 client side, its limits, the count of streams.
//! may not touch: which connection a request gets.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;
use weft_proxy_core::cluster::UpstreamHttp;

use super::admit::{Http2Places, PermittedStream};
use super::endpoint::EndpointState;
use super::h2_lent::{LentStream, Returned};
use super::h2_pool::{Enlisted, Place, StreamLease};
use crate::http::body::RequestBody;
use crate::http::failure::UpstreamFailure;
use crate::passing::pass_writes;
use crate::worker::LocalExecutor;

/// The largest list of response fields, as Envoy has it (60 KiB), with what HTTP/2 counts for each field on top.
const RESPONSE_HEAD_BYTES_MAX: u32 = 64 * 1024;
/// Windows for what upstreams send: Envoy's default for a stream is 16 MiB; a quarter of a megabyte keeps a link of a
/// gigabit busy at two milliseconds, and bounds what a slow client makes us hold.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The same for all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Bytes of a request that wait for the upstream's window, per stream.
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Streams in flight on one connection without a limit of the configuration or of the peer (Envoy: 1024).
const STREAMS_DEFAULT: u32 = 1024;

type Driver = Connection<TokioIo<Heard>, RequestBody, LocalExecutor>;

/// What became of a request that got no response.
pub(super) enum Unanswered {
    /// Nothing of it has left: it can go on another connection.
    Returned(Box<Request<RequestBody>>),
    /// The upstream says that it has not looked at it.
    Refused(UpstreamFailure),
    Failed(UpstreamFailure),
}

/// An open HTTP/2 connection to an endpoint, shared by its streams.
pub(crate) struct Http2Connection {
    sender: RefCell<SendRequest<RequestBody>>,
    /// `None` once it has ended. hyper tells the peer's limit on streams here alone.
    driver: Rc<RefCell<Option<Driver>>>,
    options: UpstreamHttp,
    pub(super) endpoint: Arc<EndpointState>,
    streams: Cell<u32>,
    requests: Cell<u32>,
    opened: Instant,
    idle_since: Cell<Instant>,
    /// Of the places that have been lent.
    returned: Arc<Returned>,
    enlisted: Rc<Enlisted>,
    places: Http2Places,
}

impl Http2Connection {
    /// Speaks HTTP/2 on a socket, by prior knowledge. Returns when the peer has said how many streams it takes: before
    /// that a request could be one too many.
    pub(super) async fn open(
        stream: PermittedStream,
        enlisted: Rc<Enlisted>,
        options: UpstreamHttp,
        endpoint: Arc<EndpointState>,
    ) -> Result<Self, UpstreamFailure> {
        let heard = Rc::new(Notify::new());
        let io = TokioIo::new(Heard {
            inner: stream,
            heard: heard.clone(),
        });
        let (sender, driver) = builder(&options)
            .handshake(io)
            .await
            .map_err(|_| UpstreamFailure::Connect)?;
        let driver = Rc::new(RefCell::new(Some(driver)));
        tokio::task::spawn_local(drive(driver.clone(), heard.clone()));
        let places = Http2Places::new(&endpoint.admission, 0);
        let connection = Self {
            sender: RefCell::new(sender),
            driver,
            options,
            endpoint,
            streams: Cell::new(0),
            requests: Cell::new(0),
            opened: Instant::now(),
            idle_since: Cell::new(Instant::now()),
            returned: Arc::default(),
            enlisted,
            places,
        };
        while connection.streams_max() == 0 {
            if connection.is_closed() {
                // It listens, and it does not speak HTTP/2.
                return Err(UpstreamFailure::Protocol);
            }
            heard.notified().await;
        }
        connection.places.set(connection.streams_max());
        Ok(connection)
    }

    /// How many streams may be in flight now: ours, the configuration's or the peer's limit.
    fn streams_max(&self) -> u32 {
        let peer = match &*self.driver.borrow() {
            Some(driver) => u32::try_from(driver.current_max_send_streams()).unwrap_or(u32::MAX),
            None => 0,
        };
        peer.min(self.options.streams_max.unwrap_or(STREAMS_DEFAULT))
    }

    fn is_closed(&self) -> bool {
        self.driver.borrow().is_none() || self.sender.borrow().is_closed()
    }

    /// Whether it takes further requests, now or when a stream has ended.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        let requests_max = self.options.requests_per_connection_max;
        let duration_max = self.options.connection_duration_max;
        !self.is_closed()
            && !self.endpoint.is_removed()
            && requests_max.is_none_or(|max| self.requests.get() < max)
            && duration_max.is_none_or(|max| now.saturating_duration_since(self.opened) < max)
    }

    /// Whether it has been without streams for longer than it may.
    pub(super) fn has_expired(&self, now: Instant) -> bool {
        let idle_max = self.options.idle_timeout;
        self.is_idle() && idle_max.is_some_and(|max| now.saturating_duration_since(self.idle_since.get()) >= max)
    }

    /// Whether it has been open for so long.
    pub(super) fn has_served(&self, time: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.opened) >= time
    }

    pub(super) fn is_idle(&self) -> bool {
        self.streams.get() == 0
    }

    /// Takes a place for one stream; it is given back by [`Self::release`].
    pub(super) fn reserve(&self) -> bool {
        let streams_max = self.streams_max();
        self.places.set(streams_max);
        let free = self.streams.get() < streams_max;
        if free {
            self.streams.set(self.streams.get() + 1);
            self.requests.set(self.requests.get().saturating_add(1));
        }
        free
    }

    pub(super) fn release(&self) {
        self.release_some(1);
    }

    /// Takes note of places that were lent and are free again.
    pub(super) fn collect(&self) {
        match self.returned.take() {
            0 => {}
            count => self.release_some(count),
        }
    }

    fn release_some(&self, count: u32) {
        self.streams.set(self.streams.get().saturating_sub(count));
        self.idle_since.set(Instant::now());
    }

    /// A place for a request of anybody, if one is free.
    pub(super) fn lend(&self) -> Option<LentStream> {
        self.reserve().then(|| {
            let sender = self.sender.borrow().clone();
            self.enlisted.lend(sender, self.endpoint.clone(), self.returned.clone())
        })
    }

    /// Sends on a place that was reserved. The sender is let go before the wait: others send meanwhile.
    pub(super) fn send(&self, request: Request<RequestBody>) -> impl Future<Output = Sent> + use<> {
        self.sender.borrow_mut().try_send_request(request)
    }
}

/// What hyper says of a request.
type Sent = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

/// Sends a request on a place of its own, or on one that was lent. Cancel safe: dropping the future resets the stream.
pub(super) async fn send(
    lease: &mut StreamLease,
    request: Request<RequestBody>,
) -> Result<Response<Incoming>, Unanswered> {
    let sent = match &mut lease.place {
        Place::Own { connection, .. } => connection.send(request).await,
        Place::Lent(stream) => stream.sender.try_send_request(request).await,
    };
    sent.map_err(|mut error| match error.take_message() {
        Some(request) => Unanswered::Returned(Box::new(request)),
        None => unanswered(error.error()),
    })
}

fn builder(options: &UpstreamHttp) -> Builder<LocalExecutor> {
    let mut builder = Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        // None before the peer's SETTINGS: see `open`.
        .initial_max_send_streams(0)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(RESPONSE_HEAD_BYTES_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX);
    if let Some((interval, timeout)) = options.keepalive {
        builder
            .keep_alive_interval(interval.max(Duration::from_millis(1)))
            .keep_alive_timeout(timeout)
            .keep_alive_while_idle(true);
    }
    builder
}

/// Runs a connection to its end. How it ends shows at the streams that are on it.
async fn drive(driver: Rc<RefCell<Option<Driver>>>, heard: Rc<Notify>) {
    poll_fn(|cx| match &mut *driver.borrow_mut() {
        Some(running) => Pin::new(running).poll(cx).map(|_ended| ()),
        None => Poll::Ready(()),
    })
    .await;
    let ended = driver.borrow_mut().take();
    drop(ended);
    heard.notify_one();
}

/// What an error says about the stream that it ended. Its text is never looked at.
fn unanswered(error: &hyper::Error) -> Unanswered {
    let cause = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    match cause {
        Some(cause) if cause.is_reset() && cause.is_remote() => match cause.reason() {
            // RFC 9113, section 8.7: it is certain that the request was not processed.
            Some(h2::Reason::REFUSED_STREAM) => Unanswered::Refused(UpstreamFailure::RefusedStream),
            _ => Unanswered::Failed(UpstreamFailure::Reset),
        },
        // Only streams above the last one that the peer has looked at end so (RFC 9113, section 6.8).
        Some(cause) if cause.is_go_away() && cause.is_remote() => Unanswered::Refused(UpstreamFailure::GoAway),
        Some(cause) if cause.is_io() => Unanswered::Failed(UpstreamFailure::Closed),
        Some(_) => Unanswered::Failed(UpstreamFailure::Protocol),
        // Among them the ping that was not answered.
        None => Unanswered::Failed(UpstreamFailure::Closed),
    }
}

/// A socket that tells when something has come: that is when the peer's SETTINGS may have.
struct Heard {
    inner: PermittedStream,
    heard: Rc<Notify>,
}

impl AsyncRead for Heard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if read.is_ready() {
            self.heard.notify_one();
        }
        read
    }
}

pass_writes!(impl[] Heard, inner);
