//! The policy of one port and subset of a host.

use crate::kind::connection_pool::ConnectionPool;
use crate::kind::destination_rule::{
    ClientTls, DestinationRule, LoadBalancer, OutlierDetection, PortTrafficPolicy, ProxyProtocolVersion, RetryBudget,
    TrafficPolicy, Tunnel,
};
use crate::mesh::MeshTrafficPolicy;

/// What holds for one cluster: every block comes whole from one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EffectivePolicy<'a> {
    /// Choice of endpoints.
    pub load_balancer: Option<&'a LoadBalancer>,
    /// Limits.
    pub connection_pool: Option<&'a ConnectionPool>,
    /// Ejection.
    pub outlier_detection: Option<&'a OutlierDetection>,
    /// TLS towards the upstream.
    pub tls: Option<&'a ClientTls>,
    /// Tunnel.
    pub tunnel: Option<&'a Tunnel>,
    /// PROXY header.
    pub proxy_protocol: Option<ProxyProtocolVersion>,
    /// Bound of retries.
    pub retry_budget: Option<&'a RetryBudget>,
}

/// The policy for service port `port` and, if given, a subset of the rule's host. Istio: blocks are never merged leaf by
/// leaf. First the rule's own, or, where it has an entry for the port, that entry alone; then each block that the subset
/// sets; then the subset's entry for the port alone; at last the mesh fills limits and ejection that nobody set.
pub fn effective_policy<'a>(
    rule: Option<&'a DestinationRule>,
    port: u32,
    subset: Option<&str>,
    mesh: &'a MeshTrafficPolicy,
) -> EffectivePolicy<'a> {
    let mut policy = EffectivePolicy::default();
    if let Some(top) = rule.and_then(|r| r.traffic_policy.as_ref()) {
        match port_entry(top, port) {
            Some(entry) => policy.take_port(entry),
            None => policy.overlay(top),
        }
    }
    let subset = rule
        .zip(subset)
        .and_then(|(r, name)| r.subsets.iter().find(|s| s.name == name));
    if let Some(own) = subset.and_then(|s| s.traffic_policy.as_ref()) {
        policy.overlay(own);
        if let Some(entry) = port_entry(own, port) {
            policy.take_port(entry);
        }
    }
    policy.connection_pool = policy.connection_pool.or(mesh.connection_pool.as_ref());
    policy.outlier_detection = policy.outlier_detection.or(mesh.outlier_detection.as_ref());
    policy
}

fn port_entry(policy: &TrafficPolicy, port: u32) -> Option<&PortTrafficPolicy> {
    policy.port_level_settings.iter().find(|entry| entry.port == port)
}

impl<'a> EffectivePolicy<'a> {
    /// Unset blocks of a port entry mean the default; they are not inherited.
    fn take_port(&mut self, entry: &'a PortTrafficPolicy) {
        self.load_balancer = entry.load_balancer.as_ref();
        self.connection_pool = entry.connection_pool.as_ref();
        self.outlier_detection = entry.outlier_detection.as_ref();
        self.tls = entry.tls.as_ref();
    }

    fn overlay(&mut self, policy: &'a TrafficPolicy) {
        self.load_balancer = policy.load_balancer.as_ref().or(self.load_balancer);
        self.connection_pool = policy.connection_pool.as_ref().or(self.connection_pool);
        self.outlier_detection = policy.outlier_detection.as_ref().or(self.outlier_detection);
        self.tls = policy.tls.as_ref().or(self.tls);
        self.tunnel = policy.tunnel.as_ref().or(self.tunnel);
        self.proxy_protocol = policy.proxy_protocol.or(self.proxy_protocol);
        self.retry_budget = policy.retry_budget.as_ref().or(self.retry_budget);
    }
}
