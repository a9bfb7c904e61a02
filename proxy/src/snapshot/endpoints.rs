//! Endpoint resources and the clusters that wait for them. An update goes straight into live state: no table is rebuilt.

use std::collections::BTreeMap;
use std::sync::Arc;

use dashmap::DashMap;
use weft_proxy_core::cluster::{Cluster, ClusterKind, EndpointSet};

use crate::upstream::cluster::ClusterState;

/// Live state of all clusters by name. Consulted when a snapshot is built, never by a request.
pub(crate) type ClusterStates = DashMap<Arc<str>, Arc<ClusterState>>;

/// Which clusters use which endpoint resource.
#[derive(Debug, Default)]
pub(crate) struct EndpointUsers {
    users: BTreeMap<Arc<str>, Vec<Arc<Cluster>>>,
}

impl EndpointUsers {
    /// A cluster has been accepted: it leaves the resource of its former self and takes that of the new one.
    pub(crate) fn enter(&mut self, old: Option<&Cluster>, new: &Arc<Cluster>) {
        if let Some(old) = old {
            self.leave(old);
        }
        if let ClusterKind::Eds(resource) = &new.kind {
            self.users.entry(resource.clone()).or_default().push(new.clone());
        }
    }

    /// A cluster is gone.
    pub(crate) fn leave(&mut self, old: &Cluster) {
        let ClusterKind::Eds(resource) = &old.kind else { return };
        if let Some(users) = self.users.get_mut(resource) {
            users.retain(|user| user.name != old.name);
            if users.is_empty() {
                self.users.remove(resource);
            }
        }
    }

    /// Gives new endpoints to the clusters that use them.
    pub(crate) fn publish(&self, states: &ClusterStates, resource: &str, set: &Arc<EndpointSet>) {
        for cluster in self.users.get(resource).into_iter().flatten() {
            if let Some(state) = states.get(&cluster.name) {
                state.set_endpoints(cluster, set.clone());
            }
        }
    }
}
