//! Which name is asked for next, and what was answered last.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::time::Instant;
use weft_proxy_core::cluster::{ADDRESSES_PER_NAME_MAX, Cluster as Config, ClusterKind, Family, Looked, Name, Names};

use crate::upstream::cluster::{Cluster, ClusterState};

/// The names of all clusters.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// By slot.
    entries: FxHashMap<u32, Entry>,
    due: BTreeSet<(Instant, u32, usize)>,
    /// Tells a look-up from one of another cluster that had the slot before.
    generation: u64,
    /// Told when the next look-up may be due earlier than it was.
    changed: Rc<Notify>,
}

#[derive(Debug)]
struct Entry {
    config: Arc<Config>,
    state: Arc<ClusterState>,
    generation: u64,
    /// By the name's place.
    answers: Vec<Answer>,
}

#[derive(Debug, Default, Clone)]
struct Answer {
    addresses: Vec<IpAddr>,
    failures: u32,
}

/// One look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    slot: u32,
    place: usize,
    generation: u64,
    pub(super) host: Box<str>,
    pub(super) family: Family,
}

impl Pending {
    /// A cluster has been accepted, for the first time or with other settings. Names that stay keep their addresses, and
    /// their turn.
    pub(crate) fn enter(&mut self, cluster: &Cluster) {
        let Some(names) = names_of(&cluster.config) else {
            return self.leave(cluster.slot);
        };
        let old = self.entries.remove(&cluster.slot);
        let old = old.filter(|old| Arc::ptr_eq(&old.state, &cluster.state));
        let is_same = old.as_ref().is_some_and(|old| names_of(&old.config) == Some(names));
        if let Some(old) = old.as_ref().filter(|_| is_same) {
            let same = Entry {
                config: cluster.config.clone(),
                state: old.state.clone(),
                generation: old.generation,
                answers: old.answers.clone(),
            };
            same.publish();
            self.entries.insert(cluster.slot, same);
            return;
        }
        self.due.retain(|(_, slot, _)| *slot != cluster.slot);
        self.generation += 1;
        let known = |name: &Name| {
            let old = old.as_ref()?;
            let place = names_of(&old.config)?
                .names
                .iter()
                .position(|one| one.host == name.host)?;
            old.answers.get(place).cloned()
        };
        let mut answers = Vec::with_capacity(names.names.len());
        for (place, name) in names.names.iter().enumerate() {
            // An address needs no resolver.
            if let Ok(ip) = name.host.parse::<IpAddr>() {
                answers.push(Answer {
                    addresses: vec![ip],
                    failures: 0,
                });
                continue;
            }
            answers.push(known(name).unwrap_or_default());
            self.due.insert((Instant::now(), cluster.slot, place));
        }
        let entry = Entry {
            config: cluster.config.clone(),
            state: cluster.state.clone(),
            generation: self.generation,
            answers,
        };
        entry.publish();
        self.entries.insert(cluster.slot, entry);
        self.changed.notify_one();
    }

    /// A cluster is gone.
    pub(crate) fn leave(&mut self, slot: u32) {
        if self.entries.remove(&slot).is_some() {
            self.due.retain(|(_, one, _)| *one != slot);
        }
    }

    /// When the next look-up is due, if there is one.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, ..)| *at)
    }

    /// Resolves when [`Self::next`] may have become earlier.
    pub(super) fn changed(&self) -> Rc<Notify> {
        self.changed.clone()
    }

    /// A look-up whose time has come. Each is to be answered with [`Self::answer`].
    pub(super) fn ask(&mut self, now: Instant) -> Option<Question> {
        while let Some(first) = self.due.first().copied().filter(|(at, ..)| *at <= now) {
            self.due.remove(&first);
            let (_, slot, place) = first;
            let Some(entry) = self.entries.get(&slot) else { continue };
            let Some(names) = names_of(&entry.config) else { continue };
            return Some(Question {
                slot,
                place,
                generation: entry.generation,
                host: names.names.get(place)?.host.clone(),
                family: names.family,
            });
        }
        None
    }

    /// Takes an answer, and says when to ask again. An answer to a name that is gone by now is of no use.
    pub(super) fn answer(&mut self, question: &Question, mut looked: Looked, rng: u64) {
        let entry = self.entries.get_mut(&question.slot);
        let Some(entry) = entry.filter(|entry| entry.generation == question.generation) else {
            return;
        };
        let config = entry.config.clone();
        let (Some(names), Some(answer)) = (names_of(&config), entry.answers.get_mut(question.place)) else {
            return;
        };
        answer.failures = match looked {
            Looked::Failed => answer.failures.saturating_add(1),
            Looked::Found(..) | Looked::Nothing => 0,
        };
        let wait = names.refresh.after(&looked, answer.failures, rng);
        let addresses = match &mut looked {
            Looked::Found(found, _) => {
                found.truncate(ADDRESSES_PER_NAME_MAX);
                if !names.first_record {
                    // Servers turn their answers round: another order is no change.
                    found.sort_unstable();
                }
                Some(std::mem::take(found))
            }
            Looked::Nothing => Some(Vec::new()),
            Looked::Failed => None,
        };
        if answer.failures == 1 {
            // Once for a run of failures.
            tracing::warn!(cluster = %config.name, host = %question.host, "cannot look up a name; keeping what is known");
        }
        if let Some(addresses) = addresses.filter(|addresses| *addresses != answer.addresses) {
            answer.addresses = addresses;
            entry.publish();
        }
        self.due.insert((Instant::now() + wait, question.slot, question.place));
    }
}

impl Entry {
    /// Gives the cluster the endpoints that its names have now.
    fn publish(&self) {
        let Some(names) = names_of(&self.config) else { return };
        match names.endpoints(self.answers.iter().map(|answer| answer.addresses.as_slice())) {
            Ok(set) => self.state.set_endpoints(&self.config, Arc::new(set)),
            Err(error) => tracing::warn!(cluster = %self.config.name, %error, "answers are of no use"),
        }
    }
}

fn names_of(config: &Config) -> Option<&Names> {
    match &config.kind {
        ClusterKind::Dns(names) => Some(names),
        ClusterKind::Eds(_) | ClusterKind::Static(_) | ClusterKind::OriginalDst(_) => None,
    }
}
