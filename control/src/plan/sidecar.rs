//! Sidecars, outbound: hosts → listeners and route tables.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use weft_policies::kind::sidecar::OutboundMode;
use weft_policies::labels::selects;

use super::context::{Context, Note};
use super::inputs::{ListenerInputs, ListenerKind, OpaqueInputs, Provenance, Unknown};
use super::registry::{Host, Port};
use super::virtual_hosts::{self, Owner};
use super::{Plan, codes, names, opaque};
use weft_policies::kind::protocol::Protocol;

/// What a port number is used for on the wildcard address.
#[derive(Default)]
struct Wildcard<'c> {
    http: bool,
    /// Hosts whose protocol is found out and that have no address of their own.
    detected: Vec<&'c Host>,
    /// Where opaque bytes go: to the first host without an address; others on the same port are not reachable by it.
    tcp: Option<Vec<OpaqueInputs>>,
}

/// Plans the outbound side of a sidecar.
pub(super) fn plan(context: &Context<'_>, plan: &mut Plan) {
    not_yet(context);
    let owners = virtual_hosts::owners(context);
    let mut wildcard: BTreeMap<u16, Wildcard<'_>> = BTreeMap::new();
    for host in context.registry.iter().filter(|host| host.stands_for.is_none()) {
        for port in &host.ports {
            one_port(context, plan, &owners, &mut wildcard, host, port);
        }
    }
    for (port, used) in wildcard {
        let kind = shared(context, plan, &owners, port, used);
        listen(context, plan, Ipv4Addr::UNSPECIFIED.into(), port, kind, Vec::new());
    }
    let port = context.world.mesh.proxy_listen_port;
    let capture = ListenerInputs {
        name: names::VIRTUAL_OUTBOUND.to_owned(),
        ..listener(
            context,
            Ipv4Addr::UNSPECIFIED.into(),
            port,
            ListenerKind::VirtualOutbound {
                unknown: unknown(context),
            },
        )
    };
    plan.listeners.insert(capture.name.clone(), capture);
}

/// Declared HTTP shares a listener with all others on its port number; the rest has one per virtual address.
fn one_port<'c>(
    context: &Context<'_>,
    plan: &mut Plan,
    owners: &[Owner],
    wildcard: &mut BTreeMap<u16, Wildcard<'c>>,
    host: &'c Host,
    port: &Port,
) {
    if port.protocol.is_http() {
        wildcard.entry(port.number).or_default().http = true;
        return;
    }
    let detected = port.protocol == Protocol::Detect;
    if host.addresses.is_empty() {
        let used = wildcard.entry(port.number).or_default();
        if detected {
            used.detected.push(host);
        }
        used.tcp.get_or_insert_with(|| opaque::of_host(context, host, port));
        return;
    }
    let kind = if detected {
        let table = virtual_hosts::table_of(context, owners, host, port.number);
        let routes = table.name.clone();
        plan.routes.insert(routes.clone(), table);
        ListenerKind::Detect {
            routes,
            opaque: opaque::of_host(context, host, port),
            unknown: unknown(context),
        }
    } else {
        ListenerKind::Tcp {
            chains: opaque::of_host(context, host, port),
        }
    };
    for address in &host.addresses {
        listen(
            context,
            plan,
            *address,
            port.number,
            kind.clone(),
            vec![host.provenance()],
        );
    }
}

/// The listener that all hosts on a port number share. What is no HTTP on it goes where it was going, unless a host
/// without an address takes it.
fn shared(context: &Context<'_>, plan: &mut Plan, owners: &[Owner], port: u16, used: Wildcard<'_>) -> ListenerKind {
    let table = match (used.http, used.detected.as_slice(), &used.tcp) {
        (false, [], Some(chains)) => return ListenerKind::Tcp { chains: chains.clone() },
        // The only host on the port: whatever authority is asked for means it.
        (false, [only], _) => virtual_hosts::table_of(context, owners, only, port),
        _ => virtual_hosts::table(context, owners, port),
    };
    let routes = table.name.clone();
    plan.routes.insert(routes.clone(), table);
    ListenerKind::Detect {
        routes,
        opaque: used.tcp.unwrap_or_default(),
        unknown: unknown(context),
    }
}

fn listen(
    context: &Context<'_>,
    plan: &mut Plan,
    address: IpAddr,
    port: u16,
    kind: ListenerKind,
    provenance: Vec<Provenance>,
) {
    let inputs = ListenerInputs {
        provenance,
        ..listener(context, address, port, kind)
    };
    // Two hosts of one address and port: the first keeps it.
    plan.listeners.entry(inputs.name.clone()).or_insert(inputs);
}

fn listener(context: &Context<'_>, address: IpAddr, port: u16, kind: ListenerKind) -> ListenerInputs {
    let mesh = &context.world.mesh;
    ListenerInputs {
        name: names::listener(address, port),
        address,
        port,
        kind,
        provenance: Vec::new(),
        path_normalization: mesh.path_normalization,
        detection_timeout: mesh.protocol_detection_timeout,
    }
}

fn unknown(context: &Context<'_>) -> Unknown {
    match context.world.mesh.outbound_traffic_policy {
        OutboundMode::AllowAny => Unknown::Allowed,
        OutboundMode::RegistryOnly => Unknown::Refused,
    }
}

/// Tells the authors of what this side does not act upon.
fn not_yet(context: &Context<'_>) {
    let (scope, mesh) = (context.scope, &context.world.mesh);
    for sidecar in context.world.sidecars.iter() {
        let meant = sidecar
            .spec
            .workload_selector
            .as_ref()
            .is_none_or(|selector| selects(selector, &scope.labels));
        if meant && [&scope.namespace, &mesh.root_namespace].contains(&&sidecar.meta.namespace) {
            context.note(Note {
                code: codes::NO_EFFECT,
                kind: "Sidecar",
                meta: &sidecar.meta,
                path: "spec".to_owned(),
                problem: "Sidecar objects are not acted upon yet; the proxy keeps the default of its namespace"
                    .to_owned(),
                fix: String::new(),
            });
        }
    }
    for policy in context
        .virtual_services
        .iter()
        .filter(|policy| !policy.spec.tls.is_empty())
    {
        context.note(Note {
            code: codes::NO_EFFECT,
            kind: "VirtualService",
            meta: &policy.meta,
            path: "spec.tls".to_owned(),
            problem: "rules by server name are not acted upon yet".to_owned(),
            fix: String::new(),
        });
    }
}
