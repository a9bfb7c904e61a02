//! A Kubernetes Service as the mesh sees it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use weft_policies::{Meta, Origin};

use super::Protocol;

/// A Service of the world. ServiceEntries are not among them: they stay raw objects of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Name in its namespace.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// `name.namespace.svc.<cluster domain>`.
    pub hostname: String,
    /// Virtual addresses; empty for headless and ExternalName services.
    pub cluster_ips: Vec<IpAddr>,
    /// `clusterIP: None`: clients resolve to endpoint addresses.
    pub headless: bool,
    /// `spec.externalName` of a Service of that type.
    pub external_name: Option<String>,
    /// Ports in the order written, UDP left out.
    pub ports: Vec<ServicePort>,
    /// `spec.selector`; empty when endpoints are managed by somebody else.
    pub selector: BTreeMap<String, String>,
    /// `spec.publishNotReadyAddresses`: endpoints take traffic whether or not they are ready.
    pub publish_not_ready: bool,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `metadata.creationTimestamp` in Unix milliseconds.
    pub created: Option<i64>,
    /// Who may see it, as written in `networking.istio.io/exportTo`; empty means the mesh's default.
    pub export_to: Vec<String>,
    /// Content generation, for provenance.
    pub generation: u64,
    /// Where it was written.
    pub origin: Origin,
}

/// One port of a [`Service`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// `name`; empty when the only port has none.
    pub name: String,
    /// `port`: what clients dial.
    pub number: u16,
    /// `targetPort`: what the pod listens on.
    pub target: TargetPort,
    /// What it speaks, by `appProtocol`, name and well-known number in this order.
    pub protocol: Protocol,
}

/// The port of the pod that a service port leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// A number; the service port's own when the Service names none.
    Number(u16),
    /// The name of a container port.
    Named(String),
}

impl Service {
    /// Its description as objects of the API have it, for findings.
    pub(crate) fn meta(&self) -> Meta {
        Meta {
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            created: self.created,
            generation: self.generation,
            origin: self.origin.clone(),
        }
    }

    /// The port with this number.
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.number == number)
    }
}
