//! Rules for opaque connections → the chains of a listener.

use std::net::IpAddr;
use std::sync::Arc;

use weft_policies::Object;
use weft_policies::kind::virtual_service::{L4Match, RouteDestination, VirtualService};
use weft_policies::labels::selects;
use weft_policies::precedence::{expand_host, hosts_match};

use super::context::{Context, Note};
use super::egress::Egress;
use super::inputs::{Network, OpaqueInputs, OpaqueRule, Provenance};
use super::registry::{Host, Port};
use super::rules::Binding;
use super::{codes, destination, names};

/// The chains that rules of these VirtualServices make on a port, and whether one of them takes every connection.
///
/// Rules are tried in order: the first without a condition on the address ends the list, the others become chains for
/// their networks (Istio: `tls.go: buildSidecarOutboundTCPFilterChainOpts`).
pub(super) fn chains<'p>(
    context: &Context<'_>,
    policies: impl Iterator<Item = &'p Arc<Object<VirtualService>>>,
    port: u16,
    binding: &Binding,
) -> (Vec<OpaqueInputs>, bool) {
    let mut chains: Vec<OpaqueInputs> = Vec::new();
    for policy in policies {
        for (index, rule) in policy.spec.tcp.iter().enumerate() {
            let applying: Vec<&L4Match> = rule
                .matches
                .iter()
                .filter(|matched| applies(context, policy, matched, port, binding))
                .collect();
            if applying.is_empty() && !rule.matches.is_empty() {
                continue;
            }
            let anywhere = |matched: &&L4Match| matched.destination_subnets.is_empty();
            let takes_all = applying.is_empty() || applying.iter().any(anywhere);
            let mut chain = chain(context, policy, Family::Tcp, index, &rule.route, port);
            if takes_all {
                chains.push(chain);
                return (chains, true);
            }
            let wanted = applying.iter().flat_map(|matched| &matched.destination_subnets);
            for network in wanted.filter_map(|text| Network::parse(text)) {
                if chains.iter().any(|earlier| earlier.networks.contains(&network)) {
                    taken(context, policy, index, network);
                } else if !chain.networks.contains(&network) {
                    chain.networks.push(network);
                }
            }
            if !chain.networks.is_empty() {
                chains.push(chain);
            }
        }
    }
    (chains, false)
}

/// How opaque connections to a host are told apart from others at the same address and port.
#[derive(Clone, Debug, Default)]
pub(super) struct Via {
    /// Networks that clients dial into; empty: the address says enough.
    pub(super) networks: Vec<Network>,
    /// TLS is told apart by the name that clients ask for.
    pub(super) by_name: bool,
}

/// What a sidecar does with opaque connections to a host: by the rules for it, else to the host itself. Ports of the TLS
/// family have rules of another kind.
pub(super) fn of_host(context: &Context<'_>, view: &Egress, host: &Host, port: &Port, via: &Via) -> Vec<OpaqueInputs> {
    let cluster_domain = &context.world.mesh.cluster_domain;
    let means = |policy: &&Arc<Object<VirtualService>>| {
        Binding::Mesh.admits(policy)
            && policy.spec.hosts.iter().any(|written| {
                hosts_match(
                    &host.name,
                    &expand_host(written, &policy.meta.namespace, cluster_domain),
                )
            })
    };
    let policies = view.virtual_services.iter().filter(means);
    let (mut chains, whole) = if port.protocol.is_tls() {
        by_name(context, policies, port.number)
    } else {
        self::chains(context, policies, port.number, &Binding::Mesh)
    };
    for chain in chains.iter_mut().filter(|chain| chain.networks.is_empty()) {
        chain.networks.clone_from(&via.networks);
    }
    if !whole {
        let times = destination::times(context, host, port.number, None);
        let by_name = port.protocol.is_tls() && via.by_name;
        chains.push(OpaqueInputs {
            networks: via.networks.clone(),
            server_names: if by_name {
                names_of(context, view, host)
            } else {
                Vec::new()
            },
            targets: vec![(names::outbound_cluster(port.number, "", &host.name), 1)],
            idle_timeout: times.idle,
            duration_max: times.duration_max,
            rule: None,
        });
    }
    chains
}

/// The chains of rules for TLS, and whether there are any: the host itself is then not reached past them (Istio:
/// `tls.go: buildSidecarOutboundTLSFilterChainOpts`).
fn by_name<'p>(
    context: &Context<'_>,
    policies: impl Iterator<Item = &'p Arc<Object<VirtualService>>>,
    port: u16,
) -> (Vec<OpaqueInputs>, bool) {
    let mut chains = Vec::new();
    let mut any = false;
    for policy in policies {
        for (index, rule) in policy.spec.tls.iter().enumerate() {
            for (nth, matched) in rule.matches.iter().enumerate() {
                if !applies(context, policy, &matched.connection, port, &Binding::Mesh) {
                    continue;
                }
                any = true;
                let networks = matched.connection.destination_subnets.iter();
                let made = OpaqueInputs {
                    networks: networks.filter_map(|text| Network::parse(text)).collect(),
                    server_names: speakable(context, policy, index, nth, &matched.sni_hosts),
                    ..chain(context, policy, Family::Tls, index, &rule.route, port)
                };
                // A name that an earlier rule has taken stays with that one.
                if !made.server_names.is_empty() {
                    merge(&mut chains, made);
                }
            }
        }
    }
    (chains, any)
}

