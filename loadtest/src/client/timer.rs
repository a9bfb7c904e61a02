//! A limit on how long a request may take, that costs a request two stores and no timer of the runtime.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

/// No limit runs.
const OFF: u64 = u64::MAX;

/// The limit of one lane's request in flight. A sweep over all lanes ends those whose time has come.
#[derive(Default)]
pub(crate) struct Timer {
    at: Cell<u64>,
    expired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Timer {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            at: Cell::new(OFF),
            ..Self::default()
        })
    }

    /// Starts the limit of a request.
    pub(crate) fn start(&self, at: u64) {
        self.at.set(at);
        self.expired.set(false);
    }

    /// The request is over.
    pub(crate) fn stop(&self) {
        self.at.set(OFF);
    }

    /// Whether the request in flight has to end; remembers whom to wake when it will have to.
    pub(crate) fn poll_expired(&self, context: &Context<'_>) -> bool {
        if self.expired.get() {
            return true;
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        false
    }

    /// Ends the request in flight if its time has come.
    pub(crate) fn sweep(&self, now: u64) {
        if self.at.get() > now {
            return;
        }
        self.at.set(OFF);
        self.expired.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}
