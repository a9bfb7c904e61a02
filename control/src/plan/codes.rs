//! The codes of findings that only show once objects are put together.

pub(super) use weft_policies::codes::NO_EFFECT;

/// A rule names something that does not exist (Istio: ReferencedResourceNotFound).
pub(super) const UNRESOLVED: &str = "IST0101";
/// Servers of Gateways contend for one port (Istio: GatewayPortNotDefinedOnService and its neighbours have none).
pub(super) const PORT_CONFLICT: &str = "WFT0201";
/// A port that the gateway may not bind.
pub(super) const PRIVILEGED_PORT: &str = "WFT0202";
