//! Sidecars, outbound: hosts → listeners and route tables.

use std::net::{IpAddr, Ipv4Addr};

use weft_policies::defaults;
use weft_policies::kind::protocol::Protocol;
use weft_policies::kind::sidecar::{CaptureMode, ListenerPort};

use super::context::{Context, Note};
use super::egress::Egress;
use super::inputs::{ListenerInputs, ListenerKind, Unknown};
use super::registry::{Host, Port};
use super::slots::{Place, Slot, Slots};
use super::virtual_hosts::{self, Owner};
use super::{Plan, codes, forward_proxy, names, unknown};
use crate::scope::Interception;

/// Where bound listeners are that do not say where (Istio).
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Where captured listeners are that no address belongs to.
const ANYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// An egress listener with the owners of its hosts.
struct View<'c> {
    egress: &'c Egress,
    owners: Vec<Owner>,
}

/// Plans the outbound side of a sidecar.
pub(super) fn plan(context: &Context<'_>, plan: &mut Plan) {
    let views: Vec<View<'_>> = context
        .outbound
        .views
        .iter()
        .map(|egress| View {
            egress,
            owners: virtual_hosts::owners(context, egress),
        })
        .collect();
    let mut hosts: Vec<&Host> = context.registry.iter().collect();
    hosts.retain(|host| host.stands_for.is_none());
    hosts.sort_by(|a, b| Host::by_age(a, b));
    let mut slots = Slots::default();
    for (at, view) in views.iter().enumerate() {
        let imported = hosts.iter().copied().filter(|host| view.egress.imports(host));
        let Some(bind) = bind(context, at, view.egress) else {
            continue;
        };
        match &view.egress.port {
            Some(port) => with_port(context, &mut slots, at, bind, port, imported),
            None => without_port(context, plan, &mut slots, at, bind, imported),
        }
    }
    for ((address, port), slot) in slots.into_inner() {
        if slot.bound && port < defaults::UNPRIVILEGED_PORT_MIN && !context.scope.privileged_ports {
            privileged(context, slot.view, port);
            continue;
        }
        listen(context, plan, &views, address, port, slot);
    }
    http_proxy(context, plan, &views);
    capture(context, plan);
}

/// Where the listeners of an egress listener are.
#[derive(Clone, Copy, Debug)]
struct Bind {
    /// Unset: at the addresses of the hosts.
    address: Option<IpAddr>,
    bound: bool,
}

/// Where an egress listener listens; `None` if nowhere. Without capture every listener has a socket of its own, and the
/// one without port has none unless it says where: applications reach its hosts through the HTTP proxy.
fn bind(context: &Context<'_>, at: usize, egress: &Egress) -> Option<Bind> {
    let captures = context.scope.interception != Interception::None;
    let bound = !captures || egress.capture_mode == CaptureMode::None;
    let address = match &egress.bind {
        None if bound && egress.port.is_none() && !captures => return None,
        None => bound.then_some(LOCALHOST),
        Some(text) => match text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                note(
                    context,
                    at,
                    "bind",
                    codes::NO_EFFECT,
                    "is a unix socket, which is not listened on yet".into(),
                    "write an IP address",
                );
                return None;
            }
        },
    };
    Some(Bind { address, bound })
}

/// An egress listener with a port: it speaks what it states, whatever its hosts declare.
fn with_port<'c>(
    context: &Context<'c>,
    slots: &mut Slots<'c>,
    at: usize,
    bind: Bind,
    port: &ListenerPort,
    imported: impl Iterator<Item = &'c Host>,
) {
    let Ok(number) = u16::try_from(port.number) else {
        return;
    };
    if port.protocol == Protocol::HttpProxy {
        slots.forward_proxy(bind.address.unwrap_or(ANYWHERE), number, at, bind.bound);
        return;
    }
    let hosts: Vec<&Host> = imported.filter(|host| host.port(number).is_some()).collect();
    if hosts.is_empty() {
        let problem = format!("no host that is imported here has port {number}, so nothing listens on it");
        let fix = "import a host with this port, or choose the port of one that is imported";
        note(context, at, "hosts", codes::UNRESOLVED, problem, fix);
    }
    for host in &hosts {
        let Some(declared) = host.port(number) else { continue };
        let spoken = Port {
            protocol: port.protocol,
            ..declared.clone()
        };
        let places = match bind.address {
            Some(address) => vec![Place::at(address).by_name(hosts.len() > 1)],
            None => Place::of(host, spoken.protocol),
        };
        slots.offer(context, at, host, &spoken, places, bind.bound);
    }
}

/// The egress listener without a port: everything that no other has taken.
fn without_port<'c>(
    context: &Context<'c>,
    plan: &mut Plan,
    slots: &mut Slots<'c>,
    at: usize,
    bind: Bind,
    imported: impl Iterator<Item = &'c Host>,
) {
    slots.lock();
    for host in imported {
        for port in &host.ports {
            let places = match bind.address {
                Some(address) => vec![Place::at(address).by_name(true)],
                None if host.is_headless() && !port.protocol.is_http() => {
                    plan.endpoint_listeners.extend(host.service_name());
                    endpoint_places(context, host, port)
                }
                None => Place::of(host, port.protocol),
            };
            slots.offer(context, at, host, port, places, bind.bound);
        }
    }
}

/// Clients of a headless service dial its endpoints: each gets a listener, but for the proxy's own pod, which reaches
/// itself without (Istio: `listener.go: buildSidecarOutboundListeners`).
fn endpoint_places(context: &Context<'_>, host: &Host, port: &Port) -> Vec<Place> {
    let endpoints = host.service_name().and_then(|name| context.world.endpoints.get(&name));
    let endpoints = endpoints.into_iter().flat_map(|endpoints| endpoints.iter());
    endpoints
        .filter(|endpoint| endpoint.ports.contains_key(&port.name) && endpoint.address != context.scope.ip)
        .map(|endpoint| Place::at(endpoint.address))
        .collect()
}

