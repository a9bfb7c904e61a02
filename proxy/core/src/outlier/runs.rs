#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::atomic::Ordering::Relaxed;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::event::{Cause, Tally};
use crate::cluster::OutlierDetection;

/// Consecutive failures of an endpoint, counted by all workers together.
///
/// Every access is relaxed: the counters are compared with thresholds and publish nothing, and all changes of one word are
/// in one order by themselves. Whoever brings a counter to its threshold is told so, exactly once, and it starts anew.
#[derive(Debug)]
pub(super) struct Runs {
    /// Gateway errors in the upper half, 5xx in the lower: a response changes both or neither.
    responses: AtomicU64,
    /// Failures to reach it, a detector by itself.
    local_origin: AtomicU32,
}

impl Default for Runs {
    fn default() -> Self {
        Self {
            responses: AtomicU64::new(0),
            local_origin: AtomicU32::new(0),
        }
    }
}

fn unpack(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

fn pack(gateway: u32, server: u32) -> u64 {
    u64::from(gateway) << 32 | u64::from(server)
}

/// One more of a run, and whether that makes it complete: then it starts anew.
fn advance(run: u32, threshold: u32) -> (u32, bool) {
    // A detector that is off counts nothing, so that nothing is held against an endpoint when it is switched on.
    if threshold == 0 {
        return (0, false);
    }
    let next = run.saturating_add(1);
    // Envoy asks whether it is equal. Since a complete run starts anew it can be above only when the threshold was
    // lowered meanwhile, in which case a test for equality would never be met again.
    if next >= threshold { (0, true) } else { (next, false) }
}

impl Runs {
    /// Counts an outcome; the detectors whose runs it completes, in Envoy's order.
    #[inline]
    pub(super) fn count(&self, config: &OutlierDetection, tally: Tally) -> [Option<Cause>; 2] {
        match tally {
            Tally::Success => {
                self.clear_responses();
                self.clear_local_origin();
                [None, None]
            }
            Tally::ServerError | Tally::GatewayError => {
                // Whoever answers can be reached.
                self.clear_local_origin();
                self.count_error(config, tally == Tally::GatewayError)
            }
            Tally::LocalFailure => [self.count_local_origin(config.consecutive_local_origin), None],
            Tally::LocalSuccess => {
                self.clear_local_origin();
                [None, None]
            }
            Tally::Nothing => [None, None],
        }
    }

    fn count_error(&self, config: &OutlierDetection, gateway_error: bool) -> [Option<Cause>; 2] {
        let mut word = self.responses.load(Relaxed);
        loop {
            let (gateway, server) = unpack(word);
            let (gateway, gateway_complete) = if gateway_error {
                advance(gateway, config.consecutive_gateway)
            } else {
                (0, false)
            };
            let (server, server_complete) = advance(server, config.consecutive_5xx);
            let counted = pack(gateway, server);
            match self.responses.compare_exchange_weak(word, counted, Relaxed, Relaxed) {
                Ok(_) => {
                    return [
                        gateway_complete.then_some(Cause::Gateway),
                        server_complete.then_some(Cause::ServerError),
                    ];
                }
                Err(newer) => word = newer,
            }
        }
    }

    fn count_local_origin(&self, threshold: u32) -> Option<Cause> {
        let mut run = self.local_origin.load(Relaxed);
        loop {
            let (next, complete) = advance(run, threshold);
            match self.local_origin.compare_exchange_weak(run, next, Relaxed, Relaxed) {
                Ok(_) => return complete.then_some(Cause::LocalOrigin),
                Err(newer) => run = newer,
            }
        }
    }

    /// All counters at 0.
    pub(super) fn clear(&self) {
        self.clear_responses();
        self.clear_local_origin();
    }

    // Healthy endpoints answer most of the time: looking first keeps the word's cache line shared between the workers.

    fn clear_responses(&self) {
        if self.responses.load(Relaxed) != 0 {
            self.responses.store(0, Relaxed);
        }
    }

    fn clear_local_origin(&self) {
        if self.local_origin.load(Relaxed) != 0 {
            self.local_origin.store(0, Relaxed);
        }
    }
}
