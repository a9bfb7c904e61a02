//! The limit on requests that wait: who may, and who is refused at once.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::admission::{Admission, Overflow};
use super::permit::PendingPermit;

/// How often a place among those who wait is looked for while something is free; then the request is refused after all.
const LOOKS_MAX: u32 = 100;
/// The next look, if no place has become free before: what was free may be in use now.
const LOOK_AFTER: Duration = Duration::from_millis(1);

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// An HTTP/1 connection to itself.
    Connection,
    /// A stream of an HTTP/2 connection.
    Stream,
}

impl Admission {
    /// A request waits from now until the permit is dropped, for what it wants and while that is being opened. Where a
    /// connection is idle, or a stream free, it is on its way to one who waits, perhaps between two workers: a place is about
    /// to become free, and nobody is refused for want of one.
    ///
    /// Cancel safe: nothing is held before it resolves.
    pub(crate) async fn pending(&self, wants: Wants) -> Result<PendingPermit<'_>, Overflow> {
        match self.pending_now(wants) {
            Some(decided) => decided,
            // Boxed: few have to look again.
            None => Box::pin(self.pending_soon(wants)).await,
        }
    }

    /// `None` if it is not known yet whether the request may wait.
    fn pending_now(&self, wants: Wants) -> Option<Result<PendingPermit<'_>, Overflow>> {
        if let Some(permit) = self.try_pending() {
            return Some(Ok(permit));
        }
        let may_change = self.has_free(wants) && self.pending.max() > 0;
        // Once more, as it counts the refusal: a place may be free since the first look.
        (!may_change).then(|| self.pending_or_refused())
    }

    /// The answer when it is known.
    async fn pending_soon(&self, wants: Wants) -> Result<PendingPermit<'_>, Overflow> {
        for _ in 0..LOOKS_MAX {
            let place = self.place.notified();
            if let Some(decided) = self.pending_now(wants) {
                return decided;
            }
            // Whether told or not, it looks again.
            tokio::time::timeout(LOOK_AFTER, place).await.ok();
        }
        self.pending_or_refused()
    }

    fn pending_or_refused(&self) -> Result<PendingPermit<'_>, Overflow> {
        self.try_pending().ok_or_else(|| {
            self.refused.pending.increment();
            Overflow::Pending
        })
    }

    fn try_pending(&self) -> Option<PendingPermit<'_>> {
        let permit = self.pending.try_acquire()?;
        Some(PendingPermit::new(self, permit))
    }

    /// Whether fewer requests are in flight than could be. A connection that has just closed counts for a moment more; where a
    /// cluster carries both protocols it may say no too early.
    fn has_free(&self, wants: Wants) -> bool {
        // Relaxed: it is a hint, looked at again and again.
        let in_flight = self.requests.used();
        match wants {
            Wants::Connection => {
                let http1 = self
                    .connections
                    .limit()
                    .used()
                    .saturating_sub(self.http2.connections.load(Relaxed));
                http1 > in_flight.saturating_add(self.dialling.load(Relaxed))
            }
            Wants::Stream => self.http2.streams.load(Relaxed) > in_flight,
        }
    }
}