fn listen(context: &Context<'_>, plan: &mut Plan, views: &[View<'_>], address: IpAddr, port: u16, slot: Slot<'_>) {
    let unknown = match unknown::of(context) {
        // Nobody has dialled anything but this socket: passed through, connections would come back to it.
        Unknown::Allowed if slot.bound => Unknown::Refused,
        unknown => unknown,
    };
    let (name, owner) = table_of(views, slot.view, address, port);
    let view = &views[owner];
    let table = match (slot.http, slot.detected.as_slice()) {
        _ if slot.forward_proxy => Some(forward_proxy::table(context, Some((view.egress, &view.owners)), name)),
        (false, []) => None,
        // The only host there: whatever authority is asked for means it.
        (false, [only]) if !address.is_unspecified() => {
            let own = &views[slot.view];
            Some(virtual_hosts::table_of(context, own.egress, &own.owners, only, port))
        }
        _ => Some(virtual_hosts::table(context, view.egress, &view.owners, name, port)),
    };
    let routes = table.map(|table| {
        let name = table.name.clone();
        plan.routes.insert(name.clone(), table);
        name
    });
    let kind = match routes {
        None => ListenerKind::Tcp {
            chains: slot.opaque,
            unknown,
        },
        Some(routes) if slot.forward_proxy => ListenerKind::HttpProxy { routes },
        Some(routes) if slot.opaque.is_empty() && !address.is_unspecified() => ListenerKind::Http { routes },
        Some(routes) => ListenerKind::Detect {
            routes,
            opaque: slot.opaque,
            unknown,
        },
    };
    let inputs = ListenerInputs {
        bound: slot.bound,
        provenance: slot.provenance,
        ..listener(context, address, port, kind)
    };
    plan.listeners.insert(inputs.name.clone(), inputs);
}

/// The name of the route table of a port number, and the view that it shows: of the first egress listener with that
/// number, else of the one without port. A second listener with the same number has a table of its own.
fn table_of(views: &[View<'_>], view: usize, address: IpAddr, port: u16) -> (String, usize) {
    let has_port = |view: &View<'_>| {
        let stated = view.egress.port.as_ref();
        stated.is_some_and(|stated| stated.number == u32::from(port))
    };
    let owner = views.iter().position(has_port).unwrap_or(view);
    if owner != view && views[view].egress.port.is_some() {
        (names::listener(address, port), view)
    } else {
        (port.to_string(), owner)
    }
}

/// The listener of mesh `proxyHttpPort`. Without capture it is at the pod's address, so that several pods fit on one
/// machine; else where Istio has it.
fn http_proxy(context: &Context<'_>, plan: &mut Plan, views: &[View<'_>]) {
    let Some(port) = context.world.mesh.proxy_http_port else {
        return;
    };
    unknown::tell(context);
    let address = match context.scope.interception {
        Interception::None => context.scope.ip,
        Interception::Redirect | Interception::Tproxy => LOCALHOST,
    };
    let everything = views.iter().find(|view| view.egress.port.is_none());
    let view = everything.map(|view| (view.egress, view.owners.as_slice()));
    let table = forward_proxy::table(context, view, names::HTTP_PROXY.to_owned());
    let inputs = ListenerInputs {
        bound: true,
        ..listener(
            context,
            address,
            port,
            ListenerKind::HttpProxy {
                routes: table.name.clone(),
            },
        )
    };
    if !plan.listeners.contains_key(&inputs.name) {
        plan.routes.insert(table.name.clone(), table);
        plan.listeners.insert(inputs.name.clone(), inputs);
    }
}

/// The listener at which captured connections arrive.
fn capture(context: &Context<'_>, plan: &mut Plan) {
    if context.scope.interception == Interception::None {
        return;
    }
    let kind = ListenerKind::VirtualOutbound {
        unknown: unknown::of(context),
    };
    let inputs = ListenerInputs {
        name: names::VIRTUAL_OUTBOUND.to_owned(),
        bound: true,
        ..listener(context, ANYWHERE, context.world.mesh.proxy_listen_port, kind)
    };
    plan.listeners.insert(inputs.name.clone(), inputs);
}

fn listener(context: &Context<'_>, address: IpAddr, port: u16, kind: ListenerKind) -> ListenerInputs {
    let mesh = &context.world.mesh;
    ListenerInputs {
        name: names::listener(address, port),
        address,
        port,
        bound: false,
        kind,
        provenance: Vec::new(),
        path_normalization: mesh.path_normalization,
        detection_timeout: mesh.protocol_detection_timeout,
    }
}

fn privileged(context: &Context<'_>, at: usize, port: u16) {
    let problem = format!("port {port} cannot be bound by a proxy without rights");
    let fix = "choose a port from 1024 on, or give the proxy the right to bind it";
    note(context, at, "port.number", codes::PRIVILEGED_PORT, problem, fix);
}

fn note(context: &Context<'_>, at: usize, field: &str, code: &'static str, problem: String, fix: &str) {
    // Without a Sidecar object there is nobody to tell: its only listener is captured and imports everything.
    if let Some(sidecar) = &context.outbound.sidecar {
        context.note(Note {
            code,
            kind: "Sidecar",
            meta: &sidecar.meta,
            path: format!("spec.egress[{at}].{field}"),
            problem,
            fix: fix.to_owned(),
        });
    }
}
