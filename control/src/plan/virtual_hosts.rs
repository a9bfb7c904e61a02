//! Virtual hosts of sidecars: which VirtualService owns which host, and which authorities lead there.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use weft_policies::Object;
use weft_policies::kind::virtual_service::VirtualService;
use weft_policies::precedence::{by_specificity, expand_host, is_wildcard, subset_of};

use super::context::Context;
use super::egress::Egress;
use super::inputs::{RouteInputs, RouteTableInputs, Unknown, VirtualHostInputs};
use super::registry::Host;
use super::rules::{self, Binding};
use super::{destination, names, unknown};

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

/// Gives every host that a view imports to at most one VirtualService: of those that cover it the most specific, on a
/// tie the first.
pub(super) fn owners(context: &Context<'_>, view: &Egress) -> Vec<Owner> {
    let mut claims: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut owners: Vec<Owner> = Vec::new();
    let mut unknown_taken: HashSet<String> = HashSet::new();
    for policy in view
        .virtual_services
        .iter()
        .filter(|policy| Binding::Mesh.admits(policy))
    {
        let at = owners.len();
        let mut unknown = Vec::new();
        for written in &policy.spec.hosts {
            let host = expand_host(written, &policy.meta.namespace, &context.world.mesh.cluster_domain);
            let covered = covered(context, view, &host);
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

/// The known hosts that a host of a VirtualService covers. A name that stands for another is meant by its own name only.
fn covered<'c>(context: &'c Context<'_>, view: &Egress, host: &str) -> Vec<&'c str> {
    let imported = |known: &&Host| view.imports(known);
    if !is_wildcard(host) {
        let known = context.registry.get(host).filter(imported);
        return known.map(|host| host.name.as_str()).into_iter().collect();
    }
    let known = context.registry.iter().filter(imported);
    known
        .filter(|known| known.stands_for.is_none())
        .map(|known| known.name.as_str())
        .filter(|known| subset_of(known, host))
        .collect()
}

/// The route table of all HTTP hosts on a port number.
pub(super) fn table(
    context: &Context<'_>,
    view: &Egress,
    owners: &[Owner],
    name: String,
    port: u16,
) -> RouteTableInputs {
    let mut hosts = on_port(context, view, owners, port);
    one_owner_for_each_domain(&mut hosts);
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    hosts.push(catch_all(context));
    finish(context, name, hosts)
}

/// The virtual hosts of all HTTP hosts on a port number, those of rules first. A domain may occur more than once.
pub(super) fn on_port(context: &Context<'_>, view: &Egress, owners: &[Owner], port: u16) -> Vec<VirtualHostInputs> {
    let mut hosts = Vec::new();
    let mut owned: BTreeSet<&str> = BTreeSet::new();
    let serves = |host: &Host| host.port(port).is_some_and(super::registry::Port::may_be_http);
    for owner in owners {
        let known = owner.known.iter().filter_map(|name| context.registry.get(name));
        let known: Vec<&Host> = known.filter(|host| serves(host)).collect();
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
                authorities(context, view, host),
                port,
                routes.clone(),
            ));
        }
    }
    let rest = context.registry.iter().filter(|host| view.imports(host));
    for host in rest.filter(|host| !owned.contains(host.name.as_str()) && serves(host)) {
        if !has_imported_original(context, view, host) {
            hosts.push(unruled(context, view, host, port));
        }
    }
    hosts
}

/// The authorities of a host, with those of the names that stand for it. A rule for such a name owns no more than the
/// full name (Istio: `httproute.go: generateVirtualHostDomains`).
fn authorities(context: &Context<'_>, view: &Egress, host: &Host) -> Vec<String> {
    let namespace = &context.scope.namespace;
    if has_imported_original(context, view, host) {
        return vec![host.name.clone()];
    }
    let mut all = host.authorities(namespace);
    let aliases = context
        .registry
        .iter()
        .filter(|other| other.stands_for.as_deref() == Some(host.name.as_str()) && view.imports(other));
    all.extend(aliases.flat_map(|alias| alias.authorities(namespace)));
    all
}

/// Whether it is another name for a host of the same view.
fn has_imported_original(context: &Context<'_>, view: &Egress, host: &Host) -> bool {
    let original = host.stands_for.as_deref().and_then(|name| context.registry.get(name));
    original.is_some_and(|original| view.imports(original))
}

/// The route table of one host's port whose protocol is found out: it serves whatever authority is asked for.
pub(super) fn table_of(
    context: &Context<'_>,
    view: &Egress,
    owners: &[Owner],
    host: &Host,
    port: u16,
) -> RouteTableInputs {
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
            ..unruled(context, view, host, port)
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

/// A table of these virtual hosts, ports in authorities ignored.
pub(super) fn finish(context: &Context<'_>, name: String, virtual_hosts: Vec<VirtualHostInputs>) -> RouteTableInputs {
    RouteTableInputs {
        name,
        virtual_hosts,
        by_port: false,
        default_retries: context.world.mesh.default_http_retry_policy.clone(),
    }
}

pub(super) fn virtual_host(name: &str, domains: Vec<String>, port: u16, routes: Vec<RouteInputs>) -> VirtualHostInputs {
    VirtualHostInputs {
        name: names::virtual_host(name, port),
        domains,
        https_redirect: false,
        routes,
    }
}

/// A host that no VirtualService speaks about.
fn unruled(context: &Context<'_>, view: &Egress, host: &Host, port: u16) -> VirtualHostInputs {
    let route = RouteInputs::Host {
        target: destination::own_target(context, host, port),
        provenance: host.provenance(),
    };
    virtual_host(&host.name, authorities(context, view, host), port, vec![route])
}

/// Hosts that nobody has declared.
pub(super) fn catch_all(context: &Context<'_>) -> VirtualHostInputs {
    let passed = |cluster: &str| {
        let cluster = cluster.to_owned();
        (names::ALLOW_ANY, RouteInputs::Passthrough { cluster })
    };
    let (name, route) = match unknown::of(context) {
        Unknown::Allowed => passed(names::PASSTHROUGH_CLUSTER),
        Unknown::Through(cluster) => passed(&cluster),
        Unknown::Refused => (names::BLOCK_ALL, RouteInputs::Blocked),
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
pub(super) fn one_owner_for_each_domain(hosts: &mut Vec<VirtualHostInputs>) {
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
