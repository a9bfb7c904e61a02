//! When each cluster is swept next.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::time::Instant;

use weft_proxy_core::cluster::ClusterKind;

use crate::upstream::cluster::{Cluster, ClusterState};

/// The shortest time between two sweeps of a cluster, whatever is asked for: the clock of the runtime has no finer one.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// A cluster whose detection was turned off is looked at once more after this: far longer than a worker needs from reading the
/// settings to an ejection.
const LINGER: Duration = Duration::from_secs(1);

/// Clusters with outlier detection or with addresses to forget, by the time of their next sweep. Others cost nothing.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    /// By slot.
    entries: FxHashMap<u32, Entry>,
    due: BTreeSet<(Instant, u32)>,
    /// Told when the next sweep may be earlier than it was.
    changed: Rc<Notify>,
}

#[derive(Debug)]
struct Entry {
    state: Arc<ClusterState>,
    at: Instant,
    /// `None` once detection is off.
    interval: Option<Duration>,
}

impl Schedule {
    /// A cluster has been accepted, for the first time or with other settings.
    pub(crate) fn enter(&mut self, cluster: &Cluster) {
        let detection = cluster.config.outlier.map(|detection| detection.interval);
        let cleanup = match &cluster.config.kind {
            ClusterKind::OriginalDst(original) => Some(original.cleanup_interval),
            ClusterKind::Eds(_) | ClusterKind::Static(_) | ClusterKind::Dns(_) => None,
        };
        // Sweeps of detection keep their own time: it is part of their arithmetic.
        let interval = detection.or(cleanup).map(|interval| interval.max(INTERVAL_MIN));
        let known = self.entries.get(&cluster.slot);
        let known = known.filter(|entry| Arc::ptr_eq(&entry.state, &cluster.state));
        let at = match (known, interval) {
            (None, None) => return self.leave(cluster.slot),
            // The turn of a cluster whose interval stays is kept: changes of rules do not put it off.
            (Some(entry), Some(_)) if entry.interval == interval => return,
            (_, Some(interval)) => Instant::now() + interval,
            (Some(_), None) => {
                cluster.state.sweep();
                // Once more: a worker that was about to eject when detection was turned off has done so by then.
                Instant::now() + LINGER
            }
        };
        self.leave(cluster.slot);
        self.due.insert((at, cluster.slot));
        self.entries.insert(
            cluster.slot,
            Entry {
                state: cluster.state.clone(),
                at,
                interval,
            },
        );
        self.changed.notify_one();
    }

    /// A cluster is gone.
    pub(crate) fn leave(&mut self, slot: u32) {
        if let Some(entry) = self.entries.remove(&slot) {
            self.due.remove(&(entry.at, slot));
        }
    }

    /// When the next sweep is due, if there is one.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Resolves when [`Self::next`] may have become earlier.
    pub(super) fn changed(&self) -> Rc<Notify> {
        self.changed.clone()
    }

    /// Sweeps every cluster whose time has come.
    pub(super) fn sweep(&mut self, now: Instant) {
        while let Some((at, slot)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, slot));
            let Some(entry) = self.entries.get_mut(&slot) else {
                continue;
            };
            entry.state.sweep();
            match entry.interval {
                // Turns that were missed are not made up for.
                Some(interval) => {
                    entry.at = if at + interval > now {
                        at + interval
                    } else {
                        now + interval
                    };
                    self.due.insert((entry.at, slot));
                }
                None => drop(self.entries.remove(&slot)),
            }
        }
    }
}
