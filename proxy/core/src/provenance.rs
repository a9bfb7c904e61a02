use std::sync::Arc;

/// Which object of a user a route, cluster or listener comes from. For diagnostics and for the identity of a weighted split.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Provenance {
    /// `Kind/namespace/name`.
    pub object: Arc<str>,
    /// Index of the rule inside the object, where there are rules.
    pub rule: Option<u32>,
    /// Generation of the object, or the hash of its content; empty when unknown.
    pub generation: Arc<str>,
    /// Istio's own path of the object (`/apis/networking.istio.io/v1/namespaces/…`), where given.
    pub istio_config: Option<Arc<str>>,
}
