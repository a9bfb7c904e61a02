//! Where the application of a pod is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use weft_policies::mesh::InboundTrafficMode;
use weft_policies::{Meta, labels};

use crate::plan::codes;
use crate::plan::context::{Context, Note};
use crate::plan::inputs::ApplicationAddress;
use crate::scope::Interception;

/// Where the application is for ports of Services: at the address that clients dialled, or at one of its own. `None`: the
/// sidecar cannot tell it from itself.
pub(super) fn of_ports(context: &Context<'_>) -> Option<impl Fn(u16) -> ApplicationAddress> {
    let address = match context.scope.interception {
        // What is dialled is the sidecar itself: forwarding there would come back to it.
        Interception::None => Some(own_address(context)?),
        Interception::Redirect | Interception::Tproxy => match context.world.mesh.inbound_traffic_policy {
            InboundTrafficMode::Passthrough => None,
            InboundTrafficMode::Localhost => Some(localhost(context.scope.ip)),
        },
    };
    Some(move |port| match address {
        Some(address) => ApplicationAddress::Tcp(SocketAddr::new(address, port)),
        None => ApplicationAddress::AsDialled,
    })
}

/// The address of an application whose traffic is not captured: what its Pod says, else that of the machine itself.
pub(super) fn own_address(context: &Context<'_>) -> Option<IpAddr> {
    let own = context.scope.ip;
    let stated = context.scope.pod(context.world).and_then(|pod| {
        let stated = pod.application_address.as_ref()?;
        let problem = match stated {
            Ok(address) if *address != own => return Some(*address),
            Ok(address) => format!("is {address}, where the sidecar itself listens"),
            Err(text) => format!("is {text:?}, which is no IP address"),
        };
        note(context, &pod, problem);
        None
    });
    let address = stated.unwrap_or_else(|| localhost(own));
    if address == own {
        if let Some(pod) = context.scope.pod(context.world) {
            let problem = format!("is not set, and the sidecar itself is at {own}, so that nothing is served for it");
            note(context, &pod, problem);
        }
        return None;
    }
    Some(address)
}

/// The loopback address of the same family.
pub(super) fn localhost(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

fn note(context: &Context<'_>, pod: &crate::world::Pod, problem: String) {
    let meta = Meta {
        name: pod.name.clone(),
        namespace: pod.namespace.clone(),
        labels: Default::default(),
        annotations: Default::default(),
        created: None,
        generation: 0,
        origin: pod.origin.clone(),
    };
    context.note(Note {
        code: codes::APPLICATION_ADDRESS,
        kind: "Pod",
        meta: &meta,
        path: format!("metadata.annotations[{}]", labels::APPLICATION_ADDRESS),
        problem,
        fix: "name the IP address at which the application listens, another than that of the pod".to_owned(),
    });
}
