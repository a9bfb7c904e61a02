//! Gateways: servers → listeners and route tables.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use weft_policies::Object;
use weft_policies::defaults;
use weft_policies::kind::gateway::{Gateway, Server};
use weft_policies::kind::virtual_service::VirtualService;
use weft_policies::labels::selects;
use weft_policies::precedence::{expand_host, subset_of};

use super::context::{Context, Note};
use super::inputs::{ListenerInputs, ListenerKind, Provenance, RouteInputs, RouteTableInputs, VirtualHostInputs};
use super::rules::{self, Binding};
use super::{Plan, codes, names, opaque};
use crate::world::{TargetPort, World};

/// A server of a Gateway that is bound to this proxy.
struct Bound<'a> {
    gateway: &'a Arc<Object<Gateway>>,
    server: &'a Server,
    /// `server.port.number`.
    number: u16,
}

/// What a server speaks, as far as sharing a port goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// HTTP in plain text.
    Http,
    /// Opaque bytes in plain text.
    Tcp,
    /// What needs TLS.
    NotYet,
}

/// Why a server is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeftOut {
    /// An earlier server on its port speaks something else.
    OtherProtocol,
    /// An earlier server on its port takes every connection.
    SecondTcp,
    /// It needs what is not there yet.
    NotYet,
}

/// Plans the listeners and route tables of a gateway.
pub(super) fn plan(context: &Context<'_>, plan: &mut Plan) {
    for ((address, port), servers) in ports(context) {
        if let [only] = servers.as_slice()
            && only.family() == Family::Tcp
        {
            listen(context, plan, address, port, &servers, tcp(context, only));
            continue;
        }
        let routes = match address {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => names::gateway_routes(port),
            // Several addresses may serve one port, each with its own hosts.
            address => format!("{}.{address}", names::gateway_routes(port)),
        };
        plan.routes.insert(routes.clone(), table(context, &routes, &servers));
        let kind = ListenerKind::Gateway {
            routes,
            trusted_proxies: context.world.mesh.default_config.num_trusted_proxies,
        };
        listen(context, plan, address, port, &servers, kind);
    }
}

fn listen(
    context: &Context<'_>,
    plan: &mut Plan,
    address: IpAddr,
    port: u16,
    servers: &[Bound<'_>],
    kind: ListenerKind,
) {
    let name = names::listener(address, port);
    let mesh = &context.world.mesh;
    let inputs = ListenerInputs {
        name: name.clone(),
        address,
        port,
        bound: true,
        kind,
        provenance: servers
            .iter()
            .map(|bound| Provenance::of("Gateway", &bound.gateway.meta))
            .collect(),
        path_normalization: mesh.path_normalization,
        detection_timeout: mesh.protocol_detection_timeout,
    };
    plan.listeners.insert(name, inputs);
}

/// What a plain TCP server does: the first rule that applies, of all VirtualServices that are bound to it.
fn tcp(context: &Context<'_>, bound: &Bound<'_>) -> ListenerKind {
    let (binding, cluster_domain) = (bound.binding(), &context.world.mesh.cluster_domain);
    let policies = context
        .virtual_services
        .iter()
        .filter(|policy| binding.admits(policy) && !bound.domains(policy, cluster_domain).is_empty());
    let (chains, _) = opaque::chains(context, policies, bound.number, &binding);
    ListenerKind::GatewayTcp { chains }
}

/// Servers that are served, by the address and port that the proxy listens on, in order of precedence.
fn ports<'c>(context: &'c Context<'_>) -> BTreeMap<(IpAddr, u16), Vec<Bound<'c>>> {
    let mut taken: BTreeMap<(IpAddr, u16), Family> = BTreeMap::new();
    let mut ports: BTreeMap<(IpAddr, u16), Vec<Bound<'c>>> = BTreeMap::new();
    let scope = context.scope;
    let gateways = context
        .world
        .gateways
        .iter()
        .filter(|gateway| selects(&gateway.spec.selector, &scope.labels));
    for gateway in gateways {
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let bound = Bound {
                gateway,
                server,
                number: u16::try_from(server.port.number).unwrap_or_default(),
            };
            let Some(address) = bound.address(context, index) else {
                continue;
            };
            for port in target_ports(context, bound.number) {
                let family = bound.family();
                let earlier = taken.get(&(address, port)).copied();
                taken.entry((address, port)).or_insert(family);
                if let Some(reason) = left_out(earlier, family) {
                    bound.left_out(context, index, port, reason);
                } else if port < defaults::UNPRIVILEGED_PORT_MIN && !scope.privileged_ports {
                    bound.not_bindable(context, index, port);
                } else {
                    let server = Bound {
                        gateway,
                        server,
                        number: bound.number,
                    };
                    ports.entry((address, port)).or_default().push(server);
                }
            }
        }
    }
    ports
}

