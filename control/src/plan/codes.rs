//! The codes of findings that only show once objects are put together.

pub(super) use weft_policies::codes::NO_EFFECT;

/// A rule names something that does not exist (Istio: ReferencedResourceNotFound).
pub(super) const UNRESOLVED: &str = "IST0101";
/// Servers of Gateways contend for one port (Istio: GatewayPortNotDefinedOnService and its neighbours have none).
pub(super) const PORT_CONFLICT: &str = "WFT0201";
/// Services contend for a port of a pod, or for one of the proxy's own.
pub(super) const INBOUND_PORT_CONFLICT: &str = "WFT0203";
/// Where the application of a pod listens cannot be told.
pub(super) const APPLICATION_ADDRESS: &str = "WFT0204";
/// A port that the gateway may not bind.
pub(super) const PRIVILEGED_PORT: &str = "WFT0202";
