//! A response's body: a head of text, filler behind it, at a rate, to its end or only to its middle.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::ledger::InFlightGuard;

/// Bytes of filler at once.
const PIECE_BYTES: usize = 16 * 1024;
/// The filler.
static FILLER: [u8; PIECE_BYTES] = [b'x'; PIECE_BYTES];
/// How often a slow body gives something.
const SLICE: Duration = Duration::from_millis(20);

/// The body of a response. The request is in flight until it is dropped.
pub(super) struct ReplyBody {
    text: Bytes,
    filler: usize,
    /// Bytes until it breaks off.
    breaks_after: Option<usize>,
    /// Once all before the break has been given: time in which it leaves, before the break throws away what waits.
    leaving: Option<Pin<Box<Sleep>>>,
    trailers: Option<HeaderMap>,
    pace: Option<Pace>,
    _in_flight: InFlightGuard,
}

struct Pace {
    bytes_per_slice: usize,
    next: Pin<Box<Sleep>>,
}

impl ReplyBody {
    pub(super) fn new(text: Bytes, filler: usize, rate: u64, early_close: bool, in_flight: InFlightGuard) -> Self {
        let whole = text.len() + filler;
        Self {
            text,
            filler,
            breaks_after: early_close.then_some(whole / 2),
            leaving: None,
            trailers: None,
            pace: (rate > 0).then(|| Pace {
                bytes_per_slice: ((rate as f64 * SLICE.as_secs_f64()) as usize).max(1),
                next: Box::pin(tokio::time::sleep(Duration::ZERO)),
            }),
            _in_flight: in_flight,
        }
    }

    pub(super) fn with_trailers(mut self, trailers: HeaderMap) -> Self {
        self.trailers = Some(trailers);
        self
    }

    fn left(&self) -> usize {
        self.text.len() + self.filler
    }

    fn piece(&mut self, bytes_max: usize) -> Bytes {
        if !self.text.is_empty() {
            return self.text.split_to(bytes_max.min(self.text.len()));
        }
        let length = bytes_max.min(self.filler).min(PIECE_BYTES);
        self.filler -= length;
        Bytes::from_static(&FILLER[..length])
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if this.breaks_after == Some(0) {
            let leaving = this.leaving.get_or_insert_with(|| Box::pin(tokio::time::sleep(SLICE)));
            ready!(leaving.as_mut().poll(context));
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        if this.left() == 0 {
            return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let mut bytes_max = this.breaks_after.unwrap_or(usize::MAX);
        if let Some(pace) = &mut this.pace {
            ready!(pace.next.as_mut().poll(context));
            pace.next.as_mut().reset(Instant::now() + SLICE);
            bytes_max = bytes_max.min(pace.bytes_per_slice);
        }
        let piece = this.piece(bytes_max);
        if let Some(left) = &mut this.breaks_after {
            *left -= piece.len();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0 && self.trailers.is_none() && self.breaks_after.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left() as u64)
    }
}
