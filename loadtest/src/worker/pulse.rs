//! A thread's pulse: it ends requests that took too long, tells each second, and notices when the thread did not run.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use hdrhistogram::Histogram;
use tokio::sync::mpsc;

use super::orders::{Beat, Report, SoFar};
use super::thread::Thread;
use crate::clock::{self, Pacer, RunQueue};
use crate::tally::{Tally, coarse_histogram, histogram_of_a_second};

/// How often the thread looks whether it runs.
const PULSE_NS: u64 = 10_000_000;
/// Looks from one to the next at the limits of requests.
const LOOKS_PER_SWEEP: u32 = 2;
/// A delay that other work on the machine may cause at any time, and that is not called a stop.
const STOP_MIN_NS: u64 = 10_000_000;

/// When a thread should have run and did not.
pub(super) struct Pulse {
    queue: RunQueue,
    queue_before: Cell<Option<u64>>,
    due_ns: Cell<u64>,
    delays: RefCell<Histogram<u64>>,
    held_up_ns: Cell<u64>,
    stops_ns: Cell<u64>,
}

impl Pulse {
    /// Of the calling thread.
    pub(super) fn new(now_ns: u64) -> Self {
        let queue = RunQueue::of_this_thread();
        Self {
            queue_before: Cell::new(queue.waited_ns()),
            queue,
            due_ns: Cell::new(now_ns + PULSE_NS),
            delays: RefCell::new(coarse_histogram()),
            held_up_ns: Cell::new(0),
            stops_ns: Cell::new(0),
        }
    }

    /// How long the thread has waited for a processor since its start.
    pub(super) fn waited_ns(&self) -> Option<u64> {
        self.queue.waited_ns()
    }

    /// Looks how late it is.
    pub(super) fn look(&self, now_ns: u64) {
        let late = now_ns.saturating_sub(self.due_ns.get());
        let queue = self.queue.waited_ns();
        let before = self.queue_before.replace(queue);
        let queued = queue.zip(before).map_or(0, |(now, before)| now.saturating_sub(before));
        let stopped = late.saturating_sub(queued);
        if stopped > STOP_MIN_NS {
            self.stops_ns.set(self.stops_ns.get() + stopped);
        }
        self.held_up_ns.set(self.held_up_ns.get().max(late));
        // Looks that would have been due meanwhile would have come late as well.
        let mut delays = self.delays.borrow_mut();
        let late = crate::tally::microseconds(0, late).min(delays.high());
        delays
            .record_correct(late, PULSE_NS / 1000)
            .expect("it is within the bounds");
        self.due_ns.set(now_ns + PULSE_NS);
    }

    /// The last look; then what it has seen: delays, the longest time that the thread was held up for, and all its stops.
    pub(super) fn end(&self, now_ns: u64) -> (Histogram<u64>, u64, u64) {
        if now_ns > self.due_ns.get() {
            self.look(now_ns);
        }
        let delays = self.delays.replace(coarse_histogram());
        (delays, self.held_up_ns.get(), self.stops_ns.get())
    }
}

/// A second of a thread that has not passed.
pub(super) struct Second {
    pub(super) latency: Histogram<u32>,
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) refused: u64,
}

impl Second {
    pub(super) fn new() -> Self {
        Self {
            latency: histogram_of_a_second(),
            answered: 0,
            failed: 0,
            refused: 0,
        }
    }
}

/// Beats until it is dropped, or nobody listens.
///
/// # Errors
/// Of the timer.
pub(super) async fn run(
    thread: Rc<Thread>,
    index: usize,
    start_ns: u64,
    reports: mpsc::Sender<Report>,
) -> io::Result<()> {
    let pacer = Pacer::new()?;
    let mut looks = 0u32;
    loop {
        pacer.until(thread.pulse.due_ns.get()).await?;
        let now = clock::now();
        thread.pulse.look(now);
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(LOOKS_PER_SWEEP) {
            for timer in thread.timers.borrow().iter() {
                timer.sweep(now);
            }
        }
        let second = u32::try_from(now.saturating_sub(start_ns) / clock::SECOND).unwrap_or(u32::MAX);
        if second > thread.second_now.get() {
            // A collector that lags behind gets this second's figures with the next one's.
            match reports.try_reserve() {
                Ok(place) => place.send(Report::Beat(beat(&thread, index, thread.second_now.replace(second)))),
                Err(mpsc::error::TrySendError::Full(())) => {}
                Err(mpsc::error::TrySendError::Closed(())) => return Ok(()),
            }
        }
    }
}

/// Takes the counts of `second`.
pub(super) fn beat(thread: &Thread, index: usize, second: u32) -> Beat {
    let counts = thread.second.replace(Second::new());
    Beat {
        thread: index,
        second,
        so_far: so_far(&thread.tally.borrow(), thread.in_flight().count() as u64),
        latency: counts.latency,
        answered: counts.answered,
        failed: counts.failed,
        refused: counts.refused,
    }
}

fn so_far(tally: &Tally, in_flight: u64) -> SoFar {
    SoFar {
        codes: tally.codes().collect(),
        errors: tally.errors().filter(|(.., count)| *count > 0).collect(),
        opened: tally.opened,
        in_flight,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_counts_every_stop_and_the_looks_that_it_cost() {
        const MS: u64 = 1_000_000;
        for (lates_ms, held_up_ms, stops_ms) in [
            (&[0, 1, 0, 5][..], 5, 0),
            (&[0, 170, 0, 170, 0, 170], 170, 510),
            (&[2_000], 2_000, 2_000),
        ] {
            let mut now = 0;
            let pulse = Pulse::new(now);
            for late in lates_ms {
                now += PULSE_NS + late * MS;
                pulse.look(now);
            }
            let (delays, held_up, stops) = pulse.end(now);
            assert_eq!(held_up / MS, held_up_ms, "{lates_ms:?}");
            // What this thread really waited for a processor meanwhile is not called a stop.
            let stops_ms: std::ops::RangeInclusive<u64> = stops_ms * 9 / 10..=stops_ms;
            assert!(stops_ms.contains(&(stops / MS)), "{lates_ms:?}: {stops}");
            // As many as would have been due in that time.
            assert!(
                delays.len().abs_diff(now / PULSE_NS) <= 3,
                "{lates_ms:?}: {}",
                delays.len()
            );
        }
    }
}
