//! Virtual hosts of sidecars: which VirtualService owns which host, and which authorities lead there.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use weft_policies::Object;
use weft_policies::kind::sidecar::OutboundMode;
use weft_policies::kind::virtual_service::VirtualService;
use weft_policies::precedence::{by_specificity, expand_host, is_wildcard, subset_of};

use super::context::Context;
use super::inputs::{RouteInputs, RouteTableInputs, VirtualHostInputs};
use super::registry::Host;
use super::rules::{self, Binding};
use super::{destination, names};

/// Port on which hosts that are in no registry are served where nothing else says where.
const PORT_OF_UNKNOWN_HOSTS: u16 = 80;

/// A VirtualService of the mesh and the hosts that it owns. Two for one host are not merged: the first owns it.
pub(super) struct Owner {
    pub(super) policy: Arc<Object<VirtualService>>,
    /// Known hosts, sorted by name.
    pub(super) known: Vec<String>,
    /// Hosts that are in no registry.
    unknown: Vec<String>,
}

/// Gives every host to at most one VirtualService: of those that cover it the most specific, on a tie the first.
pub(super) fn owners(context: &Context<'_>) -> Vec<Owner> {
    let mut claims: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut owners: Vec<Owner> = Vec::new();
    let mut unknown_taken: HashSet<String> = HashSet::new();
    for policy in context
        .virtual_services
        .iter()
        .filter(|policy| Binding::Mesh.admits(policy))
    {
        let at = owners.len();
        let mut unknown = Vec::new();
        for written in &policy.spec.hosts {
            let host = expand_host(written, &policy.meta.namespace, &context.world.mesh.cluster_domain);
            let covered = covered(context, &host);
            if covered.is_empty() && unknown_taken.insert(host.clone()) {
                unknown.push(host.clone());
            }
            for known in covered {
                let better = |(by, _): &(String, usize)| by_specificity(&host, by).is_lt();
                if claims.get(known).is_none_or(better) {
                    claims.insert(known.to_owned(), (host.clone(), at));
                }
            }
        }
        owners.push(Owner {
            policy: Arc::clone(policy),
            known: Vec::new(),
            unknown,
        });
    }
    for (known, (_, at)) in claims {
        owners[at].known.push(known);
    }
    owners
}

/// The known hosts that a host of a VirtualService covers.
fn covered<'c>(context: &'c Context<'_>, host: &str) -> Vec<&'c str> {
    if !is_wildcard(host) {
        return context
            .registry
            .get(host)
            .map(|host| host.name.as_str())
            .into_iter()
            .collect();
    }
    context
        .registry
        .iter()
        .map(|known| known.name.as_str())
        .filter(|known| subset_of(known, host))
        .collect()
}

/// The route table of all HTTP hosts on a port number.
pub(super) fn table(context: &Context<'_>, owners: &[Owner], port: u16) -> RouteTableInputs {
    let mut hosts = Vec::new();
    let mut owned: BTreeSet<&str> = BTreeSet::new();
    let on_port = |name: &str| {
        let host = context.registry.get(name)?;
        host.port(port)
            .is_some_and(super::registry::Port::may_be_http)
            .then_some(host)
    };
    for owner in owners {
        let known: Vec<&Host> = owner.known.iter().filter_map(|name| on_port(name)).collect();
        let serves_unknown = if has_http_port(context, owner) {
            !known.is_empty()
        } else {
            port == PORT_OF_UNKNOWN_HOSTS
        };
        if known.is_empty() && (!serves_unknown || owner.unknown.is_empty()) {
            continue;
        }
        let routes = rules::routes(context, &owner.policy, port, &Binding::Mesh);
        if routes.is_empty() {
            continue;
        }
        for name in owner.unknown.iter().filter(|_| serves_unknown) {
            hosts.push(virtual_host(name, vec![name.clone()], port, routes.clone()));
        }
        for host in known {
            owned.insert(&host.name);
            hosts.push(virtual_host(
                &host.name,
                host.authorities(&context.scope.namespace),
                port,
                routes.clone(),
            ));
        }
    }
    for host in context
        .registry
        .iter()
        .filter(|host| !owned.contains(host.name.as_str()))
    {
        if let Some(host) = on_port(&host.name) {
            hosts.push(unruled(context, host, port));
        }
    }
    one_owner_for_each_domain(&mut hosts);
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    hosts.push(catch_all(context));
    finish(context, port.to_string(), hosts)
}

/// The route table of one host's port whose protocol is found out: it serves whatever authority is asked for.
pub(super) fn table_of(context: &Context<'_>, owners: &[Owner], host: &Host, port: u16) -> RouteTableInputs {
    let owner = owners
        .iter()
        .find(|owner| owner.known.binary_search(&host.name).is_ok());
    let routes = owner
        .map(|owner| rules::routes(context, &owner.policy, port, &Binding::Mesh))
        .unwrap_or_default();
    let everybody = vec!["*".to_owned()];
    let virtual_host = if routes.is_empty() {
        VirtualHostInputs {
            domains: everybody,
            ..unruled(context, host, port)
        }
    } else {
        virtual_host(&host.name, everybody, port, routes)
    };
    finish(context, names::virtual_host(&host.name, port), vec![virtual_host])
}

fn has_http_port(context: &Context<'_>, owner: &Owner) -> bool {
    let known = owner.known.iter().filter_map(|name| context.registry.get(name));
    known
        .flat_map(|host| &host.ports)
        .any(super::registry::Port::may_be_http)
}

fn finish(context: &Context<'_>, name: String, virtual_hosts: Vec<VirtualHostInputs>) -> RouteTableInputs {
    RouteTableInputs {
        name,
        virtual_hosts,
        default_retries: context.world.mesh.default_http_retry_policy.clone(),
    }
}

fn virtual_host(name: &str, domains: Vec<String>, port: u16, routes: Vec<RouteInputs>) -> VirtualHostInputs {
    VirtualHostInputs {
        name: names::virtual_host(name, port),
        domains,
        https_redirect: false,
        routes,
    }
}

/// A host that no VirtualService speaks about.
fn unruled(context: &Context<'_>, host: &Host, port: u16) -> VirtualHostInputs {
    let route = RouteInputs::Host {
        target: destination::own_target(context, host, port),
        provenance: host.provenance(),
    };
    virtual_host(
        &host.name,
        host.authorities(&context.scope.namespace),
        port,
        vec![route],
    )
}

/// Hosts that nobody has declared.
fn catch_all(context: &Context<'_>) -> VirtualHostInputs {
    let (name, route) = match context.world.mesh.outbound_traffic_policy {
        OutboundMode::AllowAny => (names::ALLOW_ANY, RouteInputs::Passthrough),
        OutboundMode::RegistryOnly => (names::BLOCK_ALL, RouteInputs::Blocked),
    };
    VirtualHostInputs {
        name: name.to_owned(),
        domains: vec!["*".to_owned()],
        https_redirect: false,
        routes: vec![route],
    }
}

/// A host keeps its own name against short forms of others; else the first to claim a domain keeps it. `*` belongs to
/// the hosts that nobody has declared.
fn one_owner_for_each_domain(hosts: &mut Vec<VirtualHostInputs>) {
    let own: HashSet<String> = hosts.iter().filter_map(|host| host.domains.first().cloned()).collect();
    let mut taken: HashSet<String> = HashSet::from(["*".to_owned()]);
    for host in hosts.iter_mut() {
        let mut place = 0;
        host.domains.retain(|domain| {
            place += 1;
            (place == 1 || !own.contains(domain)) && taken.insert(domain.clone())
        });
    }
    hosts.retain(|host| !host.domains.is_empty());
}
