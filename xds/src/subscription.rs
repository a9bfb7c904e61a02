//! The server's side of one type on one stream: what is asked for, what is owed, what is held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::interest::Interest;
use crate::ledger::{Batch, Ledger};
use crate::{Resource, TypeUrl};

/// Names that one client may ask for, or state as held, of one type.
pub const NAMES_MAX: usize = 100_000;
/// Responses of one type that a client may leave unanswered.
pub const IN_FLIGHT_MAX: usize = 256;

/// A client goes beyond what a server keeps for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitExceeded {
    /// More than [`NAMES_MAX`].
    #[error("more than {NAMES_MAX} resource names of one type")]
    Names,
    /// More than [`IN_FLIGHT_MAX`].
    #[error("more than {IN_FLIGHT_MAX} responses of one type without an answer")]
    InFlight,
}

/// What a request said about earlier responses.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// Nothing: it only concerns subscriptions.
    Subscription,
    /// The response was taken.
    Ack(Batch),
    /// The response, or a part of it, was refused.
    Nack(Batch, crate::Verdict),
    /// It answers a response that is no longer waited for.
    Stale,
}

/// State of one type on one stream.
#[derive(Debug)]
pub struct Subscription {
    pub(crate) kind: TypeUrl,
    pub(crate) interest: Interest,
    pub(crate) ledger: Ledger,
    pub(crate) opened: bool,
    /// A response is due even when there is nothing to say: the client waits for it.
    pub(crate) answer_due: bool,
    /// Names that have to be answered, changed or not.
    pub(crate) owed: BTreeSet<Arc<str>>,
    /// The client stated some version of the type when it connected, without saying of which resources.
    pub(crate) resumed: bool,
    /// What the last full response contained (state of the world only).
    pub(crate) last_full: Option<String>,
}

impl Subscription {
    /// A type that was not asked for yet.
    pub fn new(kind: TypeUrl) -> Self {
        Self {
            kind,
            interest: Interest::default(),
            ledger: Ledger::default(),
            opened: false,
            answer_due: false,
            owed: BTreeSet::new(),
            resumed: false,
            last_full: None,
        }
    }

    /// The type.
    pub fn kind(&self) -> TypeUrl {
        self.kind
    }

    /// Whether the client has asked for this type at all.
    pub fn is_open(&self) -> bool {
        self.opened
    }

    /// What the client asked for.
    pub fn interest(&self) -> &Interest {
        &self.interest
    }

    /// What the client holds.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What the client holds, to add what is known about it.
    pub fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Whether a response is due although nothing may have changed.
    pub fn is_answer_due(&self) -> bool {
        self.answer_due
    }

    /// Names that have to be answered at once.
    pub fn owed(&self) -> &BTreeSet<Arc<str>> {
        &self.owed
    }

    /// Whether the client may hold the named resource from an earlier stream, in whatever version.
    pub fn may_hold_older(&self, name: &str) -> bool {
        self.resumed && self.interest.wants(name) || self.ledger.live(name).is_some()
    }

    /// Takes a name as answered: there is nothing to say about it.
    pub fn settle_owed(&mut self, name: &str) {
        self.owed.remove(name);
    }

    /// Makes a name due again, if the client asked for it.
    pub fn owe(&mut self, name: &Arc<str>) {
        if self.interest.wants(name) {
            self.owed.insert(name.clone());
        }
    }

    /// The resources of `set` that the client asked for and that are due or changed.
    pub fn wanted(&self, set: &BTreeMap<String, Resource>) -> Vec<Resource> {
        let due = |resource: &&Resource| self.owed.contains(&resource.name) || self.ledger.needs(resource);
        self.asked(set).filter(due).cloned().collect()
    }

    /// All resources of `set` that the client asked for.
    pub fn asked<'a>(&'a self, set: &'a BTreeMap<String, Resource>) -> Box<dyn Iterator<Item = &'a Resource> + 'a> {
        if self.interest.is_wildcard() {
            return Box::new(set.values());
        }
        Box::new(self.interest.names().iter().filter_map(|name| set.get(&**name)))
    }

    /// Names that the client may hold and that `set` does not have.
    pub fn gone(&self, set: &BTreeMap<String, Resource>) -> Vec<Arc<str>> {
        let names = self.ledger.holdings().keys();
        names
            .filter(|name| !set.contains_key(&***name) && self.ledger.may_hold(name))
            .cloned()
            .collect()
    }

    /// Notes a response that carries these, and settles what was due.
    pub fn send(&mut self, upserts: Vec<Resource>, removals: Vec<Arc<str>>) -> Batch {
        for name in upserts.iter().map(|resource| &resource.name).chain(&removals) {
            self.owed.remove(name);
        }
        self.answer_due = false;
        self.ledger.send(upserts, removals)
    }

    pub(crate) fn check_limits(&self) -> Result<(), LimitExceeded> {
        if self.interest.names().len().max(self.ledger.holdings().len()) > NAMES_MAX {
            return Err(LimitExceeded::Names);
        }
        if self.ledger.in_flight() > IN_FLIGHT_MAX {
            return Err(LimitExceeded::InFlight);
        }
        Ok(())
    }
}
