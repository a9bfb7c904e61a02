//! A Kubernetes Pod as the mesh sees it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use weft_policies::Origin;

use super::{Locality, Readiness};

/// A Pod of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Name in its namespace.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// `status.podIP`; absent until it is scheduled.
    pub ip: Option<IpAddr>,
    /// `metadata.labels`.
    pub labels: Arc<BTreeMap<String, String>>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `spec.serviceAccountName`; `default` when it names none.
    pub service_account: String,
    /// `spec.nodeName`.
    pub node: Option<String>,
    /// Name of the workload behind it: the Deployment, StatefulSet, … that owns it, else the pod itself.
    pub workload: String,
    /// Ports that its containers declare.
    pub container_ports: Vec<ContainerPort>,
    /// Whether it takes traffic, by phase, `Ready` condition and deletion.
    pub readiness: Readiness,
    /// Where it is, by its own label `topology.istio.io/locality`.
    pub locality: Locality,
    /// Where its application listens, if an annotation says so; the text of the annotation where that is no address.
    pub application_address: Option<Result<IpAddr, String>>,
    /// Where it was written.
    pub origin: Origin,
}

/// A declared port of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPort {
    /// `name`; empty when it has none.
    pub name: String,
    /// `containerPort`.
    pub number: u16,
}
