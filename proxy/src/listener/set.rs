//! The listeners that have sockets, kept equal to the snapshot's.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use weft_proxy_core::chain::{Listener, Listeners};

use super::bind::bind;
use super::is_warm;
use crate::snapshot::Snapshot;
use crate::worker::{Command, WorkerHandle};

/// A listener with sockets.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    /// What the configuration asked for.
    asked: SocketAddr,
    /// What the kernel gave; differs where port 0 was asked for.
    pub(crate) address: SocketAddr,
    /// What new connections are served by.
    listener: Arc<Listener>,
}

/// Bound listeners, and those that could not be bound.
#[derive(Debug, Default)]
pub(crate) struct ListenerSet {
    bound: BTreeMap<Arc<str>, Bound>,
    failed: BTreeMap<Arc<str>, String>,
    /// The listeners of the last look, those without sockets included.
    seen: Arc<Listeners>,
}

impl ListenerSet {
    /// Binds what is new and ready, lets go of what is gone, moves what changed its address. What could not be bound is
    /// tried again at the next call.
    pub(crate) fn reconcile(&mut self, snapshot: &Snapshot, workers: &[WorkerHandle], synced: bool) {
        self.renew_unbound(snapshot, workers);
        let wanted: BTreeMap<&Arc<str>, &Arc<Listener>> = snapshot
            .listeners
            .iter()
            .filter(|listener| listener.bind_to_port)
            .map(|listener| (&listener.name, listener))
            .collect();
        self.hand_over(&wanted, snapshot, workers, synced);
        let gone =
            |name: &Arc<str>, bound: &Bound| wanted.get(name).is_none_or(|listener| listener.address != bound.asked);
        let leaving: Vec<Arc<str>> = self
            .bound
            .iter()
            .filter(|(name, bound)| gone(name, bound))
            .map(|(name, _)| name.clone())
            .collect();
        for name in leaving {
            self.unbind(&name, workers);
        }
        self.failed.retain(|name, _| wanted.contains_key(name));
        for (name, listener) in wanted {
            self.renew(listener, workers);
            if !self.bound.contains_key(name) && (synced || is_warm(listener, snapshot)) {
                self.bind(listener, workers);
            }
        }
    }

    /// A listener that takes the address of one that goes takes its sockets too: nobody is refused in between, and who waits to be
    /// accepted is (Envoy: a new listener inherits the sockets of one that drains at the same address).
    fn hand_over(
        &mut self,
        wanted: &BTreeMap<&Arc<str>, &Arc<Listener>>,
        snapshot: &Snapshot,
        workers: &[WorkerHandle],
        synced: bool,
    ) {
        let stays = |name: &Arc<str>, address| wanted.get(name).is_some_and(|listener| listener.address == address);
        let mut leaving: BTreeMap<SocketAddr, Arc<str>> = self
            .bound
            .iter()
            // Whoever asked for any port did not ask for this one.
            .filter(|(name, bound)| bound.asked.port() != 0 && !stays(name, bound.asked))
            .map(|(name, bound)| (bound.asked, name.clone()))
            .collect();
        let mut moves = Vec::new();
        for (name, listener) in wanted {
            let is_there = self
                .bound
                .get(*name)
                .is_some_and(|bound| bound.asked == listener.address);
            if is_there || !(synced || is_warm(listener, snapshot)) {
                continue;
            }
            if let Some(from) = leaving.remove(&listener.address) {
                moves.push((from, *listener));
            }
        }
        if moves.is_empty() {
            return;
        }
        let taken: Vec<Option<Bound>> = moves.iter().map(|(from, _)| self.bound.remove(from)).collect();
        for (bound, (from, to)) in taken.into_iter().zip(&moves) {
            let Some(mut bound) = bound else { continue };
            tracing::info!(listener = %to.name, address = %bound.address, before = %from, "takes over");
            bound.listener = (*to).clone();
            // One of this name at another address goes, as one without a name would.
            if self.bound.contains_key(&to.name) {
                self.unbind(&to.name, workers);
            }
            self.failed.remove(&to.name);
            self.bound.insert(to.name.clone(), bound);
        }
        let moves: Arc<[(Arc<str>, Arc<str>)]> = moves.into_iter().map(|(from, to)| (from, to.name.clone())).collect();
        for worker in workers {
            worker.send(Command::HandOver(moves.clone()));
        }
    }

    /// A listener that changed in place keeps its sockets; connections of before were accepted under other rules.
    fn renew(&mut self, listener: &Arc<Listener>, workers: &[WorkerHandle]) {
        let Some(bound) = self.bound.get_mut(&listener.name) else {
            return;
        };
        if Arc::ptr_eq(&bound.listener, listener) {
            return;
        }
        bound.listener = listener.clone();
        for worker in workers {
            worker.send(Command::Renew {
                name: listener.name.clone(),
            });
        }
    }

    /// Listeners without sockets get connections from one that restores original destinations. When one changes or goes, its
    /// connections of before end as those of any other listener.
    fn renew_unbound(&mut self, snapshot: &Snapshot, workers: &[WorkerHandle]) {
        if Arc::ptr_eq(&self.seen, &snapshot.listeners) {
            return;
        }
        let before = std::mem::replace(&mut self.seen, snapshot.listeners.clone());
        for old in before.iter().filter(|listener| !listener.bind_to_port) {
            let now = snapshot.listeners.named(&old.name);
            if now.is_some_and(|now| Arc::ptr_eq(now, old)) {
                continue;
            }
            for worker in workers {
                worker.send(Command::Renew { name: old.name.clone() });
            }
        }
    }

    fn bind(&mut self, listener: &Arc<Listener>, workers: &[WorkerHandle]) {
        match bind(listener.address, workers.len()) {
            Ok((address, sockets)) => {
                tracing::info!(listener = %listener.name, %address, "listening");
                for (worker, socket) in workers.iter().zip(sockets) {
                    worker.send(Command::Listen {
                        name: listener.name.clone(),
                        socket,
                    });
                }
                self.failed.remove(&listener.name);
                self.bound.insert(
                    listener.name.clone(),
                    Bound {
                        asked: listener.address,
                        address,
                        listener: listener.clone(),
                    },
                );
            }
            Err(error) => {
                let reason = error.to_string();
                // Once per change: it is tried again every second.
                if self.failed.get(&listener.name) != Some(&reason) {
                    tracing::error!(listener = %listener.name, address = %listener.address, reason, "cannot listen");
                }
                self.failed.insert(listener.name.clone(), reason);
            }
        }
    }

    fn unbind(&mut self, name: &Arc<str>, workers: &[WorkerHandle]) {
        tracing::info!(listener = %name, "closing");
        self.bound.remove(name);
        for worker in workers {
            worker.send(Command::Unlisten { name: name.clone() });
        }
    }

    /// Bound listeners by name.
    pub(crate) fn bound(&self) -> impl Iterator<Item = (&Arc<str>, &Bound)> {
        self.bound.iter()
    }

    /// Listeners of a snapshot that want a socket and have none, whatever the reason.
    pub(crate) fn unbound<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = &'a Arc<str>> {
        let has_socket = |listener: &Listener| {
            let bound = self.bound.get(&listener.name);
            bound.is_some_and(|bound| bound.asked == listener.address)
        };
        let wanted = snapshot.listeners.iter().filter(|listener| listener.bind_to_port);
        wanted
            .filter(move |listener| !has_socket(listener))
            .map(|listener| &listener.name)
    }

    /// Listeners that could not be bound, with the reason.
    pub(crate) fn failed(&self) -> impl Iterator<Item = (&Arc<str>, &String)> {
        self.failed.iter()
    }
}
