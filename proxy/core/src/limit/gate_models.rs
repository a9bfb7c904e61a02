//! The queue before a limit, in every interleaving of a few threads; the command is the one of `loom_models`.

use loom::sync::atomic::{AtomicU32, Ordering::SeqCst};
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::{Gate, Permit, Ticket};

/// Where a waiter finds what it was told.
#[derive(Clone)]
struct Mailbox(Arc<Mutex<Letter>>);

enum Letter {
    Empty,
    Found(Permit),
    /// The waiter has left.
    Refused,
}

impl Mailbox {
    fn deliver(&self, permit: Permit) -> Result<(), Permit> {
        let mut letter = self.0.lock().unwrap();
        match *letter {
            Letter::Refused => Err(permit),
            Letter::Empty | Letter::Found(_) => {
                *letter = Letter::Found(permit);
                Ok(())
            }
        }
    }

    fn close(&self) -> Option<Permit> {
        match std::mem::replace(&mut *self.0.lock().unwrap(), Letter::Refused) {
            Letter::Found(permit) => Some(permit),
            Letter::Empty | Letter::Refused => None,
        }
    }

    fn is_full(&self) -> bool {
        matches!(*self.0.lock().unwrap(), Letter::Found(_))
    }
}

struct Model {
    gate: Gate<Mailbox>,
    /// Permits that are out, counted independently.
    held: AtomicU32,
    max: u32,
}

impl Model {
    /// `out` of the permits are taken from the start.
    fn new(limit: u32, max: u32, out: u32) -> (Arc<Self>, Vec<Permit>) {
        let model = Self {
            gate: Gate::new(limit),
            held: AtomicU32::new(out),
            max,
        };
        let permits = (0..out).map(|_| model.gate.try_acquire().unwrap()).collect();
        (Arc::new(model), permits)
    }

    fn tell(&self, mut found: Option<(Mailbox, Permit)>) {
        while let Some((mailbox, permit)) = found {
            assert!(self.held.fetch_add(1, SeqCst) < self.max, "beyond the limit");
            found = match mailbox.deliver(permit) {
                Ok(()) => None,
                Err(permit) => {
                    self.held.fetch_sub(1, SeqCst);
                    self.gate.pass(permit)
                }
            };
        }
    }

    fn give_back(&self, permit: Permit) {
        self.held.fetch_sub(1, SeqCst);
        self.tell(self.gate.pass(permit));
    }

    fn wait(&self) -> (Ticket, Mailbox) {
        let mailbox = Mailbox(Arc::new(Mutex::new(Letter::Empty)));
        let (ticket, _) = self.gate.enter(None, mailbox.clone());
        self.tell(self.gate.next());
        (ticket, mailbox)
    }

    fn figures(&self) -> (u32, usize) {
        (self.gate.limit().used(), self.gate.waiting())
    }
}

#[test]
fn a_permit_that_comes_back_reaches_who_waits() {
    loom::model(|| {
        let (model, mut permits) = Model::new(1, 1, 1);
        let other = model.clone();
        let waiter = thread::spawn(move || other.wait().1);
        model.give_back(permits.remove(0));
        let mailbox = waiter.join().unwrap();
        assert!(mailbox.is_full(), "the waiter sleeps though the permit is free");
        assert_eq!(model.figures(), (1, 0));
    });
}

#[test]
fn two_waiters_are_served_one_after_the_other() {
    let mut builder = loom::model::Builder::new();
    // Enough to lose a wake-up in every way that two threads can, few enough to end.
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let (model, mut permits) = Model::new(1, 1, 1);
        let other = model.clone();
        let waiter = thread::spawn(move || other.wait().1);
        let other = model.clone();
        let permit = permits.remove(0);
        let closer = thread::spawn(move || other.give_back(permit));
        let (_, mailbox) = model.wait();
        closer.join().unwrap();
        let another = waiter.join().unwrap();
        assert!(mailbox.is_full() != another.is_full(), "one permit, two waiters");
        let permit = mailbox.close().or_else(|| another.close()).unwrap();
        assert_eq!(model.figures(), (1, 1));
        model.give_back(permit);
    });
}

#[test]
fn a_waiter_that_leaves_takes_no_permit_with_it() {
    loom::model(|| {
        let (model, mut permits) = Model::new(1, 1, 1);
        let other = model.clone();
        let leaver = thread::spawn(move || {
            let (ticket, mailbox) = other.wait();
            // What was delivered meanwhile is passed on; what is on its way is refused.
            if other.gate.leave(ticket).is_none()
                && let Some(permit) = mailbox.close()
            {
                other.give_back(permit);
            }
        });
        model.give_back(permits.remove(0));
        leaver.join().unwrap();
        assert_eq!(model.figures(), (0, 0));
    });
}

#[test]
fn a_raised_limit_reaches_who_waits() {
    loom::model(|| {
        let (model, _permits) = Model::new(1, 2, 1);
        let other = model.clone();
        let waiter = thread::spawn(move || other.wait().1);
        model.gate.limit().set_max(2);
        while let Some(found) = model.gate.next() {
            model.tell(Some(found));
        }
        assert!(waiter.join().unwrap().is_full());
        assert_eq!(model.figures(), (2, 0));
    });
}

#[test]
fn a_lowered_limit_is_not_handed_on_but_what_is_below_it_is() {
    loom::model(|| {
        let (model, mut permits) = Model::new(2, 2, 2);
        let (_, mailbox) = model.wait();
        let other = model.clone();
        let permit = permits.remove(0);
        let closer = thread::spawn(move || other.give_back(permit));
        model.gate.limit().set_max(1);
        closer.join().unwrap();
        if mailbox.is_full() {
            // It was handed on before the limit was lowered.
            assert_eq!(model.figures(), (2, 0));
        } else {
            assert_eq!(model.figures(), (1, 1));
            model.give_back(permits.remove(0));
            assert!(mailbox.is_full());
        }
    });
}
