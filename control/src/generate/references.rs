//! What a route table or a listener refers to, and how its last good parts are kept while a reference does not resolve.

use std::collections::{BTreeMap, BTreeSet};

use weft_xds::pb::listener::Listener;
use weft_xds::pb::listener::filter::ConfigType;
use weft_xds::pb::protobuf::value::Kind;
use weft_xds::pb::route::route::Action;
use weft_xds::pb::route::route_action::ClusterSpecifier;
use weft_xds::pb::route::route_match::PathSpecifier;
use weft_xds::pb::route::{Route, RouteAction, RouteConfiguration, VirtualHost};
use weft_xds::pb::tcp_proxy::TcpProxy;
use weft_xds::pb::tcp_proxy::tcp_proxy::ClusterSpecifier as Copied;
use weft_xds::{Resource, unpack};

/// The clusters that a route table names.
pub fn clusters(table: &Resource) -> BTreeSet<String> {
    let table: RouteConfiguration = unpack(&table.body).unwrap_or_default();
    table.virtual_hosts.iter().flat_map(named).collect()
}

/// The clusters that a listener copies opaque bytes to. Those of requests are named by its route tables.
pub fn clusters_of_listener(listener: &Resource) -> BTreeSet<String> {
    let listener: Listener = unpack(&listener.body).unwrap_or_default();
    let chains = listener.filter_chains.iter().chain(&listener.default_filter_chain);
    let filters = chains.flat_map(|chain| &chain.filters);
    let copied = filters.filter_map(|filter| match &filter.config_type {
        // What is another filter does not unpack as this one.
        Some(ConfigType::TypedConfig(config)) => unpack::<TcpProxy>(config).ok()?.cluster_specifier,
        _ => None,
    });
    let mut names = BTreeSet::new();
    for specifier in copied {
        match specifier {
            Copied::Cluster(name) => _ = names.insert(name),
            Copied::WeightedClusters(split) => names.extend(split.clusters.into_iter().map(|part| part.name)),
        }
    }
    names
}

/// A table in which the routes of every object that names an unusable cluster have their last good value out of `old`,
/// if that resolves, and the clusters that are missing. Routes without a last good value stay as they are, and so do
/// those of all other objects, in the same virtual host too: one unresolved reference holds back nobody else.
pub fn keep_last_good(new: &Resource, old: &Resource, usable: impl Fn(&str) -> bool) -> (Resource, BTreeSet<String>) {
    let mut table: RouteConfiguration = unpack(&new.body).unwrap_or_default();
    let before: RouteConfiguration = unpack(&old.body).unwrap_or_default();
    let before: BTreeMap<&str, &VirtualHost> = before
        .virtual_hosts
        .iter()
        .map(|host| (host.name.as_str(), host))
        .collect();
    let mut missing = BTreeSet::new();
    let mut kept = false;
    for host in &mut table.virtual_hosts {
        let absent: BTreeSet<String> = named(host).filter(|cluster| !usable(cluster)).collect();
        if absent.is_empty() {
            continue;
        }
        if let Some(last_good) = before.get(host.name.as_str()) {
            kept |= keep_routes(host, last_good, &usable);
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

/// Gives the objects of a virtual host whose references do not resolve their last good routes. Whether there were any.
fn keep_routes(host: &mut VirtualHost, last_good: &VirtualHost, usable: &impl Fn(&str) -> bool) -> bool {
    let resolves = |route: &&Route| of_route(route).iter().all(|cluster| usable(cluster));
    let unresolved: BTreeSet<String> = host
        .routes
        .iter()
        .filter(|route| !resolves(route))
        .map(object)
        .collect();
    let mut good: BTreeMap<String, Vec<Route>> = BTreeMap::new();
    for name in unresolved {
        let routes: Vec<&Route> = last_good.routes.iter().filter(|route| object(route) == name).collect();
        if !routes.is_empty() && routes.iter().all(resolves) {
            good.insert(name, routes.into_iter().cloned().collect());
        }
    }
    if good.is_empty() {
        return false;
    }
    let mut placed = BTreeSet::new();
    let mut routes = Vec::new();
    for route in std::mem::take(&mut host.routes) {
        let name = object(&route);
        match good.get(&name) {
            None => routes.push(route),
            Some(last_good) if placed.insert(name) => routes.extend(last_good.iter().cloned()),
            Some(_) => {}
        }
    }
    // Where objects share a host, the plan puts routes that take everything last; so it has to be here.
    if routes.iter().map(object).collect::<BTreeSet<_>>().len() > 1 {
        routes.sort_by_key(takes_everything);
    }
    host.routes = routes;
    true
}

/// The object that a route was made from; empty where it does not say.
fn object(route: &Route) -> String {
    let weft = route
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.filter_metadata.get("weft"));
    match weft.and_then(|weft| weft.fields.get("object")?.kind.as_ref()) {
        Some(Kind::StringValue(name)) => name.clone(),
        _ => String::new(),
    }
}

/// Whether no later route of its virtual host is ever reached.
fn takes_everything(route: &Route) -> bool {
    route.r#match.as_ref().is_some_and(|conditions| {
        let any_path = matches!(&conditions.path_specifier, Some(PathSpecifier::Prefix(prefix)) if prefix == "/");
        any_path && conditions.headers.is_empty() && conditions.query_parameters.is_empty()
    })
}

fn named(host: &VirtualHost) -> impl Iterator<Item = String> {
    host.routes.iter().flat_map(of_route)
}

fn of_route(route: &Route) -> Vec<String> {
    match &route.action {
        Some(Action::Route(action)) => of_action(action),
        _ => Vec::new(),
    }
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
