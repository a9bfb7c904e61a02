//! The single writer of snapshots: takes resources, keeps the good, names the bad, publishes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use prost::{Message, Name};
use tokio::time::Instant;
use weft_proxy_core::chain::{Listener, Listeners};
use weft_proxy_core::cluster::{Cluster as Config, EndpointSet};
use weft_proxy_core::route::{Bindings, RouteTable};
use weft_xds::delta::client::Update;
use weft_xds::{Rejection, Resource, TypeUrl, unpack};

use super::accepted::Accepted;
use super::endpoints::{ClusterStates, EndpointUsers};
use super::table::Snapshot;
use crate::dns::Pending;
use crate::health::Schedule;
use crate::upstream::cluster::{Cluster, ClusterState};
use crate::xds::translate::{self, TranslateError, Translated};

/// Accepted resources and what was built from them. Lives on the main thread.
pub(crate) struct Store {
    pub(super) published: Arc<ArcSwap<Snapshot>>,
    bindings: Bindings,
    states: ClusterStates,
    users: EndpointUsers,
    /// By slot, as in the snapshot.
    live: Vec<Option<Arc<Cluster>>>,
    /// Removed clusters and when that was, by slot.
    departed: BTreeMap<u32, (Instant, Arc<Cluster>)>,
    /// When ejected endpoints are looked at.
    pub(crate) sweeps: Schedule,
    /// Names that are looked up for clusters.
    pub(crate) names: Pending,
    pub(crate) listeners: Accepted<Listener>,
    pub(crate) routes: Accepted<RouteTable>,
    pub(crate) clusters: Accepted<Config>,
    pub(crate) endpoints: Accepted<EndpointSet>,
    /// Extensions and values that were not known and were passed over, since the start.
    pub(crate) ignored: u64,
}

impl Store {
    /// An empty store; `seed` decides where weighted splits start.
    pub(crate) fn new(published: Arc<ArcSwap<Snapshot>>, seed: u64) -> Self {
        Self {
            published,
            bindings: Bindings::new(seed),
            states: ClusterStates::default(),
            users: EndpointUsers::default(),
            live: Vec::new(),
            departed: BTreeMap::new(),
            sweeps: Schedule::default(),
            names: Pending::default(),
            listeners: Accepted::default(),
            routes: Accepted::default(),
            clusters: Accepted::default(),
            endpoints: Accepted::default(),
            ignored: 0,
        }
    }

    /// Puts an update in force. What does not translate keeps its last good value and is named in the result.
    pub(crate) fn apply(&mut self, update: &Update) -> Vec<Rejection> {
        let rejected: Vec<Rejection> = update
            .upserts
            .iter()
            .filter_map(|resource| self.upsert(update.kind, resource).err())
            .collect();
        for name in &update.removals {
            self.remove(update.kind, name);
        }
        self.publish(update.kind);
        rejected
    }

