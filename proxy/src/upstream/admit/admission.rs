//! The limits of one cluster and what came of them. Lives in its state, so that no snapshot resets it.

use std::ops::Deref;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use weft_proxy_core::cluster::Limits;
use weft_proxy_core::limit::{Gate, Limit, Permit};

use super::permit::{ConnectionPermit, DiallingGuard, RetryPermit};
use super::places::Http2Sums;
use super::wait::{Asks, Waiter};
use crate::upstream::counters::Counter;

/// Which limit was reached. Never a failure of an endpoint: none was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// No connection may be opened and none will be free.
    Connections,
    /// Too many requests wait for a connection.
    Pending,
    /// Too many requests are in flight.
    Requests,
}

/// Keeps what is written per request off the cache lines of what is only read.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Apart<T>(T);

impl<T> Deref for Apart<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The limits of one cluster, shared by all workers.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(super) connections: Apart<Gate<Waiter>>,
    pub(super) requests: Apart<Limit>,
    pub(super) pending: Apart<Limit>,
    retries: Limit,
    /// HTTP/1 connections that are being opened.
    pub(super) dialling: AtomicU32,
    pub(super) http2: Http2Sums,
    /// Told when a request stops waiting.
    pub(super) place: Notify,
    /// Workers that have idle connections to the cluster. Locked when one gets its first or has lost its last, and by the
    /// first of the waiters.
    pub(super) lenders: Mutex<Vec<Asks>>,
    pub(crate) refused: Refused,
    /// Requests that went out on a connection that had been idle; workers add theirs up and bring them at their sweep.
    pub(crate) reused: Counter,
    /// Idle connections that went to a waiter of another or the same worker.
    pub(crate) lent: Counter,
}

/// What was refused or had to wait, by limit.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// Times that a connection was wanted and the limit was reached: HTTP waits, TCP is closed.
    pub(crate) connections: Counter,
    pub(crate) pending: Counter,
    pub(crate) requests: Counter,
    pub(crate) retries: Counter,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            connections: Apart(Gate::new(limits.connections_max)),
            requests: Apart(Limit::new(limits.requests_max)),
            pending: Apart(Limit::new(limits.pending_max)),
            retries: Limit::new(limits.retries_max),
            dialling: AtomicU32::new(0),
            http2: Http2Sums::default(),
            place: Notify::new(),
            lenders: Mutex::default(),
            refused: Refused::default(),
            reused: Counter::default(),
            lent: Counter::default(),
        })
    }

    /// Takes over the limits of a new version of the cluster. Waiters get what has become free, workers close what has
    /// become too much.
    pub(crate) fn set_limits(self: &Arc<Self>, limits: &Limits) {
        self.requests.set_max(limits.requests_max);
        self.pending.set_max(limits.pending_max);
        self.retries.set_max(limits.retries_max);
        self.connections.limit().set_max(limits.connections_max);
        self.serve();
        if limits.connections_max == 0 {
            // Dropping their senders tells them.
            drop(self.connections.clear());
        }
        if self.has_surplus() {
            self.ask();
        }
    }

    /// An HTTP/1 connection is being opened until the guard is dropped.
    pub(crate) fn dialling(&self) -> DiallingGuard<'_> {
        DiallingGuard::new(&self.dialling)
    }

    /// A permit to open a connection, unless the limit is reached or others have waited for longer.
    pub(crate) fn try_connection(self: &Arc<Self>) -> Option<ConnectionPermit> {
        let permit = self.connections.try_acquire()?;
        Some(ConnectionPermit::new(self.clone(), permit))
    }

    /// A permit for a connection that does not wait (TCP); a refusal is counted.
    pub(crate) fn connection(self: &Arc<Self>) -> Result<ConnectionPermit, Overflow> {
        self.try_connection().ok_or_else(|| {
            self.refused.connections.increment();
            Overflow::Connections
        })
    }

    /// A permit for one retry in flight: out of the budget, if there is one, else out of `max_retries`.
    pub(crate) fn retry(self: &Arc<Self>, limits: &Limits) -> Option<RetryPermit> {
        let permit = match limits.retry_budget {
            None => self.retries.try_acquire(),
            Some(budget) => {
                let asked = u64::from(self.requests.used()) + u64::from(self.pending.used());
                let share = asked * u64::from(budget.basis_points) / 10_000;
                let bound = u32::try_from(share).unwrap_or(u32::MAX).max(budget.concurrency_min);
                self.retries.try_acquire_within(bound)
            }
        };
        if permit.is_none() {
            self.refused.retries.increment();
        }
        permit.map(|permit| RetryPermit::new(self.clone(), permit))
    }

    /// A request is in flight from now until [`Admission::end_request`].
    pub(crate) fn start_request(&self) -> Result<Permit, Overflow> {
        self.requests.try_acquire().ok_or_else(|| {
            self.refused.requests.increment();
            Overflow::Requests
        })
    }

    /// Whether a request that could have a connection at once would be refused with it: then it needs none. Envoy opens it first.
    pub(crate) fn has_room(&self) -> Result<(), Overflow> {
        if self.requests.remaining() == 0 {
            self.refused.requests.increment();
            return Err(Overflow::Requests);
        }
        Ok(())
    }

    pub(crate) fn end_request(&self, permit: Permit) {
        self.requests.release(permit);
    }

    pub(super) fn end_pending(&self, permit: Permit) {
        self.pending.release(permit);
        self.place.notify_one();
    }

    pub(super) fn end_retry(&self, permit: Permit) {
        self.retries.release(permit);
    }

    /// Whether more connections are open than a limit that was lowered allows.
    pub(crate) fn has_surplus(&self) -> bool {
        self.connections.limit().surplus() > 0
    }

    /// Whether requests wait for a connection that becomes free.
    pub(crate) fn has_waiters(&self) -> bool {
        self.connections.waiting() > 0
    }

    /// The limits, for their figures.
    pub(crate) fn figures(&self) -> Figures<'_> {
        Figures {
            connections: self.connections.limit(),
            requests: &self.requests,
            pending: &self.pending,
            retries: &self.retries,
            waiters: self.connections.waiting(),
        }
    }
}

/// The limits of a cluster, to be read.
#[derive(Debug)]
pub(crate) struct Figures<'a> {
    pub(crate) connections: &'a Limit,
    pub(crate) requests: &'a Limit,
    pub(crate) pending: &'a Limit,
    pub(crate) retries: &'a Limit,
    pub(crate) waiters: usize,
}
