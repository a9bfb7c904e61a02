//! The ports of a pod that Services and ServiceEntries lead to.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_policies::kind::protocol::Protocol;
use weft_policies::kind::service_entry::{ServiceEntry, ServicePort as EntryPort};
use weft_policies::labels::selects;
use weft_policies::precedence::by_age;
use weft_policies::{Meta, Object};

use crate::plan::codes;
use crate::plan::context::{Context, Note};
use crate::scope::Scope;
use crate::world::{NamespacedName, Service, ServicePort, TargetPort, World};

/// A port of the pod, with the service port that leads there.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Port of the pod.
    pub(super) port: u16,
    /// Port of the service.
    pub(super) service_port: u16,
    pub(super) protocol: Protocol,
    /// Full name of the host.
    pub(super) host: String,
    /// What Istio calls the object in metadata.
    pub(super) object_name: String,
    /// `Service` or `ServiceEntry`.
    pub(super) kind: &'static str,
    /// The object.
    pub(super) meta: Meta,
}

/// The targets of a pod by port: where several services lead to one port, the oldest decides (Istio:
/// `listener_inbound.go: getFilterChainsByServicePort`).
pub(super) fn targets(context: &Context<'_>) -> BTreeMap<u16, Target> {
    let (world, scope) = (context.world, context.scope);
    let mut all: Vec<Target> = of_services(world, scope);
    all.extend(of_entries(world, scope));
    all.sort_by(older);
    let mut chosen: BTreeMap<u16, Target> = BTreeMap::new();
    for target in all {
        match chosen.get(&target.port) {
            None => _ = chosen.insert(target.port, target),
            Some(first) => conflict(context, first, &target),
        }
    }
    chosen
}

fn older(a: &Target, b: &Target) -> Ordering {
    by_age(&a.meta, &b.meta).then_with(|| a.service_port.cmp(&b.service_port))
}

/// Two protocols for one port: the younger author should know that the other's is in force.
fn conflict(context: &Context<'_>, first: &Target, other: &Target) {
    if first.protocol == other.protocol {
        return;
    }
    context.note(Note {
        code: codes::INBOUND_PORT_CONFLICT,
        kind: other.kind,
        meta: &other.meta,
        path: "spec.ports".to_owned(),
        problem: format!(
            "port {} leads to port {} of the pod, which speaks {} as {}/{}/{} declares it, not {}",
            other.service_port,
            other.port,
            first.protocol,
            first.kind,
            first.meta.namespace,
            first.meta.name,
            other.protocol
        ),
        fix: "give both ports one protocol".to_owned(),
    });
}

/// Services of the pod's namespace that select it; and those without a selector whose endpoints have its address.
fn of_services(world: &World, scope: &Scope) -> Vec<Target> {
    let own = world
        .services
        .values()
        .filter(|service| service.external_name.is_none());
    let ports = own.flat_map(|service| {
        let endpoint = endpoint_ports(world, scope, service);
        let numbers = service.ports.iter().filter_map(move |port| {
            let number = number(world, scope, service, port, endpoint.as_ref())?;
            Some(of_service(service, port, number))
        });
        numbers.collect::<Vec<_>>()
    });
    ports.filter(|target| target.protocol != Protocol::Udp).collect()
}

/// Whether one of these services leads to other ports of the pod in `new` than in `old`, by its endpoints alone.
pub(in crate::plan) fn moved(old: &World, new: &World, scope: &Scope, services: &BTreeSet<NamespacedName>) -> bool {
    services
        .iter()
        .filter_map(|name| new.services.get(name))
        .any(|service| {
            let [before, after] = [old, new].map(|world| {
                let endpoint = endpoint_ports(world, scope, service);
                let number = |port: &ServicePort| number(world, scope, service, port, endpoint.as_ref());
                service.ports.iter().map(number).collect::<Vec<_>>()
            });
            before != after
        })
}

/// The port of the pod that a service port leads to; `None` if it does not lead to this pod.
fn number(
    world: &World,
    scope: &Scope,
    service: &Service,
    port: &ServicePort,
    endpoint: Option<&BTreeMap<String, u16>>,
) -> Option<u16> {
    let listed = || endpoint?.get(&port.name).copied();
    if !selects_scope(service, scope) {
        return service.selector.is_empty().then(listed).flatten();
    }
    match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Named(name) => {
            let pod = scope.pod(world);
            let declared = pod
                .as_ref()
                .and_then(|pod| pod.container_ports.iter().find(|port| port.name == *name));
            declared.map(|port| port.number).or_else(listed)
        }
    }
}

fn selects_scope(service: &Service, scope: &Scope) -> bool {
    service.namespace == scope.namespace && !service.selector.is_empty() && selects(&service.selector, &scope.labels)
}

/// What the endpoints of a service say about this pod's ports.
fn endpoint_ports(world: &World, scope: &Scope, service: &Service) -> Option<BTreeMap<String, u16>> {
    let endpoints = world
        .endpoints
        .get(&NamespacedName::new(&service.namespace, &service.name))?;
    let own = endpoints
        .iter()
        .find(|endpoint| endpoint.address == scope.ip && *endpoint.labels == scope.labels)?;
    Some(own.ports.clone())
}

fn of_service(service: &Service, port: &ServicePort, number: u16) -> Target {
    Target {
        port: number,
        service_port: port.number,
        protocol: port.protocol,
        host: service.hostname.to_ascii_lowercase(),
        object_name: service.name.clone(),
        kind: "Service",
        meta: service.meta(),
    }
}

/// ServiceEntries of the pod's namespace that select it, and those that list its address.
fn of_entries(world: &World, scope: &Scope) -> Vec<Target> {
    let mut targets = Vec::new();
    for entry in world.service_entries.iter() {
        for port in &entry.spec.ports {
            let Some(number) = entry_port(entry, scope, port) else {
                continue;
            };
            let Ok(service_port) = u16::try_from(port.number) else {
                continue;
            };
            targets.extend(entry.spec.hosts.iter().map(|host| Target {
                port: number,
                service_port,
                protocol: port.protocol,
                host: host.to_ascii_lowercase(),
                object_name: host.to_ascii_lowercase(),
                kind: "ServiceEntry",
                meta: entry.meta.clone(),
            }));
        }
    }
    targets.retain(|target| target.protocol != Protocol::Udp);
    targets
}

/// The port of the pod that a port of an entry leads to.
fn entry_port(entry: &Arc<Object<ServiceEntry>>, scope: &Scope, port: &EntryPort) -> Option<u16> {
    let target = u16::try_from(port.target_port.unwrap_or(port.number)).ok()?;
    if let Some(selector) = &entry.spec.workload_selector {
        let selected =
            entry.meta.namespace == scope.namespace && !selector.is_empty() && selects(selector, &scope.labels);
        return selected.then_some(target);
    }
    let own = |address: &str| address.parse() == Ok(scope.ip);
    let listed = entry.spec.endpoints.iter().find(|endpoint| own(&endpoint.address))?;
    match listed.ports.get(&port.name) {
        Some(number) => u16::try_from(*number).ok(),
        None => Some(target),
    }
}
