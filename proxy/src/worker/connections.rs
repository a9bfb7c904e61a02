//! The downstream connections of a worker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::http::conn_state::{ConnState, Order};

/// All connections of one worker, for the sweep and the drain.
#[derive(Default)]
pub(crate) struct Connections {
    slots: RefCell<Vec<Option<Entry>>>,
    free: RefCell<Vec<usize>>,
    accepted: Cell<u64>,
    refused: Cell<u64>,
}

struct Entry {
    listener: Arc<str>,
    state: Arc<ConnState>,
}

/// Takes a connection off the list when it ends.
pub(crate) struct ConnectionGuard {
    connections: Rc<Connections>,
    slot: usize,
}

impl Connections {
    /// Enters a connection, unless there are `max` already.
    pub(crate) fn enter(
        self: &Rc<Self>,
        listener: Arc<str>,
        state: Arc<ConnState>,
        max: usize,
    ) -> Option<ConnectionGuard> {
        if self.len() >= max {
            self.refused.set(self.refused.get() + 1);
            return None;
        }
        self.accepted.set(self.accepted.get() + 1);
        let entry = Some(Entry { listener, state });
        let mut slots = self.slots.borrow_mut();
        let slot = match self.free.borrow_mut().pop() {
            Some(slot) => {
                slots[slot] = entry;
                slot
            }
            None => {
                slots.push(entry);
                slots.len() - 1
            }
        };
        Some(ConnectionGuard {
            connections: self.clone(),
            slot,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.borrow().len() - self.free.borrow().len()
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.get()
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.get()
    }

    /// Gives the clock to every connection; late ones end.
    pub(crate) fn sweep(&self, now_ms: u64) {
        self.each(|entry| entry.state.sweep(now_ms));
    }

    /// Every connection of a listener, or of all, closes after the request in flight.
    pub(crate) fn drain(&self, listener: Option<&str>) {
        self.each(|entry| {
            if listener.is_none_or(|name| *name == *entry.listener) {
                entry.state.command(Order::Drain);
            }
        });
    }

    /// Whether a request is under way on any of them.
    pub(crate) fn is_busy(&self) -> bool {
        self.slots.borrow().iter().flatten().any(|entry| entry.state.is_busy())
    }

    fn each(&self, act: impl Fn(&Entry)) {
        self.slots.borrow().iter().flatten().for_each(act);
    }
}

impl ConnectionGuard {
    /// The connection goes on under another state: it has been found out what it speaks.
    pub(crate) fn replace(&self, state: Arc<ConnState>) {
        if let Some(entry) = &mut self.connections.slots.borrow_mut()[self.slot] {
            entry.state = state;
        }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.connections.slots.borrow_mut()[self.slot] = None;
        self.connections.free.borrow_mut().push(self.slot);
    }
}