/// Why a server is not served on a port that may be taken already: HTTP servers share it, others have it for themselves.
fn left_out(earlier: Option<Family>, family: Family) -> Option<LeftOut> {
    match (earlier, family) {
        (Some(earlier), _) if earlier != family => Some(LeftOut::OtherProtocol),
        (_, Family::NotYet) => Some(LeftOut::NotYet),
        (Some(_), Family::Tcp) => Some(LeftOut::SecondTcp),
        (_, Family::Http | Family::Tcp) => None,
    }
}

/// The ports to listen on for a server's port: the target ports of the Services in front of this proxy that have that
/// port, else the port itself.
fn target_ports(context: &Context<'_>, number: u16) -> Vec<u16> {
    let scope = context.scope;
    let in_front = context.world.services.values().filter(|service| {
        service.namespace == scope.namespace
            && !service.selector.is_empty()
            && selects(&service.selector, &scope.labels)
    });
    let mut ports: Vec<u16> = in_front
        .filter_map(|service| match &service.port(number)?.target {
            TargetPort::Number(number) => Some(*number),
            TargetPort::Named(name) => container_port(context.world, context, name),
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();
    if ports.is_empty() { vec![number] } else { ports }
}

fn container_port(world: &World, context: &Context<'_>, name: &str) -> Option<u16> {
    let scope = context.scope;
    let pod = world
        .pods
        .values()
        .find(|pod| pod.namespace == scope.namespace && pod.name == scope.name)?;
    pod.container_ports
        .iter()
        .find(|port| port.name == name)
        .map(|port| port.number)
}

impl Bound<'_> {
    fn address(&self, context: &Context<'_>, index: usize) -> Option<IpAddr> {
        let Some(bind) = self.server.bind.as_deref().filter(|bind| !bind.is_empty()) else {
            return Some(Ipv4Addr::UNSPECIFIED.into());
        };
        let address = bind.parse().ok();
        if address.is_none() {
            self.note(
                context,
                codes::NO_EFFECT,
                format!("spec.servers[{index}].bind"),
                "only an IP address can be bound here; the server is left out",
                "write an IP address, or leave it out to bind all of them",
            );
        }
        address
    }

    fn family(&self) -> Family {
        let (protocol, tls) = (self.server.port.protocol, self.server.tls.as_ref());
        if protocol.is_http() && tls.is_none_or(|tls| tls.https_redirect) {
            Family::Http
        } else if protocol.is_tcp() && tls.is_none() {
            Family::Tcp
        } else {
            Family::NotYet
        }
    }

    fn https_redirect(&self) -> bool {
        self.server.tls.as_ref().is_some_and(|tls| tls.https_redirect)
    }

    fn left_out(&self, context: &Context<'_>, index: usize, port: u16, reason: LeftOut) {
        let (code, problem, fix) = match reason {
            LeftOut::OtherProtocol => (
                codes::PORT_CONFLICT,
                format!("port {port} is taken by a server of another protocol that comes first"),
                "choose another port",
            ),
            LeftOut::SecondTcp => (
                codes::PORT_CONFLICT,
                format!("port {port} is taken by a TCP server that comes first; they cannot be told apart"),
                "choose another port",
            ),
            LeftOut::NotYet => (
                codes::NO_EFFECT,
                format!(
                    "servers of protocol {} with these settings are not served yet; this one is left out",
                    self.server.port.protocol
                ),
                "serve it in plain text, or take the server out",
            ),
        };
        self.note(context, code, format!("spec.servers[{index}]"), &problem, fix);
    }

    fn not_bindable(&self, context: &Context<'_>, index: usize, port: u16) {
        let problem = format!("port {port} needs rights that this gateway does not have");
        self.note(
            context,
            codes::PRIVILEGED_PORT,
            format!("spec.servers[{index}].port.number"),
            &problem,
            "choose a port from 1024 on, or give the gateway the right to bind it",
        );
    }

    fn note(&self, context: &Context<'_>, code: &'static str, path: String, problem: &str, fix: &str) {
        context.note(Note {
            code,
            kind: "Gateway",
            meta: &self.gateway.meta,
            path,
            problem: problem.to_owned(),
            fix: fix.to_owned(),
        });
    }

    fn binding(&self) -> Binding {
        let meta = &self.gateway.meta;
        Binding::Gateway {
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
        }
    }

    /// The domains that a VirtualService gets on this server: of two overlapping names the narrower.
    fn domains(&self, policy: &Object<VirtualService>, cluster_domain: &str) -> Vec<String> {
        let mut domains = Vec::new();
        for host in &policy.spec.hosts {
            let host = expand_host(host, &policy.meta.namespace, cluster_domain);
            for server in &self.server.hosts {
                if !server.admits(&self.gateway.meta.namespace, &policy.meta.namespace) {
                    continue;
                }
                let offered = server.host.to_ascii_lowercase();
                let domain = if subset_of(&host, &offered) {
                    host.clone()
                } else if subset_of(&offered, &host) {
                    offered
                } else {
                    continue;
                };
                if !domains.contains(&domain) {
                    domains.push(domain);
                }
            }
        }
        domains
    }
}

/// The route table of a port: the VirtualServices of all its servers, merged by domain.
fn table(context: &Context<'_>, name: &str, servers: &[Bound<'_>]) -> RouteTableInputs {
    let mut hosts: Vec<VirtualHostInputs> = Vec::new();
    for bound in servers {
        let binding = bound.binding();
        for policy in context.virtual_services.iter().filter(|policy| binding.admits(policy)) {
            let domains = bound.domains(policy, &context.world.mesh.cluster_domain);
            if domains.is_empty() {
                continue;
            }
            let routes = rules::routes(context, policy, bound.number, &binding);
            for domain in domains {
                merge(&mut hosts, domain, bound, &routes);
            }
        }
        if bound.https_redirect() {
            for server in &bound.server.hosts {
                merge(&mut hosts, server.host.to_ascii_lowercase(), bound, &[]);
            }
        }
    }
    if hosts.is_empty() {
        // Nothing is bound to the port: every host is answered with 404.
        let number = servers.first().map_or(0, |bound| bound.number);
        hosts.push(VirtualHostInputs {
            name: format!("blackhole:{number}"),
            domains: vec!["*".to_owned()],
            https_redirect: false,
            routes: Vec::new(),
        });
    }
    for host in &mut hosts {
        // Stable, so that all else keeps the order of its VirtualServices.
        host.routes.sort_by_key(rules::is_catch_all);
    }
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    RouteTableInputs {
        name: name.to_owned(),
        virtual_hosts: hosts,
        by_port: false,
        default_retries: context.world.mesh.default_http_retry_policy.clone(),
    }
}

/// Appends routes to the virtual host of a domain. A VirtualService may come through several servers; once is enough.
fn merge(hosts: &mut Vec<VirtualHostInputs>, domain: String, bound: &Bound<'_>, routes: &[RouteInputs]) {
    let host = match hosts.iter().position(|host| host.domains.first() == Some(&domain)) {
        Some(at) => &mut hosts[at],
        None => {
            hosts.push(VirtualHostInputs {
                name: names::virtual_host(&domain, bound.number),
                domains: vec![domain],
                https_redirect: false,
                routes: Vec::new(),
            });
            hosts.last_mut().expect("one was pushed")
        }
    };
    host.https_redirect |= bound.https_redirect();
    for route in routes {
        if !host.routes.contains(route) {
            host.routes.push(route.clone());
        }
    }
}
