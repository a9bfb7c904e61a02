//! Who sends next: free lanes wait here, and sends find a lane here.
//!
//! There is no queue of sends. The schedule is pulled: a lane that comes free takes the next intended instant, and sends
//! at once if that has passed; only if it lies ahead does the lane park. So a backlog costs no memory, and a send that has
//! to wait for a lane keeps its intended instant.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::source::Source;
use crate::clock;

/// A send that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    /// When it should go.
    pub(super) intended_ns: u64,
    /// A lane was free at that instant: what passes until it goes is the generator's own delay.
    pub(super) paced: bool,
}

/// A lane that waits for a send.
#[derive(Default)]
pub(super) struct Parked {
    ticket: Cell<Option<Ticket>>,
    /// There will be no more sends.
    over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Parked {
    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// The send that this lane was given; `None` at the end.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<Option<Ticket>> {
        if let Some(ticket) = self.ticket.take() {
            return Poll::Ready(Some(ticket));
        }
        if self.over.get() {
            return Poll::Ready(None);
        }
        *self.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }
}

/// What a lane that has come free gets.
pub(super) enum Taken {
    /// A send that is due.
    Due(Ticket),
    /// A place to wait for one.
    Parked(Rc<Parked>),
    /// Nothing: all has been sent, or time is up.
    Over,
}

/// What the dispatcher has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing is due before then, in nanoseconds of the clock.
    At(u64),
    /// This send is due, and no lane is free: open one if there may be another.
    Unserved,
    /// All has been sent, or time is up.
    Over,
}

/// Matches sends and lanes of one thread.
pub(super) struct Tickets {
    source: RefCell<Source>,
    /// Last in, first out: connections that are used stay warm, those that are not needed can be seen.
    idle: RefCell<Vec<Rc<Parked>>>,
    end_ns: u64,
    stopped: Cell<bool>,
    /// The dispatcher, while every lane is busy.
    dispatcher: RefCell<Option<Waker>>,
}

impl Tickets {
    pub(super) fn new(source: Source, end_ns: u64) -> Self {
        Self {
            source: RefCell::new(source),
            idle: RefCell::default(),
            end_ns,
            stopped: Cell::new(false),
            dispatcher: RefCell::default(),
        }
    }

    /// For a lane that has come free.
    pub(super) fn take(&self) -> Taken {
        let now = clock::now();
        if self.stopped.get() || now >= self.end_ns {
            return Taken::Over;
        }
        if let Some(intended_ns) = self.source.borrow_mut().take(now) {
            return Taken::Due(Ticket {
                intended_ns,
                paced: false,
            });
        }
        let parked = Rc::new(Parked::default());
        self.idle.borrow_mut().push(parked.clone());
        if let Some(waker) = self.dispatcher.borrow_mut().take() {
            waker.wake();
        }
        Taken::Parked(parked)
    }

    /// A lane that cannot wait any longer, its connection being gone; `false` if it has been given a send meanwhile.
    pub(super) fn leave(&self, parked: &Rc<Parked>) -> bool {
        let mut idle = self.idle.borrow_mut();
        let place = idle.iter().position(|other| Rc::ptr_eq(other, parked));
        place.map(|place| idle.remove(place)).is_some()
    }

    /// Gives what is due to lanes that wait.
    pub(super) fn dispatch(&self) -> Next {
        let mut source = self.source.borrow_mut();
        loop {
            let now = clock::now();
            if self.stopped.get() {
                return Next::Over;
            }
            // What was due before the end goes out even if this thread comes to it after the end, as long as lanes wait.
            match source.peek() {
                None => return Next::Over,
                Some(due) if due >= self.end_ns => return Next::Over,
                Some(due) if due > now => return Next::At(due),
                Some(_) => {}
            }
            let Some(parked) = self.idle.borrow_mut().pop() else {
                return Next::Unserved;
            };
            let intended_ns = source.take(now).expect("it was seen to be due");
            parked.ticket.set(Some(Ticket {
                intended_ns,
                paced: true,
            }));
            parked.wake();
        }
    }

    /// The send that is due, for a lane that is about to be opened.
    pub(super) fn take_for_new(&self) -> Option<Ticket> {
        let intended_ns = self.source.borrow_mut().take(clock::now())?;
        Some(Ticket {
            intended_ns,
            paced: false,
        })
    }

    /// Resolves when a lane waits.
    pub(super) fn poll_lane(&self, context: &Context<'_>) -> Poll<()> {
        if !self.idle.borrow().is_empty() || self.stopped.get() {
            return Poll::Ready(());
        }
        *self.dispatcher.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }

    /// No send goes out from now on.
    pub(super) fn stop(&self) {
        self.stopped.set(true);
        for parked in self.idle.borrow_mut().drain(..) {
            parked.over.set(true);
            parked.wake();
        }
        if let Some(waker) = self.dispatcher.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Tells of all intended instants before `end_ns` that no lane has taken, with the number of sends at each.
    pub(super) fn unsent(&self, end_ns: u64, each: impl FnMut(u64, u64)) {
        self.source.replace(Source::Closed).rest(end_ns, each);
    }
}
