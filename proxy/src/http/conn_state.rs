//! in → out: what the I/O and the requests of one downstream connection report → whether it is late.
//! owns: the phase of a connection and since when; the orders to drain or close it.
//! may not touch: the connection itself.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::task::AtomicWaker;

use super::guard::Refusal;

/// What a downstream connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// For the first byte of a request: the idle limit counts.
    Idle = 0,
    /// For the rest of a head: the header limit counts.
    Head = 1,
    /// For us or for an upstream: neither counts.
    Busy = 2,
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
    /// Tick of the worker's clock (milliseconds since the worker started) at which the phase began.
    since: AtomicU64,
    /// Tick at which a write began to wait; 0 is none.
    blocked_since: AtomicU64,
    refusal: AtomicU8,
    /// Number of the message that was refused, from 1.
    refused_message: AtomicU32,
    order: AtomicU8,
    tunnel: AtomicBool,
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
            blocked_since: AtomicU64::new(0),
            refusal: AtomicU8::new(0),
            refused_message: AtomicU32::new(0),
            order: AtomicU8::new(0),
            tunnel: AtomicBool::new(false),
            now: AtomicU64::new(now_ms),
            limits,
            waker: AtomicWaker::new(),
        }
    }

    /// Begins a phase, unless it is the present one.
    pub(crate) fn enter(&self, phase: Phase) {
        if self.phase.swap(phase as u8, Relaxed) != phase as u8 {
            self.since.store(self.now.load(Relaxed), Relaxed);
        }
    }

    /// A reply was written: the wait for the next request begins, unless its head came already.
    pub(crate) fn replied(&self) {
        if self.phase.load(Relaxed) == Phase::Busy as u8 {
            self.enter(Phase::Idle);
        }
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
        if phase == Phase::Idle as u8 && late(since, self.limits.idle) {
            self.command(Order::IdleTimeout);
        } else if phase == Phase::Head as u8 && late(since, self.limits.head) {
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

    /// Whether a request is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_tunnel() || self.phase.load(Relaxed) != Phase::Idle as u8
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
