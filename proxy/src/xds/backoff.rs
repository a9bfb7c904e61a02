//! How long to wait before the next attempt.

use std::time::Duration;

/// Wait after a first failure, before jitter.
const BASE: Duration = Duration::from_millis(100);
/// No wait is longer: a control plane that comes back is found within this time, and the proxies that return to it are spread
/// over half of it. An attempt that is refused costs next to nothing.
const CAP: Duration = Duration::from_secs(2);
/// A stream that lived this long and delivered something counts as a success: the next wait starts at [`BASE`].
pub(super) const PROVEN: Duration = Duration::from_secs(5);

/// Capped exponential waits with jitter, so that proxies do not return as a herd.
pub(super) struct Backoff {
    failures: u32,
    rng: fastrand::Rng,
}

impl Backoff {
    pub(super) fn new(rng: fastrand::Rng) -> Self {
        Self { failures: 0, rng }
    }

    /// The wait before the next attempt: between half and all of the exponential step.
    pub(super) fn next(&mut self) -> Duration {
        let step = BASE.saturating_mul(1 << self.failures.min(16)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        step.mul_f64(0.5 + self.rng.f64() / 2.0)
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{BASE, Backoff, CAP};

    #[test]
    fn waits_double_up_to_a_cap_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(fastrand::Rng::with_seed(7));
        let mut step = BASE;
        for _ in 0..40 {
            let wait = backoff.next();
            assert!(wait <= step && wait >= step / 2, "{wait:?} for a step of {step:?}");
            step = (step * 2).min(CAP);
        }
        backoff.reset();
        assert!(backoff.next() <= BASE);
    }

    #[test]
    fn proxies_that_lost_their_control_plane_together_return_within_the_cap_and_apart() {
        let mut waits: Vec<_> = (0..1000)
            .map(|seed| {
                let mut backoff = Backoff::new(fastrand::Rng::with_seed(seed));
                (0..30).map(|_| backoff.next()).last().unwrap()
            })
            .collect();
        waits.sort_unstable();
        assert!(waits[999] <= CAP && waits[0] >= CAP / 2);
        let most = waits.windows(100).map(|some| some[99] - some[0]).min().unwrap();
        assert!(most >= CAP / 40, "100 of them within {most:?}");
    }
}
