//! The phases of a push, in the one order that never breaks what works.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weft_xds::{Resource, TypeUrl};

use crate::generate::ResourceSet;

/// A phase ends without an answer after this time, for what was not answered.
pub const PHASE_DEADLINE: Duration = Duration::from_secs(5);

/// A step of a push: what is named goes out before what names it, and removals come last in the reverse order
/// (xDS protocol: "Eventual consistency considerations").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// New and changed resources of a type.
    Add(TypeUrl),
    /// Resources of a type that are gone.
    Remove(TypeUrl),
}

impl Phase {
    const ORDER: [Self; 10] = [
        Self::Add(TypeUrl::Secret),
        Self::Add(TypeUrl::Cluster),
        Self::Add(TypeUrl::Endpoint),
        Self::Add(TypeUrl::Listener),
        Self::Add(TypeUrl::Route),
        Self::Remove(TypeUrl::Route),
        Self::Remove(TypeUrl::Listener),
        Self::Remove(TypeUrl::Endpoint),
        Self::Remove(TypeUrl::Cluster),
        Self::Remove(TypeUrl::Secret),
    ];

    /// The type that this phase is about.
    pub fn kind(self) -> TypeUrl {
        match self {
            Self::Add(kind) | Self::Remove(kind) => kind,
        }
    }
}

/// One push on its way. It delivers `target` as it was when the push began; what comes later is for the next one.
#[derive(Debug)]
pub(super) struct Push {
    pub(super) target: Arc<ResourceSet>,
    step: usize,
    pub(super) deadline: Instant,
    /// Responses up to this nonce are not waited for in this phase.
    pub(super) waits_after: u64,
}

impl Push {
    pub(super) fn new(target: Arc<ResourceSet>, now: Instant) -> Self {
        Self {
            target,
            step: 0,
            deadline: now + PHASE_DEADLINE,
            waits_after: 0,
        }
    }

    /// The running phase; `None` when all are over.
    pub(super) fn phase(&self) -> Option<Phase> {
        Phase::ORDER.get(self.step).copied()
    }

    /// On to the next phase.
    pub(super) fn advance(&mut self, now: Instant) {
        self.step += 1;
        self.deadline = now + PHASE_DEADLINE;
    }
}

/// The resources of a type.
pub(super) fn of_kind(set: &ResourceSet, kind: TypeUrl) -> &std::collections::BTreeMap<String, Resource> {
    /// Secrets are served by nobody yet; who asks is told that there are none.
    static NONE: std::collections::BTreeMap<String, Resource> = std::collections::BTreeMap::new();
    match kind {
        TypeUrl::Cluster => &set.clusters,
        TypeUrl::Endpoint => &set.endpoints,
        TypeUrl::Listener => &set.listeners,
        TypeUrl::Route => &set.routes,
        TypeUrl::Secret => &NONE,
    }
}
