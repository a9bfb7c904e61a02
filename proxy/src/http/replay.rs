//! in → out: a request that may have to be sent again → the same request, head and body, for another try.
//! owns: what is kept of bodies and how much of it; that only the newest try gets any of it.
//! may not touch: whether there is another try.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::body::{BodyError, RequestBody, Upload};
use super::exchange::head_bytes;
use super::relay_headers;

/// What is kept of one request's body (Envoy's limit, too). A longer body is sent once.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// What a worker keeps of all bodies together: as many as 32 of the longest.
pub(super) const WORKER_BYTES_MAX: usize = 32 << 20;
/// Pieces of a body are put together up to this size: a piece of one byte takes a hundred, and may hold on to the whole buffer
/// that it was read into.
const JOINED_BYTES_MAX: usize = 512;

/// What a worker may keep. Atomic, since a connection that was lent is driven by another thread.
#[derive(Debug, Default)]
pub(crate) struct ReplayBudget(AtomicUsize);

impl ReplayBudget {
    pub(super) fn take(&self, bytes: usize) -> bool {
        // Relaxed: the number stands for itself.
        let taken = self.0.fetch_update(Relaxed, Relaxed, |used| {
            used.checked_add(bytes).filter(|used| *used <= WORKER_BYTES_MAX)
        });
        taken.is_ok()
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Relaxed);
    }
}

/// What is needed to send a request again. Dropped, it keeps no more of the body and lets go of what has been sent.
pub(crate) struct Replay {
    head: Parts,
    /// `None` for a request without a body.
    body: Option<Arc<Mutex<Kept>>>,
}

impl Replay {
    /// Begins to keep a request that is about to be sent.
    pub(crate) fn keep(request: Request<RequestBody>, budget: &Arc<ReplayBudget>) -> (Self, Request<RequestBody>) {
        let (head, body) = request.into_parts();
        let (kept, body) = match body {
            RequestBody::Stream { incoming, upload } => {
                let kept = Arc::new(Mutex::new(Kept::new(incoming, upload, budget.clone())));
                let body = Recorded {
                    kept: kept.clone(),
                    number: 0,
                };
                (Some(kept), RequestBody::Recorded(body))
            }
            body @ (RequestBody::Empty | RequestBody::Recorded(_) | RequestBody::Copy(_)) => (None, body),
        };
        let replay = Self {
            head: copy_of(&head),
            body: kept,
        };
        (replay, Request::from_parts(head, body))
    }

    /// Whether everything that was sent is still there.
    pub(crate) fn is_whole(&self) -> bool {
        self.body.as_ref().is_none_or(|kept| !lock(kept).lost)
    }

    /// The request for another try. From here on the tries before get nothing more of the body: theirs break off.
    pub(crate) fn again(&self) -> Option<Request<RequestBody>> {
        let body = match &self.body {
            None => RequestBody::Empty,
            Some(kept) => RequestBody::Recorded(Recorded {
                number: lock(kept).restart()?,
                kept: kept.clone(),
            }),
        };
        Some(Request::from_parts(copy_of(&self.head), body))
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        if let Some(kept) = &self.body {
            lock(kept).let_go();
        }
    }
}

/// Extensions are not for upstreams.
pub(super) fn copy_of(head: &Parts) -> Parts {
    let mut copy = Request::new(()).into_parts().0;
    copy.method = head.method.clone();
    copy.uri = head.uri.clone();
    copy.version = head.version;
    copy.headers = head.headers.clone();
    copy
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The body of one try of a request that may be sent again. The lock is the request's own: only a try that has been given
/// up can still be at it.
pub(crate) struct Recorded {
    kept: Arc<Mutex<Kept>>,
    /// Which try.
    number: u32,
}

impl Recorded {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut kept = lock(&self.kept);
        if kept.number != self.number {
            // Never a clean end: what was sent of it is not the request.
            return Poll::Ready(Some(Err(BodyError::Superseded)));
        }
        kept.poll_frame(cx)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let kept = lock(&self.kept);
        kept.number == self.number && kept.is_over()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        lock(&self.kept).size_hint()
    }
}

#[derive(Debug, Clone)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Piece {
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(fields) => usize::try_from(head_bytes(fields)).unwrap_or(usize::MAX),
        }
    }

    pub(super) fn into_frame(self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data),
            Self::Trailers(fields) => Frame::trailers(fields),
        }
    }
}

/// Keeps a piece.
pub(super) fn push(pieces: &mut VecDeque<Piece>, piece: Piece) {
    match (pieces.back_mut(), piece) {
        (Some(Piece::Data(last)), Piece::Data(data)) if last.len() + data.len() <= JOINED_BYTES_MAX => {
            *last = [&last[..], &data[..]].concat().into();
        }
        (_, Piece::Data(data)) if data.len() <= JOINED_BYTES_MAX => {
            pieces.push_back(Piece::Data(Bytes::copy_from_slice(&data)));
        }
        (_, piece) => pieces.push_back(piece),
    }
}

