//! Counters of the control plane.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use weft_xds::TypeUrl;

/// Upper bounds of the latency buckets, in milliseconds. Below a second they resolve what "at once" means.
pub(super) const BOUNDS_MS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 30_000];

/// Counters of the control plane. Relaxed throughout: each stands for itself, and a scrape needs no common instant.
#[derive(Debug, Default)]
pub struct Metrics {
    pub(super) pushes: [AtomicU64; TypeUrl::ALL.len()],
    pub(super) rejects: [AtomicU64; TypeUrl::ALL.len()],
    pub(super) batches: AtomicU64,
    pub(super) convergence: Histogram,
}

/// A histogram of durations.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// One count per bound and one for what is above all of them.
    pub(super) counts: [AtomicU64; BOUNDS_MS.len() + 1],
    pub(super) sum_us: AtomicU64,
}

impl Metrics {
    /// A response with resources of this type has been sent.
    pub fn pushed(&self, kind: TypeUrl) {
        self.pushes[kind.index()].fetch_add(1, Relaxed);
    }

    /// A proxy has refused resources of this type.
    pub fn rejected(&self, kind: TypeUrl) {
        self.rejects[kind.index()].fetch_add(1, Relaxed);
    }

    /// A batch of events has been taken in.
    pub fn batch(&self) {
        self.batches.fetch_add(1, Relaxed);
    }

    /// A proxy has acknowledged the last phase of a push that began this long ago.
    pub fn converged(&self, elapsed: Duration) {
        let bucket = BOUNDS_MS
            .iter()
            .position(|bound| elapsed <= Duration::from_millis(*bound))
            .unwrap_or(BOUNDS_MS.len());
        self.convergence.counts[bucket].fetch_add(1, Relaxed);
        self.convergence
            .sum_us
            .fetch_add(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }
}
