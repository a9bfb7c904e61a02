//! What a sidecar imports: the Sidecar object that applies to it → one view of hosts and rules per egress listener.

use std::collections::BTreeSet;
use std::sync::Arc;

use weft_policies::Object;
use weft_policies::kind::sidecar::{
    CaptureMode, EgressHost, EgressListener, EgressNamespace, ListenerPort, OutboundMode, Sidecar,
};
use weft_policies::kind::virtual_service::{HttpAction, VirtualService};
use weft_policies::labels::selects;
use weft_policies::precedence::{expand_host, hosts_match, subset_of};

use super::registry::{Host, Import, Registry};
use crate::scope::{NodeType, Scope};
use crate::world::World;

/// The Sidecar of a proxy, if any, and what it lets through.
pub(super) struct Outbound {
    /// The object; `None` is the default of a namespace, which imports everything.
    pub(super) sidecar: Option<Arc<Object<Sidecar>>>,
    /// Its egress listeners, the one without port last; at least one.
    pub(super) views: Vec<Egress>,
    /// What becomes of unknown destinations.
    pub(super) mode: OutboundMode,
}

/// One egress listener.
pub(super) struct Egress {
    /// Its port; `None` serves whatever no other listener serves.
    pub(super) port: Option<ListenerPort>,
    /// Address or path that it states.
    pub(super) bind: Option<String>,
    /// How traffic arrives.
    pub(super) capture_mode: CaptureMode,
    /// Names of the hosts that it imports; `None` imports all.
    names: Option<BTreeSet<String>>,
    /// VirtualServices that it imports, in the order in which they are tried.
    pub(super) virtual_services: Vec<Arc<Object<VirtualService>>>,
}

impl Egress {
    /// Whether a known host is imported here.
    pub(super) fn imports(&self, host: &Host) -> bool {
        self.names.as_ref().is_none_or(|names| names.contains(&host.name))
    }
}

/// What a proxy imports, and all hosts that it knows by that. `virtual_services` are those that its namespace sees.
pub(super) fn outbound(
    world: &World,
    scope: &Scope,
    virtual_services: &[Arc<Object<VirtualService>>],
) -> (Outbound, Registry) {
    let all = || Registry::visible(world, &scope.namespace, |_| Some(Import::Broad));
    let sidecar = match scope.node_type {
        NodeType::Sidecar => chosen(world, scope),
        NodeType::Router => None,
    };
    let mesh = world.mesh.outbound_traffic_policy;
    let Some(sidecar) = sidecar else {
        let everything = Egress {
            port: None,
            bind: None,
            capture_mode: CaptureMode::Default,
            names: None,
            virtual_services: virtual_services.to_vec(),
        };
        let outbound = Outbound {
            sidecar: None,
            views: vec![everything],
            mode: mesh,
        };
        return (outbound, all());
    };
    let policy = sidecar.spec.outbound_traffic_policy.as_ref();
    let mode = policy.map_or(mesh, |policy| policy.mode);
    let everything = [EgressListener {
        hosts: vec![EgressHost {
            namespace: EgressNamespace::Any,
            host: "*".to_owned(),
        }],
        ..EgressListener::default()
    }];
    let written = match sidecar.spec.egress.as_slice() {
        [] => &everything,
        written => written,
    };
    let mut known = Registry::default();
    let mut views = Vec::new();
    for listener in written {
        let imported = Registry::visible(world, &scope.namespace, |host| {
            import(listener, &host.namespace, &host.name, &scope.namespace)
        });
        let names = imported.iter().map(|host| host.name.clone()).collect();
        known.add(imported);
        views.push(Egress {
            port: listener.port.clone(),
            bind: listener.bind.clone(),
            capture_mode: listener.capture_mode,
            names: Some(names),
            virtual_services: virtual_services
                .iter()
                .filter(|policy| imports_rule(listener, policy, scope, &world.mesh.cluster_domain))
                .cloned()
                .collect(),
        });
    }
    let named = destinations(world, &sidecar, &views, scope);
    known.add_named(all(), named);
    (
        Outbound {
            sidecar: Some(sidecar),
            views,
            mode,
        },
        known,
    )
}

/// The Sidecar that applies: of the proxy's namespace the oldest that selects it, else the oldest that selects all,
/// else that of the root namespace (Istio: `push_context.go: getSidecarScope`). The world holds them oldest first.
fn chosen(world: &World, scope: &Scope) -> Option<Arc<Object<Sidecar>>> {
    let of = |namespace: &str, selecting: bool| {
        world.sidecars.iter().find(|sidecar| {
            sidecar.meta.namespace == *namespace
                && match sidecar
                    .spec
                    .workload_selector
                    .as_ref()
                    .filter(|labels| !labels.is_empty())
                {
                    Some(selector) => selecting && selects(selector, &scope.labels),
                    None => !selecting,
                }
        })
    };
    let own = scope.namespace.as_str();
    of(own, true)
        .or_else(|| of(own, false))
        .or_else(|| of(&world.mesh.root_namespace, false))
        .cloned()
}

