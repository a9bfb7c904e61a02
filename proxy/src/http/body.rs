//! in → out: hyper's incoming bodies → bodies that count, keep time and say how they ended.
//! owns: what has passed, and that a pooled connection goes back only after a complete response.
//! may not touch: heads, routes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use super::deadline::Deadline;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::copy::{Copies, CopyBody};
use super::exchange::Exchange;
use super::failure::{Failure, RequestFailure, RouteFailure, UpstreamFailure};
use super::relay_headers;
use super::replay::Recorded;
use crate::upstream::attempt::Hold;

/// Why a body ended before its end. Shown by nobody: it makes hyper close the connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The client's part failed.
    #[error("the request body ended early")]
    Request(#[source] hyper::Error),
    /// The upstream's part failed.
    #[error("the response body ended early")]
    Response(#[source] hyper::Error),
    /// The time limit of the route.
    #[error("the response was not complete in time")]
    Timeout,
    /// The try that it belongs to was given up for another.
    #[error("the request is sent again elsewhere")]
    Superseded,
    /// What it is a copy of broke off, or the copy was too slow.
    #[error("the copy is given up")]
    Abandoned,
}

/// Where a request body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// With us: no connection has asked for it yet.
    Held,
    /// On its way, as fast as the client sends and the upstream reads.
    Passing,
    /// The client's bytes have ended, well or not.
    Ended,
}

/// How far a request body has come. Shared between the body, which hyper owns, and whoever waits for its end.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    bytes: AtomicU64,
    ended: AtomicBool,
    failed: AtomicBool,
    /// The current try's connection has asked for it; before that it waits with us.
    asked: AtomicBool,
    /// A later try has not come to the end of what an earlier one had.
    resending: AtomicBool,
    waker: AtomicWaker,
    /// Whoever else gets it; nearly always nobody.
    copies: Copies,
}

impl Upload {
    /// Body bytes passed on so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Whether the client's bytes ended in an error.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    /// Whether the client's bytes have ended, well or not.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// Where it is now; `cx` is woken when that changes.
    pub(super) fn poll_stage(&self, cx: &mut Context<'_>) -> Stage {
        self.waker.register(cx.waker());
        // Relaxed: registering and waking order them.
        if self.ended.load(Relaxed) {
            Stage::Ended
        } else if self.asked.load(Relaxed) {
            Stage::Passing
        } else {
            Stage::Held
        }
    }

    /// Whether the upstream has been sent all of it.
    pub(crate) fn is_sent(&self) -> bool {
        self.has_ended() && !self.resending.load(Relaxed)
    }

    /// A connection wants it.
    pub(super) fn ask(&self) {
        if !self.asked.load(Relaxed) {
            self.asked.store(true, Relaxed);
            self.waker.wake();
        }
    }

    /// It waits for the connection of another try.
    pub(super) fn hold(&self) {
        self.asked.store(false, Relaxed);
    }

    pub(super) fn set_resending(&self, resending: bool) {
        self.resending.store(resending, Relaxed);
    }

    /// More bytes have come.
    pub(super) fn data(&self, data: &Bytes) {
        self.bytes.fetch_add(data.len() as u64, Relaxed);
        self.copies.data(data);
    }

    pub(super) fn trailers(&self, trailers: &HeaderMap) {
        self.copies.trailers(trailers);
    }

    pub(super) fn fail(&self) {
        self.failed.store(true, Relaxed);
        self.copies.break_off();
        self.end();
    }

    pub(super) fn end(&self) {
        self.ended.store(true, Relaxed);
        self.copies.finish();
        self.waker.wake();
    }
}

/// The body of a request on its way to an upstream.
pub(crate) enum RequestBody {
    /// No bytes, no coding.
    Empty,
    /// As it arrives.
    Stream { incoming: Incoming, upload: Arc<Upload> },
    /// As it arrives, and kept for another try.
    Recorded(Recorded),
    /// A copy of another one.
    Copy(CopyBody),
}

