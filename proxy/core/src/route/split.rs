use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::action::Destination;
use crate::golden::{gcd, golden_step};

/// Places in one block: any this many requests in a row are within one request of every share.
pub const BLOCK: u64 = 100;

/// How many destinations one split may have.
pub const DESTINATIONS_MAX: usize = 4096;

/// Whose split it is. All routes of one rule share one sequence, and the sequence survives every change of the rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SplitKey {
    /// A rule of an object.
    Rule {
        /// `Kind/namespace/name`.
        object: Arc<str>,
        /// Index of the rule.
        rule: u32,
    },
    /// A rule for opaque connections; an object counts them apart from its rules for requests.
    Opaque {
        /// `Kind/namespace/name`.
        object: Arc<str>,
        /// Index of the rule.
        rule: u32,
    },
    /// A route of a table that names no object.
    Route {
        /// Name of the table.
        table: Arc<str>,
        /// Name of the virtual host.
        virtual_host: Arc<str>,
        /// Name of the route, or its index when it has none.
        route: Arc<str>,
    },
}

/// The running number of a split. Long-lived, shared by all workers and by every table that has the rule.
#[derive(Debug)]
pub struct SplitState {
    counter: AtomicU64,
}

/// Weights that cannot be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// There is nothing to choose.
    #[error("no destination has a weight above 0")]
    NoWeight,
    /// Too many to choose from.
    #[error("more than {DESTINATIONS_MAX} destinations")]
    TooMany,
}

/// Destinations by weight, low-discrepancy.
#[derive(Debug)]
pub struct WeightedSplit {
    destinations: Box<[Destination]>,
    pattern: SplitPattern,
    key: SplitKey,
    state: Arc<SplitState>,
}

impl SplitState {
    /// A sequence that starts somewhere.
    pub fn starting_at(index: u64) -> Self {
        Self {
            counter: AtomicU64::new(index),
        }
    }

    /// The next index. Wait-free.
    #[inline]
    pub fn advance(&self) -> u64 {
        // Relaxed: each index is handed out exactly once by the read-modify-write alone, and it orders nothing else.
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    /// The index that comes next, without taking it.
    pub fn peek(&self) -> u64 {
        self.counter.load(Ordering::Relaxed)
    }
}

impl WeightedSplit {
    /// A split over destinations; those of weight 0 are left out.
    ///
    /// # Errors
    /// When nothing is left, or too much.
    pub fn new(destinations: Vec<Destination>, key: SplitKey, state: Arc<SplitState>) -> Result<Self, SplitError> {
        let destinations: Box<[_]> = destinations.into_iter().filter(|one| one.weight > 0).collect();
        let weights: Vec<u32> = destinations.iter().map(|one| one.weight).collect();
        Ok(Self {
            pattern: SplitPattern::new(&weights)?,
            destinations,
            key,
            state,
        })
    }

    /// Takes the next turn: the place of a destination among [`Self::destinations`].
    #[inline]
    pub fn choose(&self) -> usize {
        self.pattern.pick(self.state.advance())
    }

    /// The destinations, in the order of the rule.
    pub fn destinations(&self) -> &[Destination] {
        &self.destinations
    }

    /// Whose split it is.
    pub fn key(&self) -> &SplitKey {
        &self.key
    }

    /// The shared sequence.
    pub fn state(&self) -> &Arc<SplitState> {
        &self.state
    }
}

/// The pure part: which destination has a given index.
///
/// Index `i` stands at position `i % 100` of block `i / 100`. With `share = 100·w/W`, each destination has `⌊share⌋` fixed
/// positions of every block, spread evenly. The `r` positions that remain float: the fractions `e = 100·w mod W` lie end to
/// end on a line of length `r·W`, and floating position `j` of block `k` goes to whoever owns the point `k·δ mod W + j·W`.
/// A destination owns less than `W`, so it gets at most one floating position of a block; and `δ` is so small that
/// an owner whose piece straddles a multiple of `W` never moves back by one position from a block to the next, so it gets
/// at most one in any 100 in a row as well. `δ` is coprime to `W`: over `W` blocks the shares are exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitPattern {
    positions: Box<[Position]>,
    /// End of each destination's piece on the line.
    ends: Box<[u64]>,
    total: u64,
    step: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    Fixed(u16),
    Floating(u16),
}

impl SplitPattern {
    /// Compiles weights, none of which is 0.
    ///
    /// # Errors
    /// When there are none, or too many.
    pub fn new(weights: &[u32]) -> Result<Self, SplitError> {
        if weights.is_empty() || weights.contains(&0) {
            return Err(SplitError::NoWeight);
        }
        if weights.len() > DESTINATIONS_MAX {
            return Err(SplitError::TooMany);
        }
        let shared = weights.iter().fold(0, |shared, weight| gcd(shared, u64::from(*weight)));
        let weights: Vec<u64> = weights.iter().map(|weight| u64::from(*weight) / shared).collect();
        let total: u64 = weights.iter().sum();

        let fixed: Vec<u64> = weights.iter().map(|weight| BLOCK * weight / total).collect();
        let floating = BLOCK - fixed.iter().sum::<u64>();
        let mut ends = Vec::with_capacity(weights.len());
        let (mut end, mut widest_straddler) = (0, 0);
        for weight in &weights {
            let (start, piece) = (end, BLOCK * weight % total);
            end += piece;
            if piece > 0 && start / total != (end - 1) / total {
                widest_straddler = widest_straddler.max(piece);
            }
            ends.push(end);
        }
        debug_assert_eq!(end, floating * total, "the fractions fill the line");
        Ok(Self {
            positions: interleave(&fixed, floating),
            ends: ends.into(),
            total,
            step: golden_step(total, total - widest_straddler),
        })
    }

    /// Which destination has this index.
    #[inline]
    pub fn pick(&self, index: u64) -> usize {
        match self.positions[usize::try_from(index % BLOCK).unwrap_or_default()] {
            Position::Fixed(destination) => usize::from(destination),
            Position::Floating(slot) => self.pick_floating(index / BLOCK, u64::from(slot)),
        }
    }

    fn pick_floating(&self, block: u64, slot: u64) -> usize {
        // `total` is below 2^32 · DESTINATIONS_MAX = 2^44, so the product needs the wider type.
        let product = u128::from(block % self.total) * u128::from(self.step);
        let offset = u64::try_from(product % u128::from(self.total)).unwrap_or_default();
        let point = offset + slot * self.total;
        self.ends.partition_point(|end| *end <= point)
    }
}

/// Spreads the fixed positions of all destinations, and the floating ones as if they were one more, evenly over a block
/// (smooth weighted round robin, whose period is the sum of its weights: one block).
fn interleave(fixed: &[u64], floating: u64) -> Box<[Position]> {
    const SPAN: i64 = 100;
    let weights: Vec<i64> = fixed
        .iter()
        .chain([&floating])
        .map(|weight| i64::try_from(*weight).unwrap_or_default())
        .collect();
    let mut credit = vec![0_i64; weights.len()];
    let mut slot = 0;
    (0..BLOCK)
        .map(|_| {
            for (credit, weight) in credit.iter_mut().zip(&weights) {
                *credit += weight;
            }
            let mut best = 0;
            for (index, value) in credit.iter().enumerate() {
                if *value > credit[best] {
                    best = index;
                }
            }
            credit[best] -= SPAN;
            if best == fixed.len() {
                slot += 1;
                Position::Floating(slot - 1)
            } else {
                Position::Fixed(u16::try_from(best).unwrap_or_default())
            }
        })
        .collect()
}
