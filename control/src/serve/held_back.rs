//! What must not reach a client yet: routes to clusters that it does not have, removals of clusters that its routes
//! still name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_xds::{Resource, Subscription, TypeUrl};

use super::push::of_kind;
use crate::generate::{ResourceSet, clusters, keep_last_good};

/// The subscriptions of one stream.
pub(super) type Subscriptions = BTreeMap<TypeUrl, Subscription>;

/// A route table as this client may have it now, and the clusters that keep it from having all of it.
pub(super) enum Allowed {
    /// To be used as it stands.
    Table(Resource),
    /// With the last good value of some virtual hosts.
    Partly(Resource, BTreeSet<String>),
    /// Not at all: the client keeps what it has.
    Withheld(BTreeSet<String>),
}

/// Decides on one route table. A client that never had one gets it as it is.
pub(super) fn allowed(subs: &Subscriptions, target: &ResourceSet, table: &Resource) -> Allowed {
    let Some(routes) = subs
        .get(&TypeUrl::Route)
        .filter(|routes| routes.may_hold_older(&table.name))
    else {
        return Allowed::Table(table.clone());
    };
    let live = routes.ledger().live(&table.name);
    if live.is_some_and(|live| live.version == table.version) {
        return Allowed::Table(table.clone());
    }
    let usable = |cluster: &str| has_cluster(subs, target, cluster);
    let missing: BTreeSet<String> = clusters(table).into_iter().filter(|cluster| !usable(cluster)).collect();
    if missing.is_empty() {
        return Allowed::Table(table.clone());
    }
    match live.and_then(|live| live.resource.as_ref()) {
        Some(last_good) => {
            let (kept, missing) = keep_last_good(table, last_good, usable);
            Allowed::Partly(kept, missing)
        }
        None => Allowed::Withheld(missing),
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
    /// These, since routes that it uses name them.
    Named(BTreeSet<String>),
    /// Any: it uses routes of which nothing is known but the version.
    All,
}

impl Pinned {
    /// What the routes of a client pin.
    pub(super) fn by_routes(subs: &Subscriptions) -> Self {
        let mut names = BTreeSet::new();
        let holdings = subs.get(&TypeUrl::Route).map(|routes| routes.ledger().holdings());
        for holding in holdings.into_iter().flat_map(BTreeMap::values) {
            match holding.live.as_ref().map(|live| live.resource.as_ref()) {
                Some(Some(table)) => names.extend(clusters(table)),
                Some(None) => return Self::All,
                None => {}
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
        let pinned = Pinned::by_routes(subs);
        gone.retain(|name| !pinned.contains(name));
    }
    gone
}
