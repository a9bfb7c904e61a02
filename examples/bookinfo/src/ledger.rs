//! How many requests an application had in hand at once: what shows whether a limit in front of it holds.

use std::cell::Cell;

use serde_json::{Value, json};

/// Where it is read; `POST` below it, to `/clear`, begins anew. The shape is that of `weft load serve`.
pub(crate) const PATH: &str = "/admin/ledger";

/// Exact, since one thread sees every request come and go.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    total: Cell<u64>,
    in_flight: Cell<u64>,
    in_flight_highest: Cell<u64>,
}

/// A request, from its arrival until its reply is ready or its caller has gone.
#[derive(Debug)]
pub(crate) struct InFlight<'a>(&'a Ledger);

impl Ledger {
    /// A request has come.
    pub(crate) fn came(&self) -> InFlight<'_> {
        self.total.set(self.total.get() + 1);
        self.in_flight.set(self.in_flight.get() + 1);
        self.in_flight_highest
            .set(self.in_flight_highest.get().max(self.in_flight.get()));
        InFlight(self)
    }

    /// Forgets what is over; what is in flight stays.
    pub(crate) fn clear(&self) {
        self.total.set(0);
        self.in_flight_highest.set(self.in_flight.get());
    }

    pub(crate) fn json(&self) -> Value {
        json!({"requests": {
            "total": self.total.get(),
            "in_flight": self.in_flight.get(),
            "in_flight_highest": self.in_flight_highest.get(),
        }})
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}
