//! What must not reach a client yet: routes and listeners to clusters that it does not have, removals of clusters that
//! they still name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_xds::{Resource, Subscription, TypeUrl};

use super::push::of_kind;
use crate::generate::{ResourceSet, clusters, clusters_of_listener, keep_last_good};

/// The subscriptions of one stream.
pub(super) type Subscriptions = BTreeMap<TypeUrl, Subscription>;

/// A route table or listener as this client may have it now, and the clusters that keep it from having all of it.
pub(super) enum Allowed {
    /// To be used as it stands.
    Whole(Resource),
    /// With the last good value of some virtual hosts, or of the listener.
    Partly(Resource, BTreeSet<String>),
    /// Not at all: the client keeps what it has.
    Withheld(BTreeSet<String>),
}

/// The kinds of resources that name clusters.
pub(super) const NAMING: [TypeUrl; 2] = [TypeUrl::Listener, TypeUrl::Route];

/// Decides on one resource; only kinds that name clusters are ever held back. A client that never had one gets it as it is.
pub(super) fn allowed(subs: &Subscriptions, target: &ResourceSet, kind: TypeUrl, resource: &Resource) -> Allowed {
    let naming = subs.get(&kind).filter(|_| NAMING.contains(&kind));
    let Some(sub) = naming.filter(|sub| sub.may_hold_older(&resource.name)) else {
        return Allowed::Whole(resource.clone());
    };
    let live = sub.ledger().live(&resource.name);
    if live.is_some_and(|live| live.version == resource.version) {
        return Allowed::Whole(resource.clone());
    }
    let usable = |cluster: &str| has_cluster(subs, target, cluster);
    let mut missing = named(kind, resource);
    missing.retain(|cluster| !usable(cluster));
    if missing.is_empty() {
        return Allowed::Whole(resource.clone());
    }
    match live.and_then(|live| live.resource.as_ref()) {
        Some(last_good) if kind == TypeUrl::Route => {
            let (kept, missing) = keep_last_good(resource, last_good, usable);
            Allowed::Partly(kept, missing)
        }
        // A listener stays or changes as a whole.
        Some(last_good) if named(kind, last_good).iter().all(|cluster| usable(cluster)) => {
            Allowed::Partly(last_good.clone(), missing)
        }
        Some(_) => Allowed::Whole(resource.clone()),
        None => Allowed::Withheld(missing),
    }
}

/// What a client may have of a resource now, if anything is known that it may.
pub(super) fn current(
    subs: &Subscriptions,
    target: &ResourceSet,
    kind: TypeUrl,
    resource: &Resource,
) -> Option<Resource> {
    match allowed(subs, target, kind, resource) {
        Allowed::Whole(resource) | Allowed::Partly(resource, _) => Some(resource),
        Allowed::Withheld(_) => None,
    }
}

/// The clusters that a resource names.
fn named(kind: TypeUrl, resource: &Resource) -> BTreeSet<String> {
    match kind {
        TypeUrl::Route => clusters(resource),
        TypeUrl::Listener => clusters_of_listener(resource),
        TypeUrl::Cluster | TypeUrl::Endpoint | TypeUrl::Secret => BTreeSet::new(),
    }
}

/// Whether the client can send requests to a cluster. One that asks for clusters by name gets them after its routes,
/// so for it existence is enough.
fn has_cluster(subs: &Subscriptions, target: &ResourceSet, cluster: &str) -> bool {
    match subs
        .get(&TypeUrl::Cluster)
        .filter(|clusters| clusters.interest().is_wildcard())
    {
        Some(clusters) => clusters.ledger().live(cluster).is_some(),
        None => target.clusters.contains_key(cluster),
    }
}

/// Clusters (and their endpoints) that may not be removed from a client.
pub(super) enum Pinned {
    /// These, since routes or listeners that it uses name them.
    Named(BTreeSet<String>),
    /// Any: it uses some of which nothing is known but the version.
    All,
}

impl Pinned {
    /// What the routes and listeners of a client pin.
    pub(super) fn by_use(subs: &Subscriptions) -> Self {
        let mut names = BTreeSet::new();
        for kind in NAMING {
            let holdings = subs.get(&kind).map(|sub| sub.ledger().holdings());
            for holding in holdings.into_iter().flat_map(BTreeMap::values) {
                match holding.live.as_ref().map(|live| live.resource.as_ref()) {
                    Some(Some(resource)) => names.extend(named(kind, resource)),
                    Some(None) => return Self::All,
                    None => {}
                }
            }
        }
        Self::Named(names)
    }

    fn contains(&self, name: &str) -> bool {
        match self {
            Self::Named(names) => names.contains(name),
            Self::All => true,
        }
    }
}

/// The names of a type that are gone and may be taken from the client now.
pub(super) fn removable(subs: &Subscriptions, target: &ResourceSet, kind: TypeUrl) -> Vec<Arc<str>> {
    let Some(sub) = subs.get(&kind) else { return Vec::new() };
    let mut gone = sub.gone(of_kind(target, kind));
    if !gone.is_empty() && matches!(kind, TypeUrl::Cluster | TypeUrl::Endpoint) {
        let pinned = Pinned::by_use(subs);
        gone.retain(|name| !pinned.contains(name));
    }
    gone
}
