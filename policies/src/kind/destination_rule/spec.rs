//! The DestinationRule itself.

use std::collections::BTreeMap;

use super::TrafficPolicy;

/// `networking.istio.io` DestinationRule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct DestinationRule {
    /// Host as written; a short name belongs to the object's namespace.
    pub host: String,
    /// Policy of the host and of its subsets.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Subsets; names are unique.
    pub subsets: Vec<Subset>,
    /// Client namespaces that may use the rule; empty: the mesh default.
    pub export_to: Vec<String>,
    /// Client pods of the own namespace that use the rule; unset: all.
    pub workload_selector: Option<BTreeMap<String, String>>,
}

/// One entry of `subsets[]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Subset {
    /// Name that routes use.
    pub name: String,
    /// Labels of its endpoints; empty: all.
    pub labels: BTreeMap<String, String>,
    /// Blocks that replace those of the rule.
    pub traffic_policy: Option<TrafficPolicy>,
}
