//! `/config_dump` and `/listeners`: what is in force, since when, from which object, and what was refused.

use serde_json::{Value, json};
use tokio::time::Instant;
use weft_proxy_core::Provenance;
use weft_proxy_core::chain::{Listener, Network, RouteSource};
use weft_proxy_core::cluster::{Cluster, EndpointSet};
use weft_proxy_core::route::{Action, Route, RouteTable};

use crate::app::Main;
use crate::snapshot::Accepted;

/// Everything.
pub(crate) fn dump(main: &Main) -> Value {
    let store = main.store.borrow();
    let status = main.xds.borrow();
    json!({
        "node": main.node,
        "xds": { "connected": status.connected, "synced": status.synced, "restored": status.restored },
        "listeners": resources(&store.listeners, listener),
        "routes": resources(&store.routes, route_table),
        "clusters": resources(&store.clusters, cluster),
        "endpoints": resources(&store.endpoints, endpoints),
    })
}

/// Sockets.
pub(crate) fn listeners(main: &Main) -> Value {
    let set = main.listeners.borrow();
    let bound: Vec<Value> = set
        .bound()
        .map(|(name, bound)| json!({ "name": &**name, "address": bound.address.to_string() }))
        .collect();
    let failed: Vec<Value> = set
        .failed()
        .map(|(name, reason)| json!({ "name": &**name, "reason": reason }))
        .collect();
    json!({ "bound": bound, "failed": failed })
}

fn resources<T>(accepted: &Accepted<T>, show: impl Fn(&T) -> Value) -> Value {
    let now = Instant::now();
    let active: Vec<Value> = accepted
        .iter()
        .map(|(name, entry)| {
            let age = now.saturating_duration_since(entry.updated).as_secs();
            json!({ "name": &**name, "version": &*entry.version, "age_seconds": age, "resource": show(&entry.value) })
        })
        .collect();
    let refused: Vec<Value> = accepted
        .refused()
        .map(|(name, refused)| json!({ "name": &**name, "version": &*refused.version, "reason": refused.reason }))
        .collect();
    json!({ "active": active, "refused": refused })
}

fn provenance(provenance: Option<&Provenance>) -> Value {
    provenance.map_or(
        Value::Null,
        |from| json!({ "object": &*from.object, "rule": from.rule, "generation": &*from.generation }),
    )
}

fn listener(listener: &Listener) -> Value {
    let chains: Vec<Value> = listener
        .chains
        .iter()
        .chain(&listener.default_chain)
        .map(|chain| {
            let network = match &chain.network {
                Network::Http(manager) => match &manager.route {
                    RouteSource::Rds(name) => json!({ "http": { "rds": &**name } }),
                    RouteSource::Inline(table) => json!({ "http": { "inline": route_table(table) } }),
                },
                Network::Tcp(proxy) => json!({ "tcp": format!("{:?}", proxy.destination) }),
                Network::Close => json!("close"),
            };
            json!({ "name": &*chain.name, "match": format!("{:?}", chain.matcher), "network": network })
        })
        .collect();
    json!({
        "address": listener.address.to_string(),
        "bind_to_port": listener.bind_to_port,
        "chains": chains,
        "from": provenance(listener.provenance.as_ref()),
    })
}

fn route_table(table: &RouteTable) -> Value {
    let hosts: Vec<Value> = table
        .virtual_hosts()
        .iter()
        .map(|host| {
            let routes: Vec<Value> = host.routes.iter().map(|one| route(one)).collect();
            json!({ "name": &*host.name, "domains": host.domains, "routes": routes })
        })
        .collect();
    json!({ "virtual_hosts": hosts })
}

fn route(route: &Route) -> Value {
    let action = match &route.action {
        Action::Forward(forward) => {
            let clusters: Vec<Value> = forward
                .choice
                .destinations()
                .iter()
                .map(|to| json!({ "cluster": &*to.cluster.name, "weight": to.weight }))
                .collect();
            json!({ "forward": { "to": clusters, "timeout": forward.timeout.map(|limit| format!("{limit:?}")) } })
        }
        Action::Redirect(redirect) => json!({ "redirect": format!("{redirect:?}") }),
        Action::DirectResponse(direct) => json!({ "direct_response": direct.status.as_u16() }),
    };
    json!({
        "name": &*route.name,
        "match": format!("{:?}", route.matcher),
        "action": action,
        "from": provenance(route.provenance.as_ref()),
    })
}

fn cluster(cluster: &Cluster) -> Value {
    json!({
        "kind": format!("{:?}", cluster.kind),
        "balance": format!("{:?}", cluster.balance),
        "connect_timeout": format!("{:?}", cluster.connect_timeout),
        "limits": format!("{:?}", cluster.limits),
        "outlier_detection": cluster.outlier.as_ref().map(|outlier| format!("{outlier:?}")),
        "from": provenance(cluster.provenance.as_ref()),
    })
}

fn endpoints(set: &EndpointSet) -> Value {
    let all: Vec<Value> = set
        .endpoints()
        .iter()
        .map(|one| json!({ "address": one.address.to_string(), "weight": one.weight, "health": format!("{:?}", one.health) }))
        .collect();
    Value::from(all)
}
