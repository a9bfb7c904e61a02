//! The world: everything that is known about the cluster at one instant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_policies::Object;
use weft_policies::kind::destination_rule::DestinationRule;
use weft_policies::kind::gateway::Gateway;
use weft_policies::kind::peer_authentication::PeerAuthentication;
use weft_policies::kind::service_entry::ServiceEntry;
use weft_policies::kind::sidecar::Sidecar;
use weft_policies::kind::virtual_service::VirtualService;
use weft_policies::mesh::MeshConfig;

use super::{Endpoint, NamespacedName, Pod, Service};

/// A shared index. A new world copies only the indexes that change; the rest are the same allocation.
pub type Map<V> = Arc<BTreeMap<NamespacedName, V>>;

/// A list of policies of one kind, in order of precedence: oldest first, then name, then namespace.
pub type Policies<S> = Arc<Vec<Arc<Object<S>>>>;

/// Everything that is known about the cluster at one instant. Immutable; a clone costs a few counters.
///
/// Policies that were refused appear with their last good value, or not at all.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Counts published worlds; 0 is the empty world before the first full read.
    pub generation: u64,
    /// Mesh-wide settings.
    pub mesh: Arc<MeshConfig>,
    /// Labels of each known namespace, by its name.
    pub namespaces: Arc<BTreeMap<String, BTreeMap<String, String>>>,
    /// Kubernetes Services.
    pub services: Map<Arc<Service>>,
    /// Pods.
    pub pods: Map<Arc<Pod>>,
    /// Endpoints by the name of their Service; every Service with endpoints known or selectable has an entry.
    pub endpoints: Map<Arc<Vec<Endpoint>>>,
    /// Secrets, without their contents.
    pub secrets: Map<Arc<Secret>>,
    /// Gateway objects.
    pub gateways: Policies<Gateway>,
    /// VirtualService objects.
    pub virtual_services: Policies<VirtualService>,
    /// DestinationRule objects.
    pub destination_rules: Policies<DestinationRule>,
    /// ServiceEntry objects, raw.
    pub service_entries: Policies<ServiceEntry>,
    /// Sidecar objects.
    pub sidecars: Policies<Sidecar>,
    /// PeerAuthentication objects.
    pub peer_authentications: Policies<PeerAuthentication>,
}

/// A Secret: which keys it has. The bytes are asked for where they are served, and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// `type`, for example `kubernetes.io/tls`.
    pub kind: String,
    /// Names of the entries of `data` and `stringData`.
    pub keys: BTreeSet<String>,
}
