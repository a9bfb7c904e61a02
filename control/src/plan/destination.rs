//! Destinations of rules → clusters.

use std::time::Duration;

use weft_policies::kind::destination::Destination;
use weft_policies::kind::destination_rule::LbPolicy;
use weft_policies::kind::virtual_service::VirtualService;
use weft_policies::precedence::expand_host;
use weft_policies::{Meta, Object};

use super::codes;
use super::context::{Context, Note};
use super::inputs::TargetInputs;
use super::names;
use super::registry::Host;

/// Resolves what a rule of `author` names for requests that came in on `listener_port`. What does not resolve still
/// names a cluster, which does not exist: its requests get 503, and the author a finding at `path`.
pub(super) fn target(
    context: &Context<'_>,
    author: &Meta,
    destination: &Destination,
    listener_port: u16,
    path: &str,
) -> TargetInputs {
    let written = expand_host(&destination.host, &author.namespace, &context.world.mesh.cluster_domain);
    let found = find(context, &written);
    let host = found.map_or(written.as_str(), |host| host.name.as_str());
    let port = port(destination, found, listener_port);
    let subset = destination.subset.as_deref();
    let mut hash = None;
    match unresolved(context, destination, found, port) {
        Some(problem) => context.note(Note {
            code: codes::UNRESOLVED,
            kind: "VirtualService",
            meta: author,
            path: path.to_owned(),
            problem,
            fix: "requests get 503 until it exists".to_owned(),
        }),
        None => hash = found.and_then(|host| hash_key(context, host, port, subset)),
    }
    TargetInputs {
        cluster: names::outbound_cluster(port, subset.unwrap_or_default(), host),
        hash,
    }
}

/// The cluster of the service that takes unknown traffic, and why it does not exist.
pub(super) fn proxy(context: &Context<'_>, destination: &Destination) -> (String, Option<String>) {
    let written = expand_host(
        &destination.host,
        &context.scope.namespace,
        &context.world.mesh.cluster_domain,
    );
    let found = find(context, &written);
    let host = found.map_or(written.as_str(), |host| host.name.as_str());
    // Validation asks for a port.
    let port = port(destination, found, 0);
    let subset = destination.subset.as_deref().unwrap_or_default();
    (
        names::outbound_cluster(port, subset, host),
        unresolved(context, destination, found, port),
    )
}

/// Time limits of opaque connections; `None` is as the protocol has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// Both directions silent for so long; zero never ends a connection.
    pub(super) idle: Option<Duration>,
    /// Age.
    pub(super) duration_max: Option<Duration>,
}

/// The time limits of opaque connections to a port and subset of a host.
pub(super) fn times(context: &Context<'_>, host: &Host, port: u16, subset: Option<&str>) -> Times {
    let rule = context.rule_of(host);
    let policy = context.policy(rule.as_deref(), port, subset);
    let tcp = policy.connection_pool.and_then(|pool| pool.tcp).unwrap_or_default();
    Times {
        idle: tcp.idle_timeout,
        duration_max: tcp.max_connection_duration,
    }
}

/// The same for what a rule of `policy` names.
pub(super) fn times_of(
    context: &Context<'_>,
    policy: &Object<VirtualService>,
    destination: &Destination,
    listener_port: u16,
) -> Times {
    let written = expand_host(
        &destination.host,
        &policy.meta.namespace,
        &context.world.mesh.cluster_domain,
    );
    let Some(host) = find(context, &written) else {
        return Times::default();
    };
    let port = port(destination, Some(host), listener_port);
    times(context, host, port, destination.subset.as_deref())
}

/// What requests to a host of its own port are given.
pub(super) fn own_target(context: &Context<'_>, host: &Host, port: u16) -> TargetInputs {
    let host = real(context, host);
    TargetInputs {
        cluster: names::outbound_cluster(port, "", &host.name),
        hash: hash_key(context, host, port, None),
    }
}

fn find<'c>(context: &'c Context<'_>, name: &str) -> Option<&'c Host> {
    Some(real(context, context.registry.get(name)?))
}

/// The host itself, or the one that it stands for.
fn real<'c>(context: &'c Context<'_>, host: &'c Host) -> &'c Host {
    host.stands_for
        .as_ref()
        .and_then(|real| context.registry.get(real))
        .unwrap_or(host)
}

/// The port stated, else the only one of the host, else that of the listener.
fn port(destination: &Destination, host: Option<&Host>, listener_port: u16) -> u16 {
    let ports = host.map(|host| host.ports.as_slice()).unwrap_or_default();
    if let Some(number) = destination.port {
        // Validation keeps it within range; beyond it no host has such a port.
        return u16::try_from(number).unwrap_or_default();
    }
    if let Some(name) = &destination.port_name {
        return ports
            .iter()
            .find(|port| port.name == *name)
            .map_or(listener_port, |port| port.number);
    }
    match ports {
        [only] => only.number,
        _ => listener_port,
    }
}

fn unresolved(context: &Context<'_>, destination: &Destination, host: Option<&Host>, port: u16) -> Option<String> {
    let Some(host) = host else {
        return Some(format!(
            "host {} is no Service or ServiceEntry that is visible here",
            destination.host
        ));
    };
    if host.port(port).is_none() {
        return Some(format!("{} has no port {port}", host.name));
    }
    let subset = destination.subset.as_deref()?;
    let declared = context
        .rule_of(host)
        .is_some_and(|rule| rule.spec.subsets.iter().any(|declared| declared.name == subset));
    (!declared).then(|| format!("no DestinationRule for {} declares subset {subset}", host.name))
}

fn hash_key(
    context: &Context<'_>,
    host: &Host,
    port: u16,
    subset: Option<&str>,
) -> Option<weft_policies::kind::destination_rule::HashKey> {
    let rule = context.rule_of(host)?;
    match context.policy(Some(&rule), port, subset).load_balancer?.policy {
        LbPolicy::ConsistentHash(hash) => Some(hash.key),
        LbPolicy::Unspecified
        | LbPolicy::LeastRequest
        | LbPolicy::RoundRobin
        | LbPolicy::Random
        | LbPolicy::Passthrough => None,
    }
}
