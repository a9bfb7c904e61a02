//! Who asked for what, and how much at once: exact, since one thread sees everything in the order in which it happened.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};

/// Callers and routes that are told apart; the rest is counted together.
const NAMES_MAX: usize = 1000;

#[derive(Debug, Default)]
struct Counts {
    requests: u64,
    by_caller_and_route: BTreeMap<(String, String), u64>,
    by_status: BTreeMap<u16, u64>,
    by_grpc_status: BTreeMap<u16, u64>,
    in_flight: u64,
    in_flight_highest: u64,
    accepted: u64,
    open: u64,
    open_highest: u64,
    resets: u64,
    early_closes: u64,
    late_highest_ns: u64,
}

/// The ledger of a scripted upstream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Rc<RefCell<Counts>>);

/// A connection, from its accept to the moment at which its end is known.
#[derive(Debug)]
pub(crate) struct OpenGuard(Ledger);

/// A request, from its arrival to the last byte of its response.
#[derive(Debug)]
pub(crate) struct InFlightGuard(Ledger);

impl Ledger {
    /// A connection has been accepted. Ends of connections that are known to the kernel must have been counted before.
    pub(crate) fn accepted(&self) -> OpenGuard {
        let mut counts = self.0.borrow_mut();
        counts.accepted += 1;
        counts.open += 1;
        counts.open_highest = counts.open_highest.max(counts.open);
        OpenGuard(self.clone())
    }

    /// A request has come.
    pub(crate) fn came(&self, caller: &str, route: &str) -> InFlightGuard {
        let mut counts = self.0.borrow_mut();
        counts.requests += 1;
        counts.in_flight += 1;
        counts.in_flight_highest = counts.in_flight_highest.max(counts.in_flight);
        let mut key = (caller.to_owned(), route.to_owned());
        let known = counts.by_caller_and_route.contains_key(&key);
        if !known && counts.by_caller_and_route.len() >= NAMES_MAX {
            key = ("(others)".to_owned(), "(others)".to_owned());
        }
        *counts.by_caller_and_route.entry(key).or_default() += 1;
        InFlightGuard(self.clone())
    }

    /// A status is being sent.
    pub(crate) fn answered(&self, status: u16) {
        *self.0.borrow_mut().by_status.entry(status).or_default() += 1;
    }

    /// A wait that the behaviour wanted has ended so late.
    pub(crate) fn late(&self, late_ns: u64) {
        let mut counts = self.0.borrow_mut();
        counts.late_highest_ns = counts.late_highest_ns.max(late_ns);
    }

    /// A connection or stream is being reset.
    pub(crate) fn reset(&self) {
        self.0.borrow_mut().resets += 1;
    }

    /// Forgets what is over; what is open and in flight stays.
    pub(crate) fn clear(&self) {
        let mut counts = self.0.borrow_mut();
        let (open, in_flight) = (counts.open, counts.in_flight);
        *counts = Counts {
            open,
            open_highest: open,
            in_flight,
            in_flight_highest: in_flight,
            ..Counts::default()
        };
    }

    /// Its counts, as the admin port shows them.
    pub(crate) fn json(&self) -> Value {
        let counts = self.0.borrow();
        let mut by_caller: BTreeMap<&str, u64> = BTreeMap::new();
        let mut by_route: BTreeMap<&str, u64> = BTreeMap::new();
        for ((caller, route), count) in &counts.by_caller_and_route {
            *by_caller.entry(caller).or_default() += count;
            *by_route.entry(route).or_default() += count;
        }
        let both = counts.by_caller_and_route.iter();
        json!({
            "requests": {
                "total": counts.requests, "by_caller": by_caller, "by_route": by_route, "by_status": counts.by_status,
                "by_grpc_status": counts.by_grpc_status,
                "by_caller_and_route": both.map(|((caller, route), count)| json!({"caller": caller, "route": route, "count": count})).collect::<Vec<_>>(),
                "in_flight": counts.in_flight, "in_flight_highest": counts.in_flight_highest,
                "resets": counts.resets, "early_closes": counts.early_closes,
                "late_highest_ms": counts.late_highest_ns as f64 / 1e6,
            },
            "connections": {"accepted": counts.accepted, "open": counts.open, "open_highest": counts.open_highest},
        })
    }
}

impl InFlightGuard {
    /// A status of gRPC is being sent, beside the one of HTTP.
    pub(crate) fn answered_grpc(&self, status: u16) {
        *self.0.0.borrow_mut().by_grpc_status.entry(status).or_default() += 1;
    }

    /// Its response ends in the middle.
    pub(crate) fn closed_early(&self) {
        self.0.0.borrow_mut().early_closes += 1;
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.0.borrow_mut().open -= 1;
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.0.borrow_mut().in_flight -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_counts_are_of_what_was_there_at_once() {
        let ledger = Ledger::default();
        let first = ledger.accepted();
        let second = ledger.accepted();
        drop(first);
        let third = ledger.accepted();
        let request = ledger.came("a", "GET /");
        drop((second, third, request));
        let json = ledger.json();
        assert_eq!(
            json["connections"],
            json!({"accepted": 3, "open": 0, "open_highest": 2})
        );
        assert_eq!(json["requests"]["in_flight_highest"], 1);
        assert_eq!(json["requests"]["by_caller"]["a"], 1);
    }

    #[test]
    fn a_caller_cannot_mint_names_without_end() {
        let ledger = Ledger::default();
        for number in 0..NAMES_MAX + 50 {
            ledger.came(&number.to_string(), "GET /");
        }
        let json = ledger.json();
        assert_eq!(json["requests"]["by_caller"]["(others)"], 50);
        assert_eq!(json["requests"]["total"], NAMES_MAX + 50);
    }
}
