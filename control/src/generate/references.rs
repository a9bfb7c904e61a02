//! What a route table refers to, and how its last good parts are kept while a reference does not resolve.

use std::collections::{BTreeMap, BTreeSet};

use weft_xds::pb::route::route::Action;
use weft_xds::pb::route::route_action::ClusterSpecifier;
use weft_xds::pb::route::{RouteAction, RouteConfiguration, VirtualHost};
use weft_xds::{Resource, unpack};

/// The clusters that a route table names.
pub fn clusters(table: &Resource) -> BTreeSet<String> {
    let table: RouteConfiguration = unpack(&table.body).unwrap_or_default();
    table.virtual_hosts.iter().flat_map(named).collect()
}

/// A table in which every virtual host of `new` that names an unusable cluster has its last good value out of `old`,
/// if that resolves, and the clusters that are missing. A virtual host without a last good value stays as it is, as
/// do all others: one unresolved reference holds back nobody else.
pub fn keep_last_good(new: &Resource, old: &Resource, usable: impl Fn(&str) -> bool) -> (Resource, BTreeSet<String>) {
    let mut table: RouteConfiguration = unpack(&new.body).unwrap_or_default();
    let before: RouteConfiguration = unpack(&old.body).unwrap_or_default();
    let good = |host: &VirtualHost| named(host).all(|cluster| usable(&cluster));
    let before: BTreeMap<&str, &VirtualHost> = before
        .virtual_hosts
        .iter()
        .filter(|host| good(host))
        .map(|host| (host.name.as_str(), host))
        .collect();
    let mut missing = BTreeSet::new();
    let mut kept = false;
    for host in &mut table.virtual_hosts {
        let absent: Vec<String> = named(host).filter(|cluster| !usable(cluster)).collect();
        if let Some(last_good) = before.get(host.name.as_str()).filter(|_| !absent.is_empty()) {
            // Domains follow the new table, where no other virtual host has them.
            let domains = std::mem::take(&mut host.domains);
            *host = VirtualHost {
                domains,
                ..(*last_good).clone()
            };
            kept = true;
        }
        missing.extend(absent);
    }
    let table = if kept {
        Resource::encode(&new.name, &table)
    } else {
        new.clone()
    };
    (table, missing)
}

fn named(host: &VirtualHost) -> impl Iterator<Item = String> {
    let actions = host.routes.iter().filter_map(|route| match &route.action {
        Some(Action::Route(action)) => Some(action),
        _ => None,
    });
    actions.flat_map(of_action)
}

fn of_action(action: &RouteAction) -> Vec<String> {
    let mut names: Vec<String> = action
        .request_mirror_policies
        .iter()
        .map(|mirror| mirror.cluster.clone())
        .collect();
    match &action.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => names.push(name.clone()),
        Some(ClusterSpecifier::WeightedClusters(split)) => {
            names.extend(split.clusters.iter().map(|part| part.name.clone()));
        }
        _ => {}
    }
    names.retain(|name| !name.is_empty());
    names
}
