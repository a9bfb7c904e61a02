/// Whose turn it is. A worker keeps one per cluster, starting at random, so that workers do not move in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    next: u64,
}

impl Cursor {
    /// Begins somewhere.
    pub fn starting_at(next: u64) -> Self {
        Self { next }
    }

    pub(super) fn advance(&mut self) -> u64 {
        let turn = self.next;
        self.next = self.next.wrapping_add(1);
        turn
    }
}

/// A stream of random numbers out of one (SplitMix64).
#[derive(Debug)]
pub(super) struct Draws(u64);

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound above 0; the bias is below 2^-32 for any bound that fits 32 bits.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let scaled = (u128::from(self.next()) * (bound as u128)) >> 64;
        usize::try_from(scaled).unwrap_or_default()
    }
}
