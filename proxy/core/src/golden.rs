/// The largest number that is coprime to `total` and exceeds neither `limit` nor the golden section of `total`, where
/// successive multiples are spread best. Walking a circle of `total` points in such steps meets every point once.
pub(crate) fn golden_step(total: u64, limit: u64) -> u64 {
    const GOLDEN: u128 = 0x9e37_79b9_7f4a_7c15;
    let golden = u64::try_from((u128::from(total) * GOLDEN) >> 64).unwrap_or(1);
    (1..=golden.min(limit).max(1))
        .rev()
        .find(|step| gcd(*step, total) == 1)
        .unwrap_or(1)
}

/// Greatest common divisor.
pub(crate) fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
