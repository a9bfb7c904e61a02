//! Limits towards the application.

use weft_policies::Object;
use weft_policies::kind::connection_pool::ConnectionPool;
use weft_policies::kind::sidecar::{IngressListener, Sidecar};

use super::targets::Target;
use crate::plan::context::{Context, provenance_of};
use crate::plan::inputs::Provenance;

/// The limits of a port, and the object that sets them.
pub(super) type Limits = (Option<ConnectionPool>, Option<Provenance>);

/// The first block found counts whole: of the ingress listener, of the Sidecar, of the service's DestinationRule for the
/// port, of that rule at large (Istio: `cluster_builder.go: buildInboundCluster`).
pub(super) fn of(
    context: &Context<'_>,
    sidecar: Option<&Object<Sidecar>>,
    ingress: Option<&IngressListener>,
    target: Option<&Target>,
) -> Limits {
    let own = ingress.and_then(|listener| listener.connection_pool.as_ref());
    let own = own.or_else(|| sidecar?.spec.inbound_connection_pool.as_ref());
    if let (Some(pool), Some(sidecar)) = (own, sidecar) {
        return (Some(pool.clone()), Some(Provenance::of("Sidecar", &sidecar.meta)));
    }
    let Some(target) = target else {
        return (None, None);
    };
    // Rules with a selector are about clients.
    let Some(rule) = context.inbound_rule(&target.host, &target.meta.namespace) else {
        return (None, None);
    };
    let Some(policy) = &rule.spec.traffic_policy else {
        return (None, None);
    };
    let of_port = policy
        .port_level_settings
        .iter()
        .find(|settings| settings.port == u32::from(target.service_port));
    let pool = of_port
        .and_then(|settings| settings.connection_pool.as_ref())
        .or(policy.connection_pool.as_ref());
    match pool {
        Some(pool) => (Some(pool.clone()), provenance_of(&rule)),
        None => (None, None),
    }
}