/// A body that arrives, and what is kept of the part that has.
struct Kept {
    incoming: Incoming,
    upload: Arc<Upload>,
    budget: Arc<ReplayBudget>,
    pieces: VecDeque<Piece>,
    /// Size of `pieces`, taken from the budget.
    bytes: usize,
    /// How many of `pieces` the current try has sent.
    sent: usize,
    /// The current try.
    number: u32,
    /// What is sent is kept.
    keeping: bool,
    /// Something was sent and not kept.
    lost: bool,
}

impl Kept {
    fn new(incoming: Incoming, upload: Arc<Upload>, budget: Arc<ReplayBudget>) -> Self {
        Self {
            incoming,
            upload,
            budget,
            pieces: VecDeque::new(),
            bytes: 0,
            sent: 0,
            number: 0,
            keeping: true,
            lost: false,
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.upload.ask();
        let frame = match self.next_kept() {
            Some(frame) => Some(Ok(frame)),
            // Nothing says that a body may be asked again after its end.
            None if self.is_over() => None,
            None => std::task::ready!(self.poll_incoming(cx)),
        };
        if self.is_over() {
            self.upload.set_resending(false);
        }
        Poll::Ready(frame)
    }

    /// What an earlier try has sent already.
    fn next_kept(&mut self) -> Option<Frame<Bytes>> {
        if self.keeping {
            let piece = self.pieces.get(self.sent)?.clone();
            self.sent += 1;
            return Some(piece.into_frame());
        }
        let piece = self.pieces.pop_front()?;
        self.release(piece.size());
        Some(piece.into_frame())
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut frame = std::task::ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        match &mut frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.upload.data(data);
                    self.record(Piece::Data(data.clone()));
                } else if let Some(trailers) = frame.trailers_mut() {
                    relay_headers::remove_from_trailers(trailers);
                    self.upload.trailers(trailers);
                    self.record(Piece::Trailers(trailers.clone()));
                }
                if self.incoming.is_end_stream() {
                    self.upload.end();
                }
            }
            Some(Err(_)) => self.upload.fail(),
            None => self.upload.end(),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Request)))
    }

    fn record(&mut self, piece: Piece) {
        let size = piece.size();
        if self.keeping && self.bytes.saturating_add(size) <= REQUEST_BYTES_MAX && self.budget.take(size) {
            self.bytes += size;
            push(&mut self.pieces, piece);
            // Kept and sent are the same at this point: what comes has been asked for after all that is kept.
            self.sent = self.pieces.len();
        } else {
            self.let_go();
            self.lost = true;
        }
    }

    /// Starts a try with the first byte; `None` when that is not there any more.
    fn restart(&mut self) -> Option<u32> {
        if self.lost {
            return None;
        }
        self.sent = 0;
        self.number += 1;
        self.upload.hold();
        self.upload.set_resending(!self.is_over());
        Some(self.number)
    }

    /// Keeps nothing for another try; what the current one has still to send stays.
    fn let_go(&mut self) {
        self.keeping = false;
        for _ in 0..std::mem::take(&mut self.sent) {
            if let Some(piece) = self.pieces.pop_front() {
                self.lost = true;
                self.release(piece.size());
            }
        }
    }

    fn release(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.budget.give_back(bytes);
    }

    fn is_over(&self) -> bool {
        self.sent == self.pieces.len() && (self.upload.has_ended() || self.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.pieces.iter().skip(self.sent);
        let ahead: u64 = ahead
            .map(|piece| match piece {
                Piece::Data(data) => data.len() as u64,
                Piece::Trailers(_) => 0,
            })
            .sum();
        let rest = self.incoming.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + ahead);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + ahead);
        }
        hint
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_keeps_so_much_and_no_more() {
        let budget = ReplayBudget::default();
        assert!(budget.take(WORKER_BYTES_MAX));
        assert!(!budget.take(1));
        budget.give_back(10);
        assert!(!budget.take(11));
        assert!(budget.take(10));
    }

    #[test]
    fn a_body_of_single_bytes_takes_no_more_than_its_size() {
        let mut pieces = VecDeque::new();
        let body: Vec<u8> = (0..10_000_u32).map(|number| number as u8).collect();
        for byte in &body {
            push(&mut pieces, Piece::Data(Bytes::copy_from_slice(&[*byte])));
        }
        push(&mut pieces, Piece::Data(vec![1; 2 * JOINED_BYTES_MAX].into()));
        push(&mut pieces, Piece::Trailers(HeaderMap::new()));
        assert_eq!(pieces.len(), body.len().div_ceil(JOINED_BYTES_MAX) + 2);
        let kept: Vec<u8> = pieces
            .into_iter()
            .filter_map(|piece| piece.into_frame().into_data().ok())
            .flatten()
            .collect();
        assert_eq!(kept, [body, vec![1; 2 * JOINED_BYTES_MAX]].concat());
    }
}
