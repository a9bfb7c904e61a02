//! The ports of a pod that its sidecar serves by name: those of a Sidecar's `ingress` alone, or else those that Services
//! lead to.

use std::net::{IpAddr, SocketAddr};

use weft_policies::defaults::{ADMIN_PORT, UNPRIVILEGED_PORT_MIN};
use weft_policies::kind::connection_pool::ConnectionPool;
use weft_policies::kind::protocol::Protocol;
use weft_policies::kind::sidecar::{CaptureMode, IngressListener, Sidecar};
use weft_policies::precedence::PeerModes;
use weft_policies::{Meta, Object};

use super::targets::{self, Target};
use super::{limits, peers, place};
use crate::plan::context::{Context, Note};
use crate::plan::inputs::{ApplicationAddress, HostFacts, InboundPort, Peers, Provenance};
use crate::plan::{codes, names};
use crate::scope::Interception;

/// A port, who serves it and what is behind it.
pub(super) struct Served {
    pub(super) port: InboundPort,
    /// Address that a socket of its own is bound to; `None`: its connections are captured.
    pub(super) bind: Option<IpAddr>,
    pub(super) application: ApplicationAddress,
    pub(super) host: HostFacts,
    pub(super) limits: Option<ConnectionPool>,
    /// The object that sets the limits.
    pub(super) rule: Option<Provenance>,
}

/// The ports that are served, by number.
pub(super) fn served(context: &Context<'_>, modes: &PeerModes<'_>) -> Vec<Served> {
    let scope = context.scope;
    let sidecar = context.outbound.sidecar.as_ref();
    let targets = targets::targets(context);
    let mut served: Vec<Served> = match sidecar {
        Some(sidecar) if !sidecar.spec.ingress.is_empty() => {
            let listeners = sidecar.spec.ingress.iter().enumerate();
            listeners
                .filter_map(|(index, listener)| {
                    let number = u16::try_from(listener.port.number).ok()?;
                    of_ingress(context, sidecar, index, listener, targets.get(&number))
                })
                .collect()
        }
        _ => {
            let Some(address) = place::of_ports(context) else {
                return Vec::new();
            };
            let bind = (scope.interception == Interception::None).then_some(scope.ip);
            let sidecar = sidecar.map(|sidecar| &**sidecar);
            let all = targets.values().filter(|target| {
                let problem = refusal(context, target.port, bind);
                if let Some(problem) = &problem {
                    note(
                        context,
                        target.kind,
                        &target.meta,
                        "spec.ports".to_owned(),
                        problem.clone(),
                    );
                }
                problem.is_none()
            });
            let all = all.map(|target| {
                let limits = limits::of(context, sidecar, None, Some(target));
                of_target(context, target, bind, address(target.port), limits)
            });
            all.collect()
        }
    };
    for one in &mut served {
        one.port.peers = peers::peers(modes.of(one.port.port));
    }
    served
}

fn of_target(
    context: &Context<'_>,
    target: &Target,
    bind: Option<IpAddr>,
    application: ApplicationAddress,
    limits: limits::Limits,
) -> Served {
    let provenance = Provenance::of(target.kind, &target.meta);
    let (port, protocol) = (target.port, target.protocol);
    served_port(
        context,
        port,
        protocol,
        bind,
        application,
        limits,
        facts(target),
        provenance,
    )
}

fn facts(target: &Target) -> HostFacts {
    HostFacts {
        host: target.host.clone(),
        name: target.object_name.clone(),
        namespace: target.meta.namespace.clone(),
        port: target.service_port,
        protocol: target.protocol,
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "each is a fact of its own, and both callers know all of them"
)]
fn served_port(
    context: &Context<'_>,
    number: u16,
    protocol: Protocol,
    bind: Option<IpAddr>,
    application: ApplicationAddress,
    (limits, rule): limits::Limits,
    host: HostFacts,
    provenance: Provenance,
) -> Served {
    let tcp = limits.as_ref().and_then(|limits| limits.tcp.as_ref());
    Served {
        port: InboundPort {
            port: number,
            protocol,
            cluster: names::inbound_cluster(number),
            service_port: host.port,
            operation: format!("{}:{}/*", host.host, host.port),
            peers: Peers::default(),
            retries: context.world.mesh.default_inbound_http_retry_policy.clone(),
            idle_timeout: tcp.and_then(|tcp| tcp.idle_timeout),
            duration_max: tcp.and_then(|tcp| tcp.max_connection_duration),
            provenance,
        },
        bind,
        application,
        host,
        limits,
        rule,
    }
}

