//! Rules for opaque connections → the chains of a listener.

use std::net::IpAddr;
use std::sync::Arc;

use weft_policies::Object;
use weft_policies::kind::virtual_service::{L4Match, RouteDestination, VirtualService};
use weft_policies::labels::selects;
use weft_policies::precedence::{expand_host, subset_of};

use super::context::{Context, Note};
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
            let mut chain = chain(context, policy, index, &rule.route, port);
            if takes_all {
                chains.push(chain);
                return (chains, true);
            }
            let wanted = applying.iter().flat_map(|matched| &matched.destination_subnets);
            for network in wanted.filter_map(|text| network(text)) {
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

/// What a sidecar does with opaque connections to a host: by the rules for it, else to the host itself. Ports of the TLS
/// family have rules of another kind.
pub(super) fn of_host(context: &Context<'_>, host: &Host, port: &Port) -> Vec<OpaqueInputs> {
    let cluster_domain = &context.world.mesh.cluster_domain;
    let means = |policy: &&Arc<Object<VirtualService>>| {
        Binding::Mesh.admits(policy)
            && policy.spec.hosts.iter().any(|written| {
                subset_of(
                    &host.name,
                    &expand_host(written, &policy.meta.namespace, cluster_domain),
                )
            })
    };
    let (mut chains, whole) = if port.protocol.is_tls() {
        (Vec::new(), false)
    } else {
        let policies = context.virtual_services.iter().filter(means);
        self::chains(context, policies, port.number, &Binding::Mesh)
    };
    if !whole {
        let times = destination::times(context, host, port.number, None);
        chains.push(OpaqueInputs {
            networks: Vec::new(),
            targets: vec![(names::outbound_cluster(port.number, "", &host.name), 1)],
            idle_timeout: times.idle,
            duration_max: times.duration_max,
            rule: None,
        });
    }
    chains
}

fn chain(
    context: &Context<'_>,
    policy: &Arc<Object<VirtualService>>,
    index: usize,
    route: &[RouteDestination],
    port: u16,
) -> OpaqueInputs {
    let path = |nth: usize| format!("spec.tcp[{index}].route[{nth}].destination");
    let targets: Vec<(String, u32)> = route
        .iter()
        .enumerate()
        .map(|(nth, entry)| {
            let target = destination::target(context, policy, &entry.destination, port, &path(nth));
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

/// An address or a network; validation has let nothing else through.
fn network(text: &str) -> Option<Network> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(bits), |length| length.parse().ok())?;
    Some(Network {
        address: masked(address, length),
        length,
    })
}

/// The network's own address: two spellings of one network must not become two chains, which Envoy refuses.
fn masked(address: IpAddr, length: u8) -> IpAddr {
    let length = u32::from(length);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length)).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length)).unwrap_or(0);
            IpAddr::V6((u128::from(address) & mask).into())
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_known_by_its_own_address() {
        for (text, address, length) in [
            ("10.1.2.3", "10.1.2.3", 32),
            ("10.1.2.3/8", "10.0.0.0", 8),
            ("0.0.0.0/0", "0.0.0.0", 0),
            ("2001:db8::1", "2001:db8::1", 128),
            ("2001:db8::1/32", "2001:db8::", 32),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(network(text), Some(Network { address, length }), "{text}");
        }
    }
}
