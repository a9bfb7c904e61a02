//! Clusters that stand for the application.

use std::net::IpAddr;

use weft_policies::defaults;
use weft_policies::kind::connection_pool::{ConnectionPool, H2UpgradePolicy, HttpSettings};
use weft_policies::kind::destination_rule::TrafficPolicy;

use super::ports::Served;
use crate::plan::context::Context;
use crate::plan::inputs::{ApplicationAddress, ClusterInputs, ClusterKind, MeshFacts};
use crate::plan::{clusters, names};
use crate::scope::Interception;

/// The cluster of a port.
pub(super) fn application(context: &Context<'_>, served: &Served) -> ClusterInputs {
    ClusterInputs {
        name: served.port.cluster.clone(),
        kind: ClusterKind::Application(served.application.clone()),
        source: source(context, &served.application),
        host: Some(served.host.clone()),
        subset: None,
        policy: policy(served.limits.clone()),
        rule: served.rule.clone(),
        mesh: facts(context),
    }
}

/// The cluster of all ports that nobody has declared.
pub(super) fn passthrough(context: &Context<'_>) -> ClusterInputs {
    let dialled = ApplicationAddress::AsDialled;
    ClusterInputs {
        name: names::INBOUND_PASSTHROUGH_CLUSTER.to_owned(),
        source: source(context, &dialled),
        kind: ClusterKind::Application(dialled),
        host: None,
        subset: None,
        policy: TrafficPolicy::default(),
        rule: None,
        mesh: facts(context),
    }
}

/// Upgrades are a client's business: the application is spoken to as its port declares.
fn policy(limits: Option<ConnectionPool>) -> TrafficPolicy {
    let limits = limits.map(|limits| ConnectionPool {
        http: limits.http.map(|http| HttpSettings {
            h2_upgrade_policy: H2UpgradePolicy::DoNotUpgrade,
            use_client_protocol: false,
            ..http
        }),
        ..limits
    });
    TrafficPolicy {
        connection_pool: limits,
        ..TrafficPolicy::default()
    }
}

fn facts(context: &Context<'_>) -> MeshFacts {
    MeshFacts {
        h2_upgrade: false,
        ..clusters::facts(context)
    }
}

/// What is captured must not be captured again: the redirection of a pod leaves connections from this address alone, and
/// those to the machine itself.
fn source(context: &Context<'_>, application: &ApplicationAddress) -> Option<IpAddr> {
    let captured = context.scope.interception != Interception::None;
    let to_pod = match application {
        ApplicationAddress::AsDialled => true,
        ApplicationAddress::Tcp(address) => !address.ip().is_loopback(),
        ApplicationAddress::Socket(_) => false,
    };
    let source = match context.scope.ip {
        IpAddr::V4(_) => Some(IpAddr::V4(defaults::INBOUND_SOURCE)),
        IpAddr::V6(_) => Some(IpAddr::V6(defaults::INBOUND_SOURCE_V6)),
    };
    source.filter(|_| captured && to_pod)
}
