//! What is counted about one connection, and that it is counted exactly once.

use std::rc::Rc;
use std::sync::Arc;

use weft_proxy_core::chain::Origin;

use crate::http::failure::Failure;
use crate::http::flags::{Flag, Flags};
use crate::telemetry::labels::{DestinationLabels, Reporter};
use crate::telemetry::tcp::{TcpCounts, TcpSample};
use crate::worker::Worker;

/// The counts of a connection. Its end is counted when this is dropped, however that comes about.
pub(super) struct Tally {
    worker: Rc<Worker>,
    reporter: Reporter,
    /// `None` until configuration has named one.
    destination: Option<Arc<DestinationLabels>>,
    flags: Flags,
    reason: Option<&'static str>,
    opened: bool,
    /// It is still a guess that there is such a connection: nothing is counted.
    guess: bool,
    /// Since the last report.
    counts: TcpCounts,
    /// Bytes of the client that were taken into account, and bytes for it.
    seen: (u64, u64),
}

impl Tally {
    pub(super) fn new(worker: Rc<Worker>, origin: &Origin) -> Self {
        Self {
            worker,
            reporter: origin.direction.into(),
            destination: None,
            flags: Flags::NONE,
            reason: None,
            opened: false,
            guess: false,
            counts: TcpCounts::default(),
            seen: (0, 0),
        }
    }

    /// For a connection that may turn out not to be opaque.
    pub(super) fn guess(worker: Rc<Worker>, origin: &Origin) -> Self {
        let mut tally = Self::new(worker, origin);
        tally.guess = true;
        tally
    }

    /// Where the connection goes, as far as it is known by now.
    pub(super) fn set_destination(&mut self, destination: &Arc<DestinationLabels>) {
        self.destination = Some(destination.clone());
    }

    /// Both sides are connected, and it is certain that bytes are copied between them.
    pub(super) fn open(&mut self) {
        self.guess = false;
        self.begin();
        self.report();
    }

    /// Takes in the bytes so far: read from the client, written to it.
    pub(super) fn moved(&mut self, (received, sent): (u64, u64)) {
        self.counts.received_bytes += received - self.seen.0;
        self.counts.sent_bytes += sent - self.seen.1;
        self.seen = (received, sent);
    }

    /// Why the connection never came about.
    pub(super) fn fail(&mut self, failure: Failure) {
        let verdict = failure.verdict();
        self.flags.raise(verdict.flag);
        self.reason = Some(verdict.reason);
    }

    /// The connection was ended for its age.
    pub(super) fn too_old(&mut self) {
        self.flags.raise(Flag::Dt);
    }

    /// Hands over what was counted since the last time.
    pub(super) fn report(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        self.worker.observe_tcp(&TcpSample {
            reporter: self.reporter,
            destination: self
                .destination
                .as_ref()
                .unwrap_or(&self.worker.shared.unknown_destination),
            flags: self.flags,
            counts,
            reason: self.reason,
        });
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.opened, true) {
            self.counts.opened = 1;
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if self.guess {
            return;
        }
        self.begin();
        self.counts.closed = 1;
        self.report();
    }
}
