//! Waits that end at their instant: one timer of the kernel for all of them, where the runtime's rounds up to milliseconds.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;

use tokio::sync::{Notify, oneshot};

use crate::clock::{self, Pacer};

/// When, and which among those of one instant.
type Key = (u64, u64);

/// Everybody who waits.
pub(super) struct Alarms {
    pacer: Pacer,
    waiting: RefCell<BTreeMap<Key, oneshot::Sender<()>>>,
    number: Cell<u64>,
    /// Somebody waits for an instant before all others.
    earlier: Notify,
}

impl Alarms {
    /// # Errors
    /// Of the kernel: too many open files.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            pacer: Pacer::new()?,
            waiting: RefCell::default(),
            number: Cell::new(0),
            earlier: Notify::new(),
        })
    }

    /// Resolves at `at_ns`; how late that was, in nanoseconds.
    pub(super) async fn until(&self, at_ns: u64) -> u64 {
        let (ring, rung) = oneshot::channel();
        self.number.set(self.number.get().wrapping_add(1));
        let key = (at_ns, self.number.get());
        self.waiting.borrow_mut().insert(key, ring);
        let _gone = Gone { alarms: self, key };
        if self
            .waiting
            .borrow()
            .first_key_value()
            .is_some_and(|(first, _)| *first == key)
        {
            self.earlier.notify_one();
        }
        // Who rings is never dropped before whoever waits: both are the upstream's.
        let _ = rung.await;
        clock::now().saturating_sub(at_ns)
    }

    /// Rings until it is dropped.
    ///
    /// # Errors
    /// Of the timer.
    pub(super) async fn ring(&self) -> io::Result<()> {
        loop {
            let first = self.waiting.borrow().first_key_value().map(|((at_ns, _), _)| *at_ns);
            // Cancel safe: the timer can be set anew, and a notice is kept until it is asked for.
            match first {
                None => self.earlier.notified().await,
                Some(at_ns) => tokio::select! {
                    reached = self.pacer.until(at_ns) => reached?,
                    () = self.earlier.notified() => continue,
                },
            }
            let now = clock::now();
            let mut waiting = self.waiting.borrow_mut();
            while let Some(due) = waiting.first_entry().filter(|entry| entry.key().0 <= now) {
                // Who waited may just have left.
                let _ = due.remove().send(());
            }
        }
    }
}

/// Takes a wait away that nobody waits for any more.
struct Gone<'a> {
    alarms: &'a Alarms,
    key: Key,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.alarms.waiting.borrow_mut().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_end_in_their_order_and_never_early_whoever_comes_or_leaves_meanwhile() {
        let alarms = Alarms::new().unwrap();
        let begun = clock::now();
        let ended = RefCell::new(Vec::new());
        let wait = async |ms: u64| {
            alarms.until(begun + ms * 1_000_000).await;
            assert!(clock::now() >= begun + ms * 1_000_000);
            ended.borrow_mut().push(ms);
        };
        // One that nobody waits for any more is forgotten.
        drop(
            tokio::time::timeout(std::time::Duration::from_millis(1), async {
                tokio::join!(alarms.until(u64::MAX), async { alarms.ring().await.unwrap() })
            })
            .await,
        );
        assert!(alarms.waiting.borrow().is_empty());
        tokio::select! {
            rung = alarms.ring() => rung.unwrap(),
            _ = async { tokio::join!(wait(30), wait(10), wait(20), wait(10), wait(0)) } => {}
        }
        assert_eq!(*ended.borrow(), [0, 10, 10, 20, 30]);
    }
}
