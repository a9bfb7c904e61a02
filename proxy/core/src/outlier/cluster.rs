#[cfg(loom)]
use loom::sync::atomic::AtomicU64;
#[cfg(not(loom))]
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

/// How many endpoints of a cluster there are and how many of them are out, of all priorities together.
///
/// Both share one word: an ejection is allowed and counted in a single compare-and-swap, against the number of endpoints
/// that holds at that moment, so that several workers together never eject more than the cap allows.
#[derive(Debug)]
pub struct ClusterHealth {
    /// Endpoints in the upper half, ejected ones in the lower.
    word: AtomicU64,
}

fn unpack(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

fn pack(hosts: u32, ejected: u32) -> u64 {
    u64::from(hosts) << 32 | u64::from(ejected)
}

/// Whether one more may be ejected. Envoy: 100 × (ejected + 1) / hosts may not be above the cap; there is no exception
/// for the first.
fn may_eject(hosts: u32, ejected: u32, percent_max: u32) -> bool {
    hosts > 0 && 100 * (u64::from(ejected) + 1) <= u64::from(percent_max) * u64::from(hosts)
}

impl Default for ClusterHealth {
    fn default() -> Self {
        Self {
            word: AtomicU64::new(0),
        }
    }
}

impl ClusterHealth {
    /// The cluster has so many endpoints now, those that are not ready included.
    ///
    /// Told before the endpoints that left are [removed](super::EndpointHealth::remove): in between the cap is held rather
    /// too strictly. A smaller number brings nobody back before its time; it only stops further ejections.
    pub fn set_hosts(&self, hosts: u32) {
        self.update(|_, ejected| Some((hosts, ejected)));
    }

    /// Endpoints of the cluster.
    pub fn hosts(&self) -> u32 {
        // Relaxed: read by itself.
        unpack(self.word.load(Relaxed)).0
    }

    /// Endpoints that are out.
    pub fn ejected(&self) -> u32 {
        // Relaxed: read by itself. A picker that sees the count before the endpoint's own flag does no harm.
        unpack(self.word.load(Relaxed)).1
    }

    /// Counts one more, if the cap allows it.
    pub(super) fn take(&self, percent_max: u32) -> bool {
        self.update(|hosts, ejected| may_eject(hosts, ejected, percent_max).then(|| (hosts, ejected + 1)))
    }

    /// Counts one less.
    pub(super) fn give_back(&self) {
        self.update(|hosts, ejected| {
            debug_assert!(ejected > 0, "more endpoints came back than were out");
            Some((hosts, ejected.saturating_sub(1)))
        });
    }

    fn update(&self, change: impl Fn(u32, u32) -> Option<(u32, u32)>) -> bool {
        // Relaxed: a stale value makes the swap fail, or refuses what a moment earlier was to be refused.
        let mut word = self.word.load(Relaxed);
        loop {
            let (hosts, ejected) = unpack(word);
            let Some((hosts, ejected)) = change(hosts, ejected) else {
                return false;
            };
            // AcqRel: who takes the place of an endpoint that came back sees it back.
            match self
                .word
                .compare_exchange_weak(word, pack(hosts, ejected), AcqRel, Relaxed)
            {
                Ok(_) => return true,
                Err(newer) => word = newer,
            }
        }
    }
}
