//! A response's body: a head of text, filler behind it, at a rate, to its end or only to its middle.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::ledger::InFlightGuard;
use super::unary;

/// Bytes of filler at once.
const PIECE_BYTES: usize = 64 * 1024;
/// The filler.
static FILLER: [u8; PIECE_BYTES] = [b'x'; PIECE_BYTES];
/// How often a slow body gives something, where a byte does not take longer.
const SLICE: Duration = Duration::from_millis(20);

/// The body of a response. The request is in flight until it is dropped.
pub(super) struct ReplyBody {
    text: Bytes,
    filler: usize,
    /// Bytes until it breaks off.
    breaks_after: Option<usize>,
    /// Once all before the break has been given: time in which it leaves, before the break throws away what waits.
    leaving: Option<Pin<Box<Sleep>>>,
    /// Of gRPC, for the trailers.
    grpc_status: Option<u16>,
    pace: Option<Pace>,
    in_flight: InFlightGuard,
}

/// How a body is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Manner {
    /// Bytes of filler behind the text.
    pub(super) filler: usize,
    /// Bytes a second; 0 at once.
    pub(super) rate: u64,
    /// It breaks off in the middle.
    pub(super) early_close: bool,
}

/// Byte number `n` is due `n / rate` seconds after the start.
struct Pace {
    rate: u64,
    /// When it was first asked for a byte.
    start: Option<Instant>,
    given: u64,
    wait: Pin<Box<Sleep>>,
}

impl Pace {
    fn new(rate: u64) -> Self {
        Self {
            rate,
            start: None,
            given: 0,
            wait: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    /// Waits until some bytes are due, all `left` if these are fewer than a slice; how many are.
    fn poll_due(&mut self, context: &mut Context<'_>, left: usize) -> Poll<usize> {
        let start = *self.start.get_or_insert_with(Instant::now);
        let per_slice = (u128::from(self.rate) * SLICE.as_nanos() / SECOND).max(1);
        let wanted = u64::try_from(per_slice).unwrap_or(u64::MAX).min(left as u64);
        loop {
            let due = u128::from(self.rate) * start.elapsed().as_nanos() / SECOND;
            let due = u64::try_from(due).unwrap_or(u64::MAX).saturating_sub(self.given);
            if due >= wanted {
                return Poll::Ready(usize::try_from(due).unwrap_or(usize::MAX).min(left));
            }
            let at = (u128::from(self.given + wanted) * SECOND).div_ceil(u128::from(self.rate));
            let at = Duration::from_nanos(u64::try_from(at).unwrap_or(u64::MAX));
            self.wait.as_mut().reset(start + at);
            ready!(self.wait.as_mut().poll(context));
        }
    }
}

/// In nanoseconds.
const SECOND: u128 = 1_000_000_000;

impl ReplyBody {
    pub(super) fn new(text: Bytes, manner: Manner, in_flight: InFlightGuard) -> Self {
        let whole = text.len() + manner.filler;
        Self {
            text,
            filler: manner.filler,
            breaks_after: manner.early_close.then_some(whole / 2),
            leaving: None,
            grpc_status: None,
            pace: (manner.rate > 0).then(|| Pace::new(manner.rate)),
            in_flight,
        }
    }

    /// The body with a status of gRPC at its end.
    pub(super) fn with_grpc_status(mut self, status: u16) -> Self {
        self.grpc_status = Some(status);
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
            // Counted here, since a response without a body (to HEAD, say) has no middle to end in.
            this.in_flight.closed_early();
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        if this.left() == 0 {
            return Poll::Ready(this.grpc_status.take().map(|status| {
                // Counted here, since a response that breaks off has none.
                this.in_flight.answered_grpc(status);
                Ok(Frame::trailers(unary::trailers(status)))
            }));
        }
        let mut bytes_max = this.breaks_after.unwrap_or_else(|| this.left());
        if let Some(pace) = &mut this.pace {
            bytes_max = ready!(pace.poll_due(context, bytes_max));
        }
        let piece = this.piece(bytes_max);
        if let Some(pace) = &mut this.pace {
            pace.given += piece.len() as u64;
        }
        if let Some(left) = &mut this.breaks_after {
            *left -= piece.len();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0 && self.grpc_status.is_none() && self.breaks_after.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left() as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::super::ledger::Ledger;
    use super::*;

    /// Bytes that came, how long they took in seconds, and whether it broke off.
    async fn read(text: &'static str, manner: Manner, ledger: &Ledger) -> (usize, f64, bool) {
        let mut body = ReplyBody::new(Bytes::from_static(text.as_bytes()), manner, ledger.came("a", "GET /"));
        let begun = Instant::now();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return (bytes, begun.elapsed().as_secs_f64(), true);
            };
            bytes += frame.data_ref().map_or(0, Bytes::len);
        }
        (bytes, begun.elapsed().as_secs_f64(), false)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_takes_as_long_as_its_rate_says() {
        for (filler, rate) in [
            (5, 1),
            (100, 10),
            (1_000, 99),
            (400_000, 2_000_000),
            (4_000_000, 100_000_000),
            (500_000_000, 1_000_000_000),
        ] {
            let manner = Manner {
                filler,
                rate,
                early_close: false,
            };
            let (bytes, seconds, broke) = read("0123456789", manner, &Ledger::default()).await;
            assert_eq!((bytes, broke), (filler + 10, false));
            let wanted = bytes as f64 / rate as f64;
            // Timers are as fine as a millisecond.
            assert!(
                (wanted..wanted + 0.0021).contains(&seconds),
                "{bytes} at {rate}: {seconds}, not {wanted}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_early_close_comes_in_the_middle_and_is_counted_when_it_comes() {
        let ledger = Ledger::default();
        let manner = Manner {
            filler: 990,
            rate: 100,
            early_close: true,
        };
        drop(ReplyBody::new(Bytes::new(), manner, ledger.came("a", "HEAD /")));
        assert_eq!(ledger.json()["requests"]["early_closes"], 0, "nobody read it");
        let (bytes, seconds, broke) = read("0123456789", manner, &ledger).await;
        assert_eq!((bytes, broke), (500, true));
        assert!((5.0..5.1).contains(&seconds), "{seconds}");
        assert_eq!(ledger.json()["requests"]["early_closes"], 1);
    }
}
