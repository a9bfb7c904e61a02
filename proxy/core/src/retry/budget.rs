use crate::cluster::Limits;

/// How many retries of a cluster may be under way at once: the bound for
/// [`Limit::try_acquire_within`](crate::limit::Limit::try_acquire_within).
///
/// With a budget it is the budget's share of the requests that are active or pending at this moment, rounded down as Envoy
/// does, and never below the budget's minimum; `retries_max` does not count then.
pub fn retries_max(limits: &Limits, active: u32, pending: u32) -> u32 {
    let Some(budget) = limits.retry_budget else {
        return limits.retries_max;
    };
    // At most 2^32 × 2^33, which fits.
    let share = u64::from(budget.basis_points) * (u64::from(active) + u64::from(pending)) / 10_000;
    u32::try_from(share).unwrap_or(u32::MAX).max(budget.concurrency_min)
}
