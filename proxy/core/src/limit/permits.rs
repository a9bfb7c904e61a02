#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, AtomicU64};

/// A bound on how many of something there may be at once, held exactly by all threads together.
///
/// The bound and the count share one word, so that taking a permit is a single compare-and-swap: it fails when either has
/// changed, and no interleaving takes a permit beyond a bound that is in force, also while the bound is being lowered.
#[derive(Debug)]
pub struct Limit {
    /// The bound in the upper half, permits that are out in the lower.
    word: AtomicU64,
    /// Most permits that were out at once since the mark was last taken.
    high: AtomicU32,
}

/// One place below a limit. It goes back by [`Limit::release`]; whoever holds it sees to that, or hands it on.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit that is not released is lost to its limit"]
pub struct Permit(());

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    max: u32,
    used: u32,
}

impl Count {
    fn unpack(word: u64) -> Self {
        Self {
            max: (word >> 32) as u32,
            used: word as u32,
        }
    }

    fn pack(self) -> u64 {
        u64::from(self.max) << 32 | u64::from(self.used)
    }
}

impl Limit {
    /// A limit of which nothing is in use.
    pub fn new(max: u32) -> Self {
        Self {
            word: AtomicU64::new(Count { max, used: 0 }.pack()),
            high: AtomicU32::new(0),
        }
    }

    /// Takes a permit unless the limit is reached. A refusal costs one load.
    #[inline]
    pub fn try_acquire(&self) -> Option<Permit> {
        self.try_acquire_below(|count| count.max)
    }

    /// Takes a permit unless so many are out already: a bound that the caller works out anew each time, such as a retry
    /// budget, in place of the limit's own.
    pub fn try_acquire_within(&self, bound: u32) -> Option<Permit> {
        self.try_acquire_below(|_| bound)
    }

    fn try_acquire_below(&self, bound: impl Fn(Count) -> u32) -> Option<Permit> {
        // Relaxed: a stale value costs another turn of the loop or a refusal that a moment earlier was right.
        let mut word = self.word.load(Relaxed);
        loop {
            let mut count = Count::unpack(word);
            if count.used >= bound(count) {
                return None;
            }
            count.used += 1;
            // Acquire: who gets a place sees what its last holder did before giving it back, a closed connection say.
            // Release: see `take_high_water`.
            match self.word.compare_exchange_weak(word, count.pack(), AcqRel, Relaxed) {
                Ok(_) => return Some(self.marked(count.used)),
                Err(newer) => word = newer,
            }
        }
    }

    /// Takes a permit on behalf of a waiter that has announced itself (queued, or counted where releases look).
    ///
    /// A plain refusal may rest on an old value: the waiter would miss a permit whose releaser, for its part, did not see
    /// the waiter yet, and nobody would ever wake it. This one either takes a permit or is ordered before every later
    /// release, so that whoever calls [`Limit::release`] afterwards, and then looks for waiters, finds the announcement.
    pub fn try_acquire_announced(&self) -> Option<Permit> {
        let mut word = self.word.load(Relaxed);
        loop {
            let mut count = Count::unpack(word);
            let full = count.used >= count.max;
            if !full {
                count.used += 1;
            }
            // AcqRel also when it is full: writing the same value back is what puts this refusal into the one order of all
            // changes of the word. A release before it is seen here; to a release after it, the announcement is visible.
            match self.word.compare_exchange_weak(word, count.pack(), AcqRel, Relaxed) {
                Ok(_) if full => return None,
                Ok(_) => return Some(self.marked(count.used)),
                Err(newer) => word = newer,
            }
        }
    }

    fn marked(&self, used: u32) -> Permit {
        // Relaxed load: `take_high_water` says why it is new enough. The mark is seldom raised, so a write is seldom needed.
        if used > self.high.load(Relaxed) {
            // Relaxed: the mark is read by itself.
            self.high.fetch_max(used, Relaxed);
        }
        Permit(())
    }

    /// Gives a permit back. Whoever keeps waiters looks for them after this, not before.
    #[inline]
    pub fn release(&self, permit: Permit) {
        let Permit(()) = permit;
        // Release: what was done under the permit comes before the next holder's acquisition. Acquire: announcements of
        // waiters that were refused before come before what the caller does next.
        let before = self.word.fetch_sub(1, AcqRel);
        debug_assert!(Count::unpack(before).used > 0, "a permit of another limit was released");
    }

    /// Changes the bound; the former one is returned. Permits that are out stay valid: below them, nothing is handed out
    /// until enough have come back ([`Limit::surplus`]). After raising it, waiters are to be woken.
    pub fn set_max(&self, max: u32) -> u32 {
        let mut word = self.word.load(Relaxed);
        loop {
            let count = Count::unpack(word);
            let changed = Count { max, ..count }.pack();
            // AcqRel: as a release of permits, since raising the bound frees places.
            match self.word.compare_exchange_weak(word, changed, AcqRel, Relaxed) {
                Ok(_) => return count.max,
                Err(newer) => word = newer,
            }
        }
    }

    // Acquire in the figures: a figure that shows a permit as returned comes after what its holder did.

    fn count(&self) -> Count {
        Count::unpack(self.word.load(Acquire))
    }

    /// The bound.
    pub fn max(&self) -> u32 {
        self.count().max
    }

    /// Permits that are out.
    pub fn used(&self) -> u32 {
        self.count().used
    }

    /// Permits that can be had.
    pub fn remaining(&self) -> u32 {
        let count = self.count();
        count.max.saturating_sub(count.used)
    }

    /// Permits that are out beyond the bound, after it was lowered.
    pub fn surplus(&self) -> u32 {
        let count = self.count();
        count.used.saturating_sub(count.max)
    }

    /// The mark so far, for people; it goes on.
    pub fn high_water(&self) -> u32 {
        // Relaxed: the mark is read by itself.
        self.high.load(Relaxed).max(self.used())
    }

    /// Most permits that were out at once since this was last asked; what is out now counts for the next time as well.
    pub fn take_high_water(&self) -> u32 {
        // Relaxed swap: the change of the word below orders it.
        let high = self.high.swap(0, Relaxed);
        // A change that adds nothing, to have a place in the one order of all changes of the word. An acquisition before it
        // is in `used`. One after it has this swap behind it, finds the mark at `used` or below, and raises it.
        let used = Count::unpack(self.word.fetch_add(0, AcqRel)).used;
        self.high.fetch_max(used, Relaxed);
        high.max(used)
    }
}