    /// Live clusters, for people.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        self.live.iter().flatten()
    }

    fn upsert(&mut self, kind: TypeUrl, resource: &Resource) -> Result<(), Rejection> {
        let (name, version) = (resource.name.clone(), resource.version.clone());
        let done = match kind {
            TypeUrl::Listener => self
                .translated(resource, translate::listener)
                .map(|listener| self.listeners.accept(name.clone(), version.clone(), listener)),
            TypeUrl::Route => self
                .translated(resource, translate::route_table)
                .map(|table| self.routes.accept(name.clone(), version.clone(), table)),
            TypeUrl::Cluster => self.translated(resource, translate::cluster).and_then(|config| {
                translate::can_connect(&config).map_err(|error| error.to_string())?;
                self.enter_cluster(&config);
                self.clusters.accept(name.clone(), version.clone(), config);
                Ok(())
            }),
            TypeUrl::Endpoint => self.translated(resource, translate::endpoints).map(|set| {
                self.users.publish(&self.states, &name, &set);
                self.endpoints.accept(name.clone(), version.clone(), set);
            }),
            TypeUrl::Secret => Ok(()),
        };
        done.map_err(|reason| {
            match kind {
                TypeUrl::Listener => self.listeners.refuse(name, version, reason.clone()),
                TypeUrl::Route => self.routes.refuse(name, version, reason.clone()),
                TypeUrl::Cluster => self.clusters.refuse(name, version, reason.clone()),
                TypeUrl::Endpoint => self.endpoints.refuse(name, version, reason.clone()),
                TypeUrl::Secret => {}
            }
            Rejection {
                name: resource.name.to_string(),
                reason,
            }
        })
    }

    /// The core type of a resource, or the text of a NACK. What was passed over on the way is counted.
    fn translated<M: Message + Name + Default, T>(
        &mut self,
        resource: &Resource,
        translate: fn(&M, &mut Bindings) -> Result<Translated<T>, TranslateError>,
    ) -> Result<Arc<T>, String> {
        let message: M = unpack(&resource.body).map_err(|error| error.to_string())?;
        let done = translate(&message, &mut self.bindings).map_err(|error| error.to_string())?;
        self.ignored += done.ignored.len() as u64;
        Ok(Arc::new(done.value))
    }

    /// A cluster gets its slot, its state (kept from before if there was one) and the endpoints that are known.
    fn enter_cluster(&mut self, config: &Arc<Config>) {
        let Ok(reference) = self.bindings.cluster(&config.name) else {
            return;
        };
        let state = self
            .states
            .entry(config.name.clone())
            .or_insert_with(|| ClusterState::new(config))
            .clone();
        self.users
            .enter(self.clusters.get(&config.name).map(|old| &**old), config);
        if let weft_proxy_core::cluster::ClusterKind::Eds(resource) = &config.kind
            && let Some(set) = self.endpoints.get(resource)
        {
            state.set_endpoints(config, set.clone());
        }
        let slot = reference.slot as usize;
        if self.live.len() <= slot {
            self.live.resize(slot + 1, None);
        }
        let cluster = Cluster::new(config.clone(), reference.slot, state);
        self.sweeps.enter(&cluster);
        self.names.enter(&cluster);
        self.departed.remove(&cluster.slot);
        self.live[slot] = Some(cluster);
    }

    fn remove(&mut self, kind: TypeUrl, name: &str) {
        match kind {
            TypeUrl::Listener => drop(self.listeners.remove(name)),
            TypeUrl::Route => drop(self.routes.remove(name)),
            TypeUrl::Endpoint => drop(self.endpoints.remove(name)),
            TypeUrl::Cluster => {
                if let Some(old) = self.clusters.remove(name) {
                    self.users.leave(&old.value);
                    // Requests in flight keep the state alive; the name, should it come back, starts fresh.
                    self.states.remove(name);
                    for live in &mut self.live {
                        if let Some(gone) = live.take_if(|live| *live.config.name == *name) {
                            self.sweeps.leave(gone.slot);
                            self.names.leave(gone.slot);
                            self.departed.insert(gone.slot, (Instant::now(), gone));
                        }
                    }
                }
            }
            TypeUrl::Secret => {}
        }
    }

    /// Lets go of clusters that went longer ago than their connections may take to end.
    pub(crate) fn forget_departed(&mut self, now: Instant, drain: Duration) {
        let before = self.departed.len();
        self.departed
            .retain(|_, (since, _)| now.saturating_duration_since(*since) < drain);
        if self.departed.len() != before {
            let mut next = Snapshot::clone(&self.published.load());
            next.departed = self.departed_by_slot();
            self.published.store(Arc::new(next));
        }
    }

    fn departed_by_slot(&self) -> Arc<BTreeMap<u32, Arc<Cluster>>> {
        let departed = self.departed.iter();
        Arc::new(departed.map(|(slot, (_, cluster))| (*slot, cluster.clone())).collect())
    }

    /// Swaps the one table that the update touched; endpoints have none.
    fn publish(&mut self, kind: TypeUrl) {
        let mut next = Snapshot::clone(&self.published.load());
        match kind {
            TypeUrl::Listener => {
                next.listeners = Arc::new(Listeners::new(
                    self.listeners.iter().map(|(_, entry)| entry.value.clone()).collect(),
                ));
            }
            TypeUrl::Route => {
                let tables = self
                    .routes
                    .iter()
                    .map(|(name, entry)| (name.clone(), entry.value.clone()));
                next.route_tables = Arc::new(tables.collect());
            }
            TypeUrl::Cluster => {
                next.clusters = self.live.as_slice().into();
                next.departed = self.departed_by_slot();
            }
            TypeUrl::Endpoint | TypeUrl::Secret => return,
        }
        self.published.store(Arc::new(next));
        // Splits that no table has any more are forgotten one update late, when the tables of before are gone.
        self.bindings.sweep();
    }
}
