//! Who may speak to which port of the application.

use std::collections::BTreeSet;

use weft_policies::kind::peer_authentication::MtlsMode;
use weft_policies::kind::protocol::Protocol;
use weft_policies::precedence::{Ignored, PeerModes, peer_modes};

use super::ports::Served;
use crate::plan::context::{Context, Note};
use crate::plan::inputs::{InboundPort, Peers, Provenance};
use crate::plan::{codes, names};
use crate::scope::Interception;

/// What the PeerAuthentications say about this workload.
pub(super) fn modes<'a>(context: &Context<'a>) -> PeerModes<'a> {
    let (world, scope) = (context.world, context.scope);
    let root = &world.mesh.root_namespace;
    let modes = peer_modes(&world.peer_authentications, root, &scope.namespace, &scope.labels);
    for (object, reason) in &modes.ignored {
        let (problem, fix) = match reason {
            Ignored::Older(older) => (
                format!(
                    "is ignored: {}/{} is older and speaks for the same",
                    older.meta.namespace, older.meta.name
                ),
                "keep one of them",
            ),
            Ignored::SelectsInRoot => (
                "is ignored: in the root namespace nothing can be selected".to_owned(),
                "move it to the namespace of the workload, or remove the selector",
            ),
        };
        context.note(Note {
            code: codes::NO_EFFECT,
            kind: "PeerAuthentication",
            meta: &object.meta,
            path: "spec".to_owned(),
            problem,
            fix: fix.to_owned(),
        });
    }
    modes
}

/// Who may speak to a port under a mode.
pub(super) fn peers(mode: MtlsMode) -> Peers {
    match mode {
        MtlsMode::Strict => Peers::Mesh,
        MtlsMode::Unset | MtlsMode::Disable | MtlsMode::Permissive => Peers::Anybody,
    }
}

/// Ports that no Service declares but a PeerAuthentication: passed through as all others, to whom it says (Istio:
/// `listener_inbound.go: buildInboundPassthroughChains`).
pub(super) fn named_alone(context: &Context<'_>, modes: &PeerModes<'_>, served: &[Served]) -> Vec<InboundPort> {
    let own: BTreeSet<u16> = served.iter().map(|one| one.port.port).collect();
    let Some((object, ports)) = modes.by_port() else {
        return Vec::new();
    };
    if context.scope.interception == Interception::None {
        // Nobody comes to a port that nobody has bound.
        return Vec::new();
    }
    let listens = context.world.mesh.proxy_inbound_listen_port;
    let alone = ports
        .filter(|port| !own.contains(port) && *port != listens)
        .map(|port| InboundPort {
            port,
            protocol: Protocol::Detect,
            cluster: names::INBOUND_PASSTHROUGH_CLUSTER.to_owned(),
            service_port: 0,
            operation: ":0/*".to_owned(),
            peers: peers(modes.of(port)),
            retries: None,
            idle_timeout: None,
            duration_max: None,
            provenance: Provenance::of("PeerAuthentication", &object.meta),
        });
    alone.collect()
}