impl RequestBody {
    /// The body as hyper hands it over, with the record of its progress if it has bytes.
    pub(crate) fn new(incoming: Incoming, copies: Copies) -> (Self, Option<Arc<Upload>>) {
        if incoming.is_end_stream() {
            return (Self::Empty, None);
        }
        let upload = Arc::new(Upload {
            copies,
            ..Upload::default()
        });
        (
            Self::Stream {
                incoming,
                upload: upload.clone(),
            },
            Some(upload),
        )
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (incoming, upload) = match &mut *self {
            Self::Empty => return Poll::Ready(None),
            Self::Stream { incoming, upload } => (incoming, upload),
            Self::Recorded(recorded) => return recorded.poll_frame(cx),
            Self::Copy(copy) => return copy.poll_frame(cx),
        };
        upload.ask();
        let mut frame = std::task::ready!(Pin::new(&mut *incoming).poll_frame(cx));
        match &mut frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    upload.data(data);
                }
                if let Some(trailers) = frame.trailers_mut() {
                    relay_headers::remove_from_trailers(trailers);
                    upload.trailers(trailers);
                }
                if incoming.is_end_stream() {
                    upload.end();
                }
            }
            Some(Err(_)) => upload.fail(),
            None => upload.end(),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Request)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream { incoming, .. } => incoming.is_end_stream(),
            Self::Recorded(recorded) => recorded.is_end_stream(),
            Self::Copy(copy) => copy.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream { incoming, .. } => incoming.size_hint(),
            Self::Recorded(recorded) => recorded.size_hint(),
            Self::Copy(copy) => copy.size_hint(),
        }
    }
}

/// The body of a reply to a client.
pub(crate) enum ReplyBody {
    /// At hand.
    Whole(Option<Bytes>),
    /// An upstream's, as it arrives.
    Relay(Box<Relay>),
}

impl ReplyBody {
    pub(crate) fn whole(body: Bytes) -> Self {
        Self::Whole(Some(body).filter(|body| !body.is_empty()))
    }

    pub(crate) fn relay(relay: Relay) -> Self {
        Self::Relay(Box::new(relay))
    }
}

/// An upstream's response body. Dropping it ends the exchange, complete or not.
pub(crate) struct Relay {
    incoming: Incoming,
    hold: Option<Hold>,
    exchange: Exchange,
    deadline: Option<Deadline>,
}

impl Relay {
    pub(crate) fn new(incoming: Incoming, hold: Hold, exchange: Exchange, deadline: Option<Deadline>) -> Self {
        Self {
            incoming,
            hold: Some(hold),
            exchange,
            deadline,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.exchange.add_response_bytes(data.len() as u64);
                }
                if let Some(trailers) = frame.trailers_mut() {
                    relay_headers::remove_from_trailers(trailers);
                    self.exchange.trailers(trailers);
                }
                if self.incoming.is_end_stream() {
                    self.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let failure = if self.exchange.upload_failed() {
                    Failure::Request(RequestFailure::Left)
                } else {
                    Failure::Upstream(UpstreamFailure::Truncated)
                };
                self.exchange.fail(failure);
                Poll::Ready(Some(Err(BodyError::Response(error))))
            }
            Poll::Ready(None) => {
                self.complete();
                Poll::Ready(None)
            }
            Poll::Pending => match &mut self.deadline {
                None => Poll::Pending,
                Some(deadline) => {
                    std::task::ready!(Pin::new(deadline).poll(cx));
                    self.exchange.fail(Failure::Route(RouteFailure::Timeout));
                    Poll::Ready(Some(Err(BodyError::Timeout)))
                }
            },
        }
    }

    fn complete(&mut self) {
        if let Some(hold) = self.hold.take() {
            // First: who gets the connection, on whatever worker, begins a request, and finds the place of this one free.
            self.exchange.clear_active();
            // An upstream that answers before the request is complete keeps its connection busy with the rest of it.
            if self.exchange.is_upload_sent() {
                hold.complete();
            }
            self.exchange.complete();
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // hyper drops a body of known length without asking for the frame after the last.
        if self.incoming.is_end_stream() {
            self.complete();
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Whole(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Self::Relay(relay) => relay.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_none(),
            Self::Relay(relay) => relay.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
            Self::Relay(relay) => relay.incoming.size_hint(),
        }
    }
}
