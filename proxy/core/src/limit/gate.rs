use std::collections::BTreeMap;
#[cfg(not(loom))]
use std::sync::{Mutex, MutexGuard, atomic::AtomicUsize};
use std::sync::{PoisonError, atomic::Ordering::Relaxed};

#[cfg(loom)]
use loom::sync::{Mutex, MutexGuard, atomic::AtomicUsize};

use super::{Limit, Permit};

/// A limit with a queue: whoever finds it reached may wait, and waits in the order of arrival.
///
/// Below the limit nobody touches the queue. `W` is how a waiter is told; the gate only keeps it and hands it out, so that
/// nothing is called while the queue is locked.
///
/// The protocol: a waiter enters the queue first and tries again afterwards ([`Gate::next`]); a permit that comes back goes
/// to the queue or to the limit, and whoever gave it to the limit looks at the queue once more ([`Gate::pass`]). Either of
/// the two sees the other, so that no permit lies unused while somebody waits.
#[derive(Debug)]
pub struct Gate<W> {
    limit: Limit,
    /// Length of the queue, for those who do not lock it. Written under the lock.
    waiting: AtomicUsize,
    /// STYLE's one exception to "no lock between accept and reply": touched at the limit only.
    queue: Mutex<Queue<W>>,
}

#[derive(Debug)]
struct Queue<W> {
    waiters: BTreeMap<u64, W>,
    next: u64,
}

/// A place in the queue. It is kept by whoever has to go back into the queue, and is then in front of all who came later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

impl<W> Gate<W> {
    /// A gate before so many places.
    pub fn new(max: u32) -> Self {
        Self {
            limit: Limit::new(max),
            waiting: AtomicUsize::new(0),
            queue: Mutex::new(Queue {
                waiters: BTreeMap::new(),
                next: 0,
            }),
        }
    }

    /// The limit, for its figures.
    pub fn limit(&self) -> &Limit {
        &self.limit
    }

    /// Takes a permit, unless the limit is reached or others have waited longer.
    #[inline]
    pub fn try_acquire(&self) -> Option<Permit> {
        // A waiter that enters at this moment is as late as we are.
        if self.waiting() > 0 {
            return None;
        }
        self.limit.try_acquire()
    }

    /// How many wait.
    #[inline]
    pub fn waiting(&self) -> usize {
        // Relaxed: `pass` and `next` are ordered by the limit's word; everybody else says where they call it.
        self.waiting.load(Relaxed)
    }

    /// Enters the queue, at the end or at an earlier place. Whether the queue was empty comes back, too. Whoever enters calls
    /// [`Gate::next`] afterwards and tells whom it names.
    pub fn enter(&self, place: Option<Ticket>, waiter: W) -> (Ticket, bool) {
        let mut queue = self.queue();
        let ticket = place.unwrap_or(Ticket(queue.next));
        queue.next = queue.next.max(ticket.0 + 1);
        let was_empty = queue.waiters.is_empty();
        queue.waiters.insert(ticket.0, waiter);
        self.waiting.store(queue.waiters.len(), Relaxed);
        (ticket, was_empty)
    }

    /// Leaves the queue. `None` when the waiter has been taken out already, with what was found for it.
    pub fn leave(&self, ticket: Ticket) -> Option<W> {
        let mut queue = self.queue();
        let waiter = queue.waiters.remove(&ticket.0);
        self.waiting.store(queue.waiters.len(), Relaxed);
        waiter
    }

    /// The first waiter and a permit for it, if both are there. Called until `None` after entering and after
    /// [`Limit::set_max`].
    pub fn next(&self) -> Option<(W, Permit)> {
        let permit = self.limit.try_acquire_announced()?;
        self.pass(permit)
    }

    /// A permit comes back: to the first waiter, who is returned with it, or to the limit. A waiter that has gone meanwhile
    /// is passed over by calling this again.
    pub fn pass(&self, mut permit: Permit) -> Option<(W, Permit)> {
        loop {
            // What is out beyond a lowered limit is not handed on.
            if self.limit.surplus() == 0
                && let Some(waiter) = self.pop()
            {
                return Some((waiter, permit));
            }
            self.limit.release(permit);
            // After the release: a waiter that entered before it is seen here, one that enters later sees the permit.
            if self.waiting() == 0 {
                return None;
            }
            permit = self.limit.try_acquire_announced()?;
        }
    }

    /// The first waiter, for whom something else than a permit has been found.
    pub fn pop(&self) -> Option<W> {
        let mut queue = self.queue();
        let (_, waiter) = queue.waiters.pop_first()?;
        self.waiting.store(queue.waiters.len(), Relaxed);
        Some(waiter)
    }

    /// The first waiter to whom it applies, among the first so many.
    pub fn pop_where(&self, looked_at_max: usize, applies: impl Fn(&W) -> bool) -> Option<W> {
        let mut queue = self.queue();
        let mut first = queue.waiters.iter().take(looked_at_max);
        let (&ticket, _) = first.find(|(_, waiter)| applies(waiter))?;
        let waiter = queue.waiters.remove(&ticket);
        self.waiting.store(queue.waiters.len(), Relaxed);
        waiter
    }

    /// Whether it applies to the first waiter; not if nobody waits.
    pub fn first_is(&self, applies: impl Fn(&W) -> bool) -> bool {
        self.queue()
            .waiters
            .first_key_value()
            .is_some_and(|(_, waiter)| applies(waiter))
    }

    /// All waiters, first come first, where none of them will ever get anything.
    pub fn clear(&self) -> Vec<W> {
        let mut queue = self.queue();
        let waiters = std::mem::take(&mut queue.waiters);
        self.waiting.store(0, Relaxed);
        drop(queue);
        waiters.into_values().collect()
    }

    fn queue(&self) -> MutexGuard<'_, Queue<W>> {
        // Nothing that can panic runs under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
