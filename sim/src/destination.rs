//! in → out: a cluster as a route names it → the host, subset and endpoints behind it, and its policy.
//! owns: reading Istio's cluster names (`outbound|9080|v1|reviews.default.svc.cluster.local`).
//! may not touch: which cluster is chosen.

use std::net::SocketAddr;

use weft_proxy_core::{
    cluster::{Balance, ClusterKind, Health, Transport},
    route::{ClusterRef, HashKey as Key},
};

use crate::{
    answer::{Destination, HashKey, Inbound, Policy},
    node::Node,
    scenario::{Call, Direction},
};

/// What a cluster stands for.
pub(crate) enum Target {
    /// A host of the mesh.
    Destination(Destination),
    /// Wherever the client was going.
    Passthrough,
    /// The application beside the proxy.
    Application(Inbound),
    /// Nowhere.
    Blackhole,
    /// A cluster that the proxy has not been sent.
    Missing(Destination),
}

/// What a cluster stands for, for this call.
pub(crate) fn target(node: &Node, cluster: &ClusterRef, call: &Call) -> Target {
    let named = named(&cluster.name);
    let Some(found) = node.cluster(&cluster.name) else {
        if let Some(path) = node.socket(&cluster.name) {
            return Target::Application(Inbound {
                socket: Some(path.to_owned()),
                ..Inbound::default()
            });
        }
        return Target::Missing(named.unwrap_or_else(|| nameless(&cluster.name)));
    };
    if call.direction == Direction::Inbound {
        return application(node, cluster, &found.kind, call);
    }
    match named {
        Some(destination) => Target::Destination(Destination {
            endpoints: endpoints(node, &found.kind, call),
            ..destination
        }),
        None if matches!(found.kind, ClusterKind::OriginalDst(_)) => Target::Passthrough,
        None => Target::Blackhole,
    }
}

/// Where a cluster of the inbound side leads: to its one endpoint, or where the client was going.
fn application(node: &Node, cluster: &ClusterRef, kind: &ClusterKind, call: &Call) -> Target {
    let address = match kind {
        ClusterKind::OriginalDst(_) => Some(SocketAddr::new(call.address, call.port)),
        ClusterKind::Static(set) => set.endpoints().first().map(|endpoint| endpoint.address),
        ClusterKind::Eds(_) | ClusterKind::Dns(_) => None,
    };
    match (address, node.socket(&cluster.name)) {
        (_, Some(path)) => Target::Application(Inbound {
            socket: Some(path.to_owned()),
            ..Inbound::default()
        }),
        (Some(address), None) => Target::Application(Inbound {
            port: Some(address.port()),
            address: Some(address.ip().to_string()),
            socket: None,
        }),
        (None, None) => Target::Blackhole,
    }
}

/// The parts of an outbound cluster's name, without endpoints.
pub(crate) fn named(cluster: &str) -> Option<Destination> {
    let mut parts = cluster.splitn(4, '|');
    let (direction, port, subset, host) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if direction != "outbound" {
        return None;
    }
    Some(Destination {
        host: host.to_owned(),
        port: port.parse().ok()?,
        subset: Some(subset.to_owned()).filter(|subset| !subset.is_empty()),
        endpoints: Vec::new(),
    })
}

fn nameless(cluster: &str) -> Destination {
    Destination {
        host: cluster.to_owned(),
        port: 0,
        subset: None,
        endpoints: Vec::new(),
    }
}

fn endpoints(node: &Node, kind: &ClusterKind, call: &Call) -> Vec<String> {
    let set = match kind {
        ClusterKind::Eds(name) => node.endpoint_set(name),
        ClusterKind::Static(set) => Some(set.as_ref()),
        ClusterKind::Dns(names) => {
            return names
                .names
                .iter()
                .map(|name| format!("{}:{}", name.host, name.port))
                .collect();
        }
        ClusterKind::OriginalDst(_) => return vec![SocketAddr::new(call.address, call.port).to_string()],
    };
    let endpoints = set.map(|set| set.endpoints()).unwrap_or_default();
    let healthy = endpoints.iter().filter(|endpoint| endpoint.health == Health::Healthy);
    healthy.map(|endpoint| endpoint.address.to_string()).collect()
}

/// The policy of a cluster, and the hash key of what leads to it.
pub(crate) fn policy(node: &Node, cluster: &ClusterRef, key: Option<&Key>) -> Policy {
    let Some(found) = node.cluster(&cluster.name) else {
        return Policy::default();
    };
    let hash = key
        .filter(|_| matches!(found.balance, Balance::Hash(_)))
        .map(|key| match key {
            Key::Header(name) => HashKey::Header(name.as_str().to_owned()),
            Key::Cookie { name, .. } => HashKey::Cookie(name.to_string()),
            Key::Query(name) => HashKey::Query(name.to_string()),
            Key::SourceIp => HashKey::SourceIp(true),
        });
    let set = |field: &str| node.is_set(&cluster.name, field);
    Policy {
        load_balancer: match found.balance {
            Balance::LeastRequest { .. } => Some("LEAST_REQUEST"),
            Balance::RoundRobin => Some("ROUND_ROBIN"),
            Balance::Random => Some("RANDOM"),
            Balance::Hash(_) | Balance::OriginalDst => None,
        },
        max_connections: Some(found.limits.connections_max).filter(|_| set("connectionPool.tcp.maxConnections")),
        connect_timeout: Some(found.connect_timeout).filter(|_| set("connectionPool.tcp.connectTimeout")),
        tls: node.set_with(&cluster.name, "tls.mode."),
        sni: match &found.transport {
            Transport::Tls { sni } => sni.as_deref().map(str::to_owned),
            Transport::Plain => None,
        },
        hash,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_read_by_its_name() {
        let found = named("outbound|9080|v1|reviews.default.svc.cluster.local").expect("an outbound name");
        assert_eq!(
            (found.host.as_str(), found.port, found.subset.as_deref()),
            ("reviews.default.svc.cluster.local", 9080, Some("v1"))
        );
        assert_eq!(named("outbound|80||*.a.test").expect("an outbound name").subset, None);
        for other in [
            "PassthroughCluster",
            "inbound|8080||",
            "outbound|x||a",
            "outbound|80|v1",
        ] {
            assert!(named(other).is_none(), "{other}");
        }
    }
}
