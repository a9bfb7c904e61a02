//! in → out: what the I/O and the requests of one downstream connection report → whether it is late.
//! owns: the phase of a connection and since when; the orders to drain or close it.
//! may not touch: the connection itself.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::task::AtomicWaker;

use super::guard::Refusal;

/// Where in its messages a client's bytes stand. While a request waits for its reply no limit on the client counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Before the first byte of a request: the idle limit counts.
    Idle = 0,
    /// In a head: the header limit counts.
    Head = 1,
    /// In a body. With its reply sent already, the idle limit counts.
    Body = 2,
}

/// Why a connection was told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Order {
    /// The next reply says `connection: close`. An idle connection is left to its client: to close it could cost a request.
    Drain = 1,
    /// Nothing came for as long as the idle limit.
    IdleTimeout = 2,
    /// A head did not end within the header limit: 408.
    HeadTimeout = 3,
    /// The client did not read for as long as the write limit.
    WriteTimeout = 4,
}

/// Limits on a downstream connection; `None` is no limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnLimits {
    /// Between requests.
    pub(crate) idle: Option<Duration>,
    /// From the first byte of a head to its end.
    pub(crate) head: Option<Duration>,
    /// Without any progress of a pending write.
    pub(crate) write: Option<Duration>,
}

/// Shared between the stream, the driver and the sweep of a connection, all on one thread: atomics only because hyper's
/// upgrades ask that the stream be `Send`. Every access is relaxed: no other memory is published through them.
#[derive(Debug)]
pub(crate) struct ConnState {
    phase: AtomicU8,
    /// Tick of the worker's clock (milliseconds since the worker started) at which the wait for the client began.
    since: AtomicU64,
    /// Heads that have been read to their end.
    heads: AtomicU32,
    /// Requests that have been answered, or given up.
    answered: AtomicU32,
    /// Bytes behind a request for an upgrade are held back until its answer.
    held: AtomicBool,
    /// Tick at which a write began to wait; 0 is none.
    blocked_since: AtomicU64,
    refusal: AtomicU8,
    /// Number of the message that was refused, from 1.
    refused_message: AtomicU32,
    order: AtomicU8,
    tunnel: AtomicBool,
    /// HTTP/2: requests overlap, and their number is told by whoever reads them.
    streams: AtomicBool,
    /// The worker's coarse clock, copied at every sweep; exact enough for limits of seconds.
    now: AtomicU64,
    limits: ConnLimits,
    waker: AtomicWaker,
}

impl ConnState {
    pub(crate) fn new(limits: ConnLimits, now_ms: u64) -> Self {
        Self {
            phase: AtomicU8::new(Phase::Idle as u8),
            since: AtomicU64::new(now_ms),
            heads: AtomicU32::new(0),
            answered: AtomicU32::new(0),
            held: AtomicBool::new(false),
            blocked_since: AtomicU64::new(0),
            refusal: AtomicU8::new(0),
            refused_message: AtomicU32::new(0),
            order: AtomicU8::new(0),
            tunnel: AtomicBool::new(false),
            streams: AtomicBool::new(false),
            now: AtomicU64::new(now_ms),
            limits,
            waker: AtomicWaker::new(),
        }
    }

    /// Bytes were read: `phase` is where they end, `heads` how many heads have ended. The time of a head counts from its
    /// first byte, whatever comes after it.
    pub(crate) fn read(&self, phase: Phase, heads: u32) {
        let before = self.phase.swap(phase as u8, Relaxed);
        self.heads.store(heads, Relaxed);
        if phase != Phase::Head || before != Phase::Head as u8 {
            self.since.store(self.now.load(Relaxed), Relaxed);
        }
    }

    /// The connection speaks HTTP/2. The codec reads heads by itself: between streams the idle limit counts.
    pub(crate) fn speak_in_streams(&self) {
        self.streams.store(true, Relaxed);
        self.read(Phase::Idle, 0);
    }

    /// Whether requests of the connection are streams beside one another.
    pub(crate) fn has_streams(&self) -> bool {
        self.streams.load(Relaxed)
    }

    /// A request begins. In HTTP/1 its head has been counted by the framing check.
    pub(crate) fn began(&self) {
        if self.has_streams() {
            self.heads.fetch_add(1, Relaxed);
        }
    }

    /// A request has ended: the wait for the next one begins, also when some of its bytes have come before.
    pub(crate) fn replied(&self) {
        self.answered.fetch_add(1, Relaxed);
        self.since.store(self.now.load(Relaxed), Relaxed);
        if self.held.load(Relaxed) {
            self.waker.wake();
        }
    }

    /// Whether a request that has been read waits for its reply.
    pub(crate) fn is_answering(&self) -> bool {
        self.heads.load(Relaxed) > self.answered.load(Relaxed)
    }

    /// Whether the body of the request with that number, counted from 1, is still on its way.
    pub(crate) fn is_reading_body_of(&self, request: u32) -> bool {
        self.phase.load(Relaxed) == Phase::Body as u8 && self.heads.load(Relaxed) == request
    }

    /// Whether bytes are held back: the reply to the request wakes the driver.
    pub(crate) fn hold(&self, held: bool) {
        self.held.store(held, Relaxed);
    }

    /// Whether a write waits for the client.
    pub(crate) fn is_write_blocked(&self) -> bool {
        self.blocked_since.load(Relaxed) != 0
    }

