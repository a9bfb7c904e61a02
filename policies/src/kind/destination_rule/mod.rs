//! in → out: none; the DestinationRule as plain values.
//! owns: subsets and traffic policies.
//! may not touch: which rule wins (`precedence`), Envoy's messages.

mod load_balancer;
mod load_balancer_read;
mod outlier;
mod policy;
mod spec;
mod tls;

pub use load_balancer::{
    ConsistentHash, CookieAttribute, HashAlgorithm, HashCookie, HashKey, LbPolicy, LoadBalancer, LocalityDistribute,
    LocalityFailover, LocalityLb, Warmup, ZoneAwareLb,
};
pub use outlier::OutlierDetection;
pub use policy::{PortTrafficPolicy, ProxyProtocolVersion, RetryBudget, TrafficPolicy, Tunnel, TunnelProtocol};
pub use spec::{DestinationRule, Subset};
pub use tls::{ClientTls, ClientTlsMode};
