//! Counters that several workers add to and the main thread reads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A count that only grows. Relaxed: it is read by itself, for people.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn add(&self, count: u64) {
        if count > 0 {
            self.0.fetch_add(count, Relaxed);
        }
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What is counted about the copies of requests that a cluster gets.
#[derive(Debug, Default)]
pub(crate) struct MirrorCounters {
    /// Copies that were begun.
    pub(crate) begun: Counter,
    /// Copies that were given up for our own limits: there were too many, or they were read too slowly.
    pub(crate) abandoned: Counter,
}