/// Names that a chain can ask for: Envoy knows no `*name`, only `*.name`.
fn speakable(
    context: &Context<'_>,
    policy: &Object<VirtualService>,
    index: usize,
    nth: usize,
    names: &[String],
) -> Vec<String> {
    let (good, bad): (Vec<String>, Vec<String>) = names.iter().cloned().partition(|name| is_speakable(name));
    for name in bad {
        context.note(Note {
            code: codes::NO_EFFECT,
            kind: "VirtualService",
            meta: &policy.meta,
            path: format!("spec.tls[{index}].match[{nth}].sniHosts"),
            problem: format!("{name} cannot be looked for in a handshake"),
            fix: "write *.name".to_owned(),
        });
    }
    good
}

fn is_speakable(name: &str) -> bool {
    !name.starts_with('*') || name.starts_with("*.")
}

/// The names that clients may ask for when they mean a host.
fn names_of(context: &Context<'_>, view: &Egress, host: &Host) -> Vec<String> {
    let aliases = context
        .registry
        .iter()
        .filter(|other| other.stands_for.as_deref() == Some(host.name.as_str()) && view.imports(other));
    let mut names = vec![host.name.clone()];
    for alias in aliases {
        let all = alias.authorities(&context.scope.namespace);
        names.extend(
            all.into_iter()
                .filter(|name| !name.ends_with('.') && name.parse::<IpAddr>().is_err()),
        );
    }
    names.retain(|name| is_speakable(name));
    names
}

/// Adds a chain to those of a listener, without what an earlier one takes: of two chains for the same network and name
/// the first stays, and Envoy would refuse both. Whether nothing was left out.
pub(super) fn merge(chains: &mut Vec<OpaqueInputs>, new: OpaqueInputs) -> bool {
    let taken = |chains: &[OpaqueInputs], network: Option<&Network>, name: Option<&String>| {
        chains.iter().any(|chain| {
            let network_taken = match network {
                None => chain.networks.is_empty(),
                Some(network) => chain.networks.contains(network),
            };
            let name_taken = match name {
                None => chain.server_names.is_empty(),
                Some(name) => chain.server_names.contains(name),
            };
            network_taken && name_taken
        })
    };
    let networks: Vec<Option<Network>> = optional(&new.networks);
    let names: Vec<Option<String>> = optional(&new.server_names);
    let clash = |network: &Option<Network>| names.iter().any(|name| taken(chains, network.as_ref(), name.as_ref()));
    if !networks.iter().any(clash) {
        chains.push(new);
        return true;
    }
    for network in networks {
        let left = names
            .iter()
            .filter(|name| !taken(chains, network.as_ref(), name.as_ref()));
        let left: Vec<Option<String>> = left.cloned().collect();
        if !left.is_empty() {
            chains.push(OpaqueInputs {
                networks: network.into_iter().collect(),
                server_names: left.into_iter().flatten().collect(),
                ..new.clone()
            });
        }
    }
    false
}

fn optional<T: Clone>(list: &[T]) -> Vec<Option<T>> {
    match list {
        [] => vec![None],
        some => some.iter().cloned().map(Some).collect(),
    }
}

/// Where a rule stands in its VirtualService.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Tcp,
    Tls,
}

fn chain(
    context: &Context<'_>,
    policy: &Arc<Object<VirtualService>>,
    family: Family,
    index: usize,
    route: &[RouteDestination],
    port: u16,
) -> OpaqueInputs {
    let family = match family {
        Family::Tcp => "tcp",
        Family::Tls => "tls",
    };
    let path = |nth: usize| format!("spec.{family}[{index}].route[{nth}].destination");
    let targets: Vec<(String, u32)> = route
        .iter()
        .enumerate()
        .map(|(nth, entry)| {
            let target = destination::target(context, &policy.meta, &entry.destination, port, &path(nth));
            (target.cluster, entry.weight)
        })
        .collect();
    // One destination gets everything whatever its weight; of several, those without any get nothing.
    let targets = match <[_; 1]>::try_from(targets) {
        Ok([(cluster, _)]) => vec![(cluster, 1)],
        Err(several) => several.into_iter().filter(|(_, weight)| *weight > 0).collect(),
    };
    let times = route
        .first()
        .map(|first| destination::times_of(context, policy, &first.destination, port))
        .unwrap_or_default();
    let meta = &policy.meta;
    OpaqueInputs {
        networks: Vec::new(),
        server_names: Vec::new(),
        targets,
        idle_timeout: times.idle,
        duration_max: times.duration_max,
        rule: Some(OpaqueRule {
            provenance: Provenance::of("VirtualService", meta),
            index,
            name: format!("{}.{}", meta.name, meta.namespace),
        }),
    }
}

/// Conditions that do not depend on the connection: all have to hold, those on the source beside a list of gateways too
/// (Istio: `tls.go: matchTCP`).
fn applies(
    context: &Context<'_>,
    policy: &Object<VirtualService>,
    matched: &L4Match,
    port: u16,
    binding: &Binding,
) -> bool {
    let scope = context.scope;
    matched.port.is_none_or(|wanted| wanted == u32::from(port))
        && (matched.gateways.is_empty()
            || matched
                .gateways
                .iter()
                .any(|gateway| binding.is(gateway, &policy.meta.namespace)))
        && selects(&matched.source_labels, &scope.labels)
        && matched
            .source_namespace
            .as_ref()
            .is_none_or(|namespace| *namespace == scope.namespace)
}

fn taken(context: &Context<'_>, policy: &Object<VirtualService>, index: usize, network: Network) {
    context.note(Note {
        code: codes::NO_EFFECT,
        kind: "VirtualService",
        meta: &policy.meta,
        path: format!("spec.tcp[{index}].match"),
        problem: format!(
            "connections into {}/{} are taken by an earlier rule for the same network",
            network.address, network.length
        ),
        fix: "remove the network from one of the rules".to_owned(),
    });
}
