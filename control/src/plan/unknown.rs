//! What becomes of destinations that nobody has declared, and what their authors should know about it.

use weft_policies::kind::sidecar::OutboundMode;
use weft_policies::{Meta, Origin};

use super::context::{Context, Note};
use super::inputs::Unknown;
use super::{codes, destination};
use crate::scope::Interception;

/// What becomes of them, as the Sidecar or else the mesh says.
pub(super) fn of(context: &Context<'_>) -> Unknown {
    match context.outbound.mode {
        OutboundMode::RegistryOnly => return Unknown::Refused,
        OutboundMode::AllowAny => {}
    }
    let sidecar = context.outbound.sidecar.as_ref();
    let policy = sidecar.and_then(|sidecar| sidecar.spec.outbound_traffic_policy.as_ref());
    match policy.and_then(|policy| policy.egress_proxy.as_ref()).zip(sidecar) {
        Some((proxy, sidecar)) => {
            let (cluster, problem) = destination::proxy(context, proxy);
            if let Some(problem) = problem {
                context.note(Note {
                    code: codes::UNRESOLVED,
                    kind: "Sidecar",
                    meta: &sidecar.meta,
                    path: "spec.outboundTrafficPolicy.egressProxy".to_owned(),
                    problem,
                    fix: "unknown destinations fail until it exists".to_owned(),
                });
            }
            Unknown::Through(cluster)
        }
        None => Unknown::Allowed,
    }
}

/// Without capture nobody knows which address was meant: what is not declared cannot be passed through, as with Istio.
pub(super) fn tell(context: &Context<'_>) {
    if context.scope.interception != Interception::None || of(context) != Unknown::Allowed {
        return;
    }
    let mesh = Meta {
        name: "istio".to_owned(),
        namespace: context.world.mesh.root_namespace.clone(),
        labels: Default::default(),
        annotations: Default::default(),
        created: None,
        generation: 0,
        origin: Origin {
            file: "mesh".into(),
            line: 0,
        },
    };
    let sidecar = context.outbound.sidecar.as_ref();
    let sidecar = sidecar.filter(|sidecar| sidecar.spec.outbound_traffic_policy.is_some());
    let (kind, meta, path) = match sidecar {
        Some(sidecar) => ("Sidecar", &sidecar.meta, "spec.outboundTrafficPolicy"),
        None => ("ConfigMap", &mesh, "outboundTrafficPolicy"),
    };
    context.note(Note {
        code: codes::NO_EFFECT,
        kind,
        meta,
        path: path.to_owned(),
        problem: "ALLOW_ANY lets nothing through to a proxy that captures no connections: requests to hosts that \
                  nobody has declared get 503"
            .to_owned(),
        fix: "declare them by a ServiceEntry".to_owned(),
    });
}
