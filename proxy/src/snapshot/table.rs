//! What a proxy serves at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use weft_proxy_core::chain::{Listener, Listeners};
use weft_proxy_core::route::RouteTable;

use crate::upstream::cluster::Cluster;

/// Immutable. A swap costs the tables below, which are copied shallowly; their contents are shared with the one before.
#[derive(Debug, Default, Clone)]
pub(crate) struct Snapshot {
    pub(crate) listeners: Arc<Listeners>,
    pub(crate) route_tables: Arc<FxHashMap<Arc<str>, Arc<RouteTable>>>,
    /// By slot. A slot without a cluster is an unresolved name.
    pub(crate) clusters: Arc<[Option<Arc<Cluster>>]>,
    /// Those that went a short while ago, by slot, for connections whose listener went too.
    pub(crate) departed: Arc<BTreeMap<u32, Arc<Cluster>>>,
}

impl Snapshot {
    /// The route table of that name.
    pub(crate) fn route_table(&self, name: &str) -> Option<&Arc<RouteTable>> {
        self.route_tables.get(name)
    }

    /// The cluster in a slot; `None` when the name does not resolve.
    pub(crate) fn cluster(&self, slot: u32) -> Option<&Arc<Cluster>> {
        self.clusters.get(slot as usize)?.as_ref()
    }

    /// The cluster in a slot, for a connection of this listener. One whose listener was removed or replaced may end what it has begun,
    /// although the clusters of that listener have been removed after it.
    pub(crate) fn cluster_for(&self, listener: &Arc<Listener>, slot: u32) -> Option<&Arc<Cluster>> {
        self.cluster(slot).or_else(|| {
            let now = self.listeners.named(&listener.name);
            let is_leaving = now.is_none_or(|now| !Arc::ptr_eq(now, listener));
            is_leaving.then(|| self.departed.get(&slot)).flatten()
        })
    }
}