/// A port that a Sidecar lists (Istio: `listener_inbound.go: buildInboundChainConfigs`).
fn of_ingress(
    context: &Context<'_>,
    sidecar: &Object<Sidecar>,
    index: usize,
    listener: &IngressListener,
    target: Option<&Target>,
) -> Option<Served> {
    let number = u16::try_from(listener.port.number).ok()?;
    let path = |field: &str| format!("spec.ingress[{index}].{field}");
    if listener.tls.is_some() {
        let problem = "is not acted upon yet: TLS on this port is not taken off";
        ingress_note(context, sidecar, path("tls"), problem.to_owned(), "");
    }
    let bind = bind(context, listener);
    if let Some(problem) = refusal(context, number, bind) {
        note(context, "Sidecar", &sidecar.meta, path("port.number"), problem);
        return None;
    }
    let application = match application_of(context, listener, number, bind) {
        Ok(application) => application,
        Err(problem) => {
            let fix = "name the address at which the application listens";
            ingress_note(context, sidecar, path("defaultEndpoint"), problem, fix);
            return None;
        }
    };
    let limits = limits::of(context, Some(sidecar), Some(listener), target);
    let host = match target {
        Some(target) => HostFacts {
            protocol: listener.port.protocol,
            ..facts(target)
        },
        None => HostFacts {
            host: format!("{}.{}", sidecar.meta.name, sidecar.meta.namespace),
            name: sidecar.meta.name.clone(),
            namespace: sidecar.meta.namespace.clone(),
            port: number,
            protocol: listener.port.protocol,
        },
    };
    let provenance = Provenance::of("Sidecar", &sidecar.meta);
    let protocol = listener.port.protocol;
    Some(served_port(
        context,
        number,
        protocol,
        bind,
        application,
        limits,
        host,
        provenance,
    ))
}

/// The address of an ingress listener with a socket of its own (Istio: `getBindToPort`, `getSidecarInboundBindIP`).
fn bind(context: &Context<'_>, listener: &IngressListener) -> Option<IpAddr> {
    let bound = match listener.capture_mode {
        CaptureMode::None => true,
        CaptureMode::Iptables => false,
        CaptureMode::Default => context.scope.interception == Interception::None,
    };
    // Validation has let nothing but addresses through.
    let stated = || listener.bind.as_deref().and_then(|text| text.parse().ok());
    bound.then(|| stated().unwrap_or(context.scope.ip))
}

/// `defaultEndpoint`: `127.0.0.1:p` is the machine itself, `0.0.0.0:p` the pod, `unix://…` a socket; nothing is the address
/// that clients dialled.
fn application_of(
    context: &Context<'_>,
    listener: &IngressListener,
    number: u16,
    bind: Option<IpAddr>,
) -> Result<ApplicationAddress, String> {
    let scope = context.scope;
    let address = match listener.default_endpoint.as_deref() {
        None if bind.is_none() => return Ok(ApplicationAddress::AsDialled),
        None => match place::own_address(context) {
            Some(address) => SocketAddr::new(address, number),
            None => return Err("is not set, and where the application listens is not known".to_owned()),
        },
        Some(text) => match (text.strip_prefix("unix://"), text.parse::<SocketAddr>()) {
            (Some(path), _) => return Ok(ApplicationAddress::Socket(path.to_owned())),
            (None, Ok(address)) if address.ip().is_unspecified() => SocketAddr::new(scope.ip, address.port()),
            (None, Ok(address)) => address,
            (None, Err(_)) => return Err(format!("{text} is no address")),
        },
    };
    let own = |bind: IpAddr| (bind == address.ip() || bind.is_unspecified()) && address.port() == number;
    match bind {
        Some(bind) if own(bind) => Err(format!("is {address}, where the sidecar itself listens")),
        _ => Ok(ApplicationAddress::Tcp(address)),
    }
}

/// Why a port is left out: the proxy needs it for itself, or is not allowed to bind it.
fn refusal(context: &Context<'_>, number: u16, bind: Option<IpAddr>) -> Option<String> {
    let mesh = &context.world.mesh;
    let reserved = match bind {
        None => number == mesh.proxy_listen_port || number == mesh.proxy_inbound_listen_port,
        Some(_) => mesh.proxy_http_port == Some(number) || number == ADMIN_PORT,
    };
    if reserved {
        return Some(format!(
            "port {number} of the pod belongs to the proxy, so nothing is served there"
        ));
    }
    let forbidden = bind.is_some() && number < UNPRIVILEGED_PORT_MIN && !context.scope.privileged_ports;
    forbidden.then(|| format!("the proxy may not bind port {number}, so nothing is served there"))
}

fn note(context: &Context<'_>, kind: &'static str, meta: &Meta, path: String, problem: String) {
    context.note(Note {
        code: codes::INBOUND_PORT_CONFLICT,
        kind,
        meta,
        path,
        problem,
        fix: "choose another port".to_owned(),
    });
}

fn ingress_note(context: &Context<'_>, sidecar: &Object<Sidecar>, path: String, problem: String, fix: &str) {
    context.note(Note {
        code: codes::NO_EFFECT,
        kind: "Sidecar",
        meta: &sidecar.meta,
        path,
        problem,
        fix: fix.to_owned(),
    });
}
