use std::time::Duration;

use crate::route::RetryPolicy;

/// The wait before a retry: a random time below (2^number − 1) × base, or below the cap where that is less.
///
/// Envoy calls this fully jittered: callers that failed together do not come back together.
pub fn backoff(policy: &RetryPolicy, number: u32, rng: u64) -> Duration {
    let steps = 1_u32.checked_shl(number).map_or(u32::MAX, |power| power - 1);
    let bound = policy.backoff_base.saturating_mul(steps).min(policy.backoff_max);
    // 584 years fit; the high bits scaled have no bias worth the name.
    let scaled = (bound.as_nanos().min(u128::from(u64::MAX)) * u128::from(rng)) >> 64;
    Duration::from_nanos(u64::try_from(scaled).unwrap_or(u64::MAX))
}
