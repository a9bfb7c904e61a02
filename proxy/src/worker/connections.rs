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
            // Its listener may have changed while that was found out.
            if entry.state.is_draining() {
                state.command(Order::Drain);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::conn_state::ConnLimits;

    #[test]
    fn an_order_to_drain_is_not_lost_when_it_is_found_out_what_a_connection_speaks() {
        let limits = ConnLimits {
            idle: None,
            head: None,
            write: None,
        };
        let state = || Arc::new(ConnState::new(limits, 0));
        for (drained, draining) in [("changed", true), ("another", false)] {
            let connections = Rc::new(Connections::default());
            let guard = connections.enter("changed".into(), state(), 1).expect("there is room");
            connections.drain(Some(drained));
            let spoken = state();
            guard.replace(spoken.clone());
            assert_eq!(spoken.is_draining(), draining, "{drained}");
        }
    }
}
