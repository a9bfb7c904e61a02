//! in → out: the address that a client dialled → its endpoint in a cluster of the kind `ORIGINAL_DST`.
//! owns: the addresses of such a cluster, how many there are and when one is forgotten; what a worker remembers of them.
//! may not touch: whether the address is known at all, connections.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustc_hash::FxHashMap;
use weft_proxy_core::cluster::OriginalDst;

use super::admit::Admission;
use super::cluster::Cluster;
use super::endpoint::EndpointState;
use crate::http::failure::{Failure, RouteFailure};
use crate::worker::Worker;

/// Addresses that a cluster remembers; they have pooled connections and a health record. A client that scans a network finds
/// its connections made all the same, but not kept.
const ADDRESSES_MAX: usize = 4096;

/// The addresses of one cluster, shared by all workers.
#[derive(Debug, Default)]
pub(crate) struct OriginalAddresses(Mutex<FxHashMap<SocketAddr, Entry>>);

#[derive(Debug)]
struct Entry {
    state: Arc<EndpointState>,
    /// Nothing used it at the last sweep.
    idle: bool,
}

impl OriginalAddresses {
    /// The endpoint of an address. Beyond [`ADDRESSES_MAX`] it is good for one connection.
    fn enter(&self, cluster: &Cluster, address: SocketAddr) -> Arc<EndpointState> {
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(&address) {
            entry.idle = false;
            return entry.state.clone();
        }
        let state = EndpointState::dialled(cluster, address);
        if entries.len() < ADDRESSES_MAX {
            let idle = false;
            let entry = Entry {
                state: state.clone(),
                idle,
            };
            entries.insert(address, entry);
        } else {
            // Its connection is closed after the request, since nobody would find it again.
            state.remove();
        }
        state
    }

    /// Forgets what has not been used since the sweep before. An open connection, be it idle, is a use.
    pub(super) fn sweep(&self) {
        let mut entries = self.lock();
        entries.retain(|_, entry| {
            let idle = Arc::strong_count(&entry.state) == 1;
            let stays = !(idle && entry.idle);
            entry.idle = idle;
            if !stays {
                entry.state.remove();
            }
            stays
        });
        entries.shrink_to(64);
    }

    /// All of them.
    pub(crate) fn states(&self) -> Vec<Arc<EndpointState>> {
        self.lock().values().map(|entry| entry.state.clone()).collect()
    }

    /// The cluster is gone.
    pub(super) fn clear(&self) {
        self.lock().drain().for_each(|(_, entry)| entry.state.remove());
    }

    // Held for a look-up or a sweep. A worker comes here once for each address that it does not remember.
    fn lock(&self) -> MutexGuard<'_, FxHashMap<SocketAddr, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a worker remembers of the addresses of all clusters, so that a request takes no lock.
#[derive(Debug, Default)]
pub(crate) struct OriginalCache(RefCell<FxHashMap<(*const Admission, SocketAddr), Weak<EndpointState>>>);

impl OriginalCache {
    fn get(&self, cluster: &Cluster, address: SocketAddr) -> Option<Arc<EndpointState>> {
        // An endpoint keeps the admission of its cluster, whose address is therefore not used again while it lives.
        let key = (Arc::as_ptr(&cluster.state.admission), address);
        let known = self.0.borrow().get(&key)?.upgrade()?;
        (!known.is_removed()).then_some(known)
    }

    fn put(&self, cluster: &Cluster, endpoint: &Arc<EndpointState>) {
        let key = (Arc::as_ptr(&cluster.state.admission), endpoint.address);
        self.0.borrow_mut().insert(key, Arc::downgrade(endpoint));
    }

    /// Lets go of what the clusters have forgotten.
    pub(crate) fn sweep(&self) {
        let mut known = self.0.borrow_mut();
        known.retain(|_, one| one.strong_count() > 0);
        known.shrink_to(64);
    }
}

/// The endpoint of a client that dialled `destination`; none where that is not known, or is a port of our own at which
/// connections are captured: what goes there would come back for ever (Istio: the chains `virtualOutbound-trafficloop` and
/// `virtualInbound-blackhole`).
pub(super) fn find(
    worker: &Worker,
    cluster: &Cluster,
    kind: &OriginalDst,
    destination: Option<SocketAddr>,
) -> Result<Arc<EndpointState>, Failure> {
    let none = Failure::Route(RouteFailure::NoEndpoint);
    let target = kind.target(destination.ok_or(none)?);
    if let Some(known) = worker.original.get(cluster, target) {
        return Ok(known);
    }
    if worker.with_snapshot(|snapshot| snapshot.listeners.captures_at(target.port())) {
        return Err(none);
    }
    let endpoint = cluster.state.original.enter(cluster, target);
    if !endpoint.is_removed() {
        worker.original.put(cluster, &endpoint);
    }
    Ok(endpoint)
}

#[cfg(test)]
mod tests {
    use weft_proxy_core::route::Bindings;
    use weft_xds::pb::cluster::{Cluster as Message, cluster};

    use super::*;
    use crate::upstream::cluster::ClusterState;
    use crate::xds::translate;

    fn passthrough() -> Arc<Cluster> {
        let message = Message {
            name: "PassthroughCluster".to_owned(),
            cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(
                cluster::DiscoveryType::OriginalDst.into(),
            )),
            lb_policy: cluster::LbPolicy::ClusterProvided.into(),
            ..Message::default()
        };
        let config = Arc::new(translate::cluster(&message, &mut Bindings::new(0)).unwrap().value);
        let state = ClusterState::new(&config);
        Cluster::new(config, 0, state)
    }

    fn address(number: u32) -> SocketAddr {
        SocketAddr::from(([10, 1, (number >> 8) as u8, number as u8], 80))
    }

    #[test]
    fn an_address_is_one_endpoint_until_two_sweeps_have_found_it_idle() {
        let cluster = passthrough();
        let original = &cluster.state.original;
        let first = original.enter(&cluster, address(1));
        let id = first.id;
        assert_eq!(original.enter(&cluster, address(1)).id, id);
        for _ in 0..3 {
            original.sweep();
        }
        assert_eq!(original.enter(&cluster, address(1)).id, id, "it is in use");
        drop(first);
        original.sweep();
        assert_eq!(
            original.enter(&cluster, address(1)).id,
            id,
            "it was used before the sweep"
        );
        original.sweep();
        original.sweep();
        assert!(original.states().is_empty());
        assert_ne!(original.enter(&cluster, address(1)).id, id);
    }

    #[test]
    fn a_client_that_scans_finds_its_connections_made_and_leaves_no_more_than_the_bound() {
        let cluster = passthrough();
        let original = &cluster.state.original;
        let scanned = 3 * ADDRESSES_MAX as u32;
        let kept = (0..scanned).filter(|number| !original.enter(&cluster, address(*number)).is_removed());
        assert_eq!(kept.count(), ADDRESSES_MAX);
        assert_eq!(original.states().len(), ADDRESSES_MAX);
        original.sweep();
        original.sweep();
        assert!(original.states().is_empty());
        assert!(!original.enter(&cluster, address(scanned)).is_removed());
    }

    #[test]
    fn endpoints_of_a_cluster_that_is_gone_are_let_go() {
        let cluster = passthrough();
        let one = cluster.state.original.enter(&cluster, address(1));
        drop(cluster);
        assert!(one.is_removed());
    }
}