    pub(crate) fn write_blocked(&self) {
        if self.blocked_since.load(Relaxed) == 0 {
            self.blocked_since.store(self.now.load(Relaxed).max(1), Relaxed);
        }
    }

    pub(crate) fn write_moved(&self) {
        self.blocked_since.store(0, Relaxed);
    }

    /// The framing check refused a message; they are counted from 1.
    pub(crate) fn refuse(&self, refusal: Refusal, message: u32) {
        self.refusal.store(refusal as u8, Relaxed);
        self.refused_message.store(message, Relaxed);
    }

    /// What the framing check refused, if it did, and of which message.
    pub(crate) fn refusal(&self) -> Option<(Refusal, u32)> {
        Some((
            Refusal::from_code(self.refusal.load(Relaxed))?,
            self.refused_message.load(Relaxed),
        ))
    }

    /// Whether the connection was told to end because a head did not.
    pub(crate) fn is_head_late(&self) -> bool {
        self.order.load(Relaxed) == Order::HeadTimeout as u8
    }

    /// Whether the connection was told to end because its client does not read.
    pub(crate) fn is_not_reading(&self) -> bool {
        self.order.load(Relaxed) == Order::WriteTimeout as u8
    }

    /// From now on the bytes are not HTTP any more.
    pub(crate) fn become_tunnel(&self) {
        self.tunnel.store(true, Relaxed);
    }

    pub(crate) fn is_tunnel(&self) -> bool {
        self.tunnel.load(Relaxed)
    }

    /// Called by the worker's sweep with its clock: orders the end of a connection that is late.
    pub(crate) fn sweep(&self, now_ms: u64) {
        self.now.store(now_ms, Relaxed);
        if self.is_tunnel() {
            return;
        }
        let late = |since: u64, limit: Option<Duration>| {
            limit.is_some_and(|limit| u128::from(now_ms.saturating_sub(since)) >= limit.as_millis())
        };
        let since = self.since.load(Relaxed);
        let phase = self.phase.load(Relaxed);
        let blocked = self.blocked_since.load(Relaxed);
        let waiting = !self.is_answering() && blocked == 0;
        if waiting && phase != Phase::Head as u8 && late(since, self.limits.idle) {
            self.command(Order::IdleTimeout);
        } else if waiting && phase == Phase::Head as u8 && late(since, self.limits.head) {
            self.command(Order::HeadTimeout);
        } else if blocked != 0 && late(blocked, self.limits.write) {
            self.command(Order::WriteTimeout);
        }
    }

    /// Gives an order and wakes the driver.
    pub(crate) fn command(&self, order: Order) {
        self.order.store(order as u8, Relaxed);
        self.waker.wake();
    }

    /// Whether the next reply is to be the connection's last.
    pub(crate) fn is_draining(&self) -> bool {
        self.order.load(Relaxed) == Order::Drain as u8
    }

    /// Whether a request or the end of a reply is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_tunnel()
            || self.is_answering()
            || self.is_write_blocked()
            || self.phase.load(Relaxed) != Phase::Idle as u8
    }

    /// The order in force, seen by the driver of the connection, which is woken by the next one.
    pub(crate) fn order(&self, waker: &std::task::Waker) -> Option<Order> {
        self.waker.register(waker);
        match self.order.load(Relaxed) {
            1 => Some(Order::Drain),
            2 => Some(Order::IdleTimeout),
            3 => Some(Order::HeadTimeout),
            4 => Some(Order::WriteTimeout),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1000;

    fn state() -> ConnState {
        let limit = Some(Duration::from_secs(1));
        let limits = ConnLimits {
            idle: limit,
            head: limit,
            write: Some(Duration::from_secs(10)),
        };
        ConnState::new(limits, 0)
    }

    fn order(state: &ConnState) -> Option<Order> {
        state.order(std::task::Waker::noop())
    }

    #[test]
    fn a_client_is_not_late_while_it_waits_for_a_reply() {
        // Two requests in one packet; then one and the beginning of another.
        for (phase, heads, late) in [
            (Phase::Idle, 2, Order::IdleTimeout),
            (Phase::Head, 1, Order::HeadTimeout),
            (Phase::Body, 1, Order::IdleTimeout),
        ] {
            let state = state();
            state.read(phase, heads);
            for answered in 0..heads {
                let now = u64::from(answered + 1) * 5 * SECOND;
                state.sweep(now);
                assert_eq!(order(&state), None, "{phase:?} after {answered} of {heads}");
                assert!(state.is_busy());
                state.replied();
            }
            let now = u64::from(heads) * 5 * SECOND;
            state.sweep(now + SECOND - 1);
            assert_eq!(order(&state), None, "{phase:?}: the wait begins with the reply");
            state.sweep(now + SECOND);
            assert_eq!(order(&state), Some(late), "{phase:?}");
        }
    }

    #[test]
    fn a_reply_that_is_not_read_keeps_its_connection_busy_and_no_limit_but_its_own_counts() {
        let state = state();
        state.read(Phase::Head, 1);
        state.write_blocked();
        state.replied();
        state.sweep(5 * SECOND);
        assert_eq!(order(&state), None, "408 would end up inside the reply");
        assert!(state.is_busy());
        state.sweep(10 * SECOND + 1);
        assert_eq!(order(&state), Some(Order::WriteTimeout));
    }
}
