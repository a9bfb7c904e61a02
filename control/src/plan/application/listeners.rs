//! The inbound side of a sidecar.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::{clusters, peers, ports};
use crate::plan::Plan;
use crate::plan::context::Context;
use crate::plan::inputs::{ListenerInputs, ListenerKind};
use crate::plan::names;
use crate::scope::Interception;

/// Plans the way into the application: a listener for each port that has a socket of its own, and one that takes all
/// captured connections.
pub(in crate::plan) fn plan(context: &Context<'_>, plan: &mut Plan) {
    let modes = peers::modes(context);
    let served = ports::served(context, &modes);
    let mut captured = peers::named_alone(context, &modes, &served);
    for one in &served {
        let cluster = clusters::application(context, one);
        plan.clusters.insert(cluster.name.clone(), cluster);
        let Some(address) = one.bind else {
            captured.push(one.port.clone());
            continue;
        };
        let kind = ListenerKind::Inbound { port: one.port.clone() };
        let inputs = ListenerInputs {
            provenance: vec![one.port.provenance.clone()],
            ..listener(
                context,
                names::listener(address, one.port.port),
                address,
                one.port.port,
                kind,
            )
        };
        plan.listeners.insert(inputs.name.clone(), inputs);
    }
    if context.scope.interception == Interception::None && captured.is_empty() {
        return;
    }
    let passthrough = clusters::passthrough(context);
    plan.clusters.insert(passthrough.name.clone(), passthrough);
    captured.sort_by_key(|port| port.port);
    let mut seen = BTreeSet::new();
    captured.retain(|port| seen.insert(port.port));
    let kind = ListenerKind::VirtualInbound {
        ports: captured,
        others: peers::peers(modes.others()),
    };
    let port = context.world.mesh.proxy_inbound_listen_port;
    let inputs = listener(
        context,
        names::VIRTUAL_INBOUND.to_owned(),
        Ipv4Addr::UNSPECIFIED.into(),
        port,
        kind,
    );
    plan.listeners.insert(inputs.name.clone(), inputs);
}

fn listener(context: &Context<'_>, name: String, address: IpAddr, port: u16, kind: ListenerKind) -> ListenerInputs {
    let mesh = &context.world.mesh;
    ListenerInputs {
        name,
        address,
        port,
        kind,
        bound: true,
        provenance: Vec::new(),
        path_normalization: mesh.path_normalization,
        detection_timeout: mesh.protocol_detection_timeout,
    }
}
