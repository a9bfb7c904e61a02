//! How far a request has come, as it goes: for whoever ends it and for whoever counts it.

use std::cell::Cell;

use super::{Failure, Kind, Phase};
use crate::clock;

/// One request in flight, over however many connections it takes.
#[derive(Debug)]
pub(crate) struct Progress {
    phase: Cell<Phase>,
    sent_ns: Cell<u64>,
    bytes_out: Cell<u64>,
    reused: Cell<bool>,
    lost: Cell<u64>,
}

impl Progress {
    /// Of a request that is about to look for a connection, at `now_ns`.
    pub(crate) fn new(now_ns: u64) -> Self {
        Self {
            phase: Cell::new(Phase::Send),
            sent_ns: Cell::new(now_ns),
            bytes_out: Cell::new(0),
            reused: Cell::new(false),
            lost: Cell::new(0),
        }
    }

    /// Its connection, and its stream where there are streams, have been opened for it, or waited for: only now it is sent.
    pub(crate) fn begins_now(&self) {
        self.sent_ns.set(clock::now());
    }

    /// It goes over a connection that had carried one before.
    pub(crate) fn reuses(&self, used: bool) {
        self.reused.set(used);
    }

    /// The server had closed the connection before it took the request, which is sent again on another.
    pub(crate) fn begins_again(&self) {
        self.lost.set(self.lost.get() + 1);
        self.phase.set(Phase::Send);
        self.reused.set(false);
    }

    /// So many bytes of it have been written.
    pub(crate) fn wrote(&self, bytes: usize) {
        self.bytes_out.set(self.bytes_out.get() + bytes as u64);
    }

    /// It has come as far as `phase`.
    pub(crate) fn reached(&self, phase: Phase) {
        self.phase.set(phase);
    }

    /// It has failed where it is.
    pub(crate) fn failed(&self, kind: Kind) -> Failure {
        Failure::new(self.phase.get(), kind)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// When it was sent; when it was to be, if it has not come so far.
    pub(crate) fn sent_ns(&self) -> u64 {
        self.sent_ns.get()
    }

    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out.get()
    }

    pub(crate) fn is_reused(&self) -> bool {
        self.reused.get()
    }

    /// Connections that were closed under it.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.get()
    }
}