/// Whether an egress listener imports a host, and whether it names it. What is left out by `~name` is not imported by
/// any other entry.
fn import(listener: &EgressListener, namespace: &str, name: &str, own: &str) -> Option<Import> {
    let mut found = None;
    for entry in &listener.hosts {
        if !subset_of(name, &entry.host) {
            continue;
        }
        match concerns(&entry.namespace, namespace, own) {
            Concern::Not => {}
            Concern::LeftOut => return None,
            Concern::Broadly => found = found.or(Some(Import::Broad)),
            Concern::ByName if entry.host == name => found = Some(Import::Exact),
            Concern::ByName => found = found.or(Some(Import::Broad)),
        }
    }
    found
}

/// The same for a VirtualService, by its own namespace: either name may cover the other.
fn imports_rule(
    listener: &EgressListener,
    policy: &Object<VirtualService>,
    scope: &Scope,
    cluster_domain: &str,
) -> bool {
    let meta = &policy.meta;
    policy.spec.hosts.iter().any(|written| {
        let host = expand_host(written, &meta.namespace, cluster_domain);
        let concern = |entry: &EgressHost| concerns(&entry.namespace, &meta.namespace, &scope.namespace);
        let fitting = || listener.hosts.iter().filter(|entry| hosts_match(&host, &entry.host));
        fitting().any(|entry| matches!(concern(entry), Concern::Broadly | Concern::ByName))
            && !fitting().any(|entry| concern(entry) == Concern::LeftOut && subset_of(&host, &entry.host))
    })
}

/// What an entry means for a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Concern {
    Not,
    LeftOut,
    Broadly,
    ByName,
}

fn concerns(entry: &EgressNamespace, namespace: &str, own: &str) -> Concern {
    let by_name = |means: bool| if means { Concern::ByName } else { Concern::Not };
    match entry {
        EgressNamespace::Any => Concern::Broadly,
        EgressNamespace::None => Concern::Not,
        EgressNamespace::Own => by_name(namespace == own),
        EgressNamespace::Named(name) => by_name(namespace == name),
        EgressNamespace::Except(name) if namespace == name => Concern::LeftOut,
        EgressNamespace::Except(_) => Concern::Not,
    }
}

/// The hosts that imported rules send to, and the one that unknown traffic goes to: they exist for this proxy, so that
/// its routes resolve, but nobody reaches them by their own name (Istio: `sidecar.go: convertToSidecarScope`).
fn destinations(world: &World, sidecar: &Object<Sidecar>, views: &[Egress], scope: &Scope) -> BTreeSet<String> {
    let domain = &world.mesh.cluster_domain;
    let policies = views.iter().flat_map(|view| &view.virtual_services);
    let mut named = BTreeSet::new();
    let mut of_rules = |policy: &Object<VirtualService>| {
        for host in hosts_of(policy) {
            named.insert(expand_host(host, &policy.meta.namespace, domain));
        }
    };
    for policy in policies {
        of_rules(policy);
    }
    let policy = sidecar.spec.outbound_traffic_policy.as_ref();
    if let Some(proxy) = policy.and_then(|policy| policy.egress_proxy.as_ref()) {
        named.insert(expand_host(&proxy.host, &scope.namespace, domain));
    }
    named
}

fn hosts_of(policy: &Object<VirtualService>) -> impl Iterator<Item = &str> {
    let http = policy.spec.http.iter().flat_map(|rule| {
        let routed = match &rule.action {
            HttpAction::Route(destinations) => destinations.as_slice(),
            HttpAction::Redirect(_) | HttpAction::DirectResponse(_) | HttpAction::Delegate(_) => &[],
        };
        let mirrored = rule.mirrors.iter().map(|mirror| mirror.destination.host.as_str());
        let single = rule.mirror.iter().map(|mirror| mirror.host.as_str());
        routed
            .iter()
            .map(|entry| entry.destination.host.as_str())
            .chain(mirrored)
            .chain(single)
    });
    let tcp = policy.spec.tcp.iter().flat_map(|rule| &rule.route);
    let tls = policy.spec.tls.iter().flat_map(|rule| &rule.route);
    http.chain(tcp.chain(tls).map(|entry| entry.destination.host.as_str()))
}
