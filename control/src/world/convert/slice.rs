//! EndpointSlice → [`Slice`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::discovery::v1 as k8s;
use weft_policies::labels;

use crate::world::{NamespacedName, Readiness};

/// The endpoints that one slice adds to a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::world) struct Slice {
    /// The Service.
    pub(in crate::world) service: NamespacedName,
    /// Name of the service port → port of every endpoint of this slice.
    pub(in crate::world) ports: BTreeMap<String, u16>,
    /// The endpoints.
    pub(in crate::world) endpoints: Vec<SliceEndpoint>,
}

/// An address of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::world) struct SliceEndpoint {
    pub(in crate::world) address: IpAddr,
    pub(in crate::world) readiness: Readiness,
    /// The pod behind it, if the slice names one.
    pub(in crate::world) pod: Option<NamespacedName>,
    pub(in crate::world) zone: String,
    pub(in crate::world) node: Option<String>,
}

/// `None` for a slice that belongs to no Service.
pub(in crate::world) fn slice(object: &k8s::EndpointSlice) -> Option<Slice> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let service = object.metadata.labels.as_ref()?.get(labels::SERVICE_NAME)?;
    let ports = object.ports.iter().flatten().filter_map(|port| {
        let tcp = port.protocol.as_deref().is_none_or(|transport| transport == "TCP");
        let number = port.port.and_then(|number| u16::try_from(number).ok())?;
        tcp.then(|| (port.name.clone().unwrap_or_default(), number))
    });
    Some(Slice {
        service: NamespacedName::new(namespace, service),
        ports: ports.collect(),
        endpoints: object
            .endpoints
            .iter()
            .flatten()
            .flat_map(|endpoint| addresses(endpoint, namespace))
            .collect(),
    })
}

fn addresses<'a>(endpoint: &'a k8s::Endpoint, namespace: &'a str) -> impl Iterator<Item = SliceEndpoint> + 'a {
    let pod = endpoint
        .target_ref
        .as_ref()
        .filter(|target| target.kind.as_deref() == Some("Pod"))
        .and_then(|target| {
            let name = target.name.as_deref()?;
            Some(NamespacedName::new(
                target.namespace.as_deref().unwrap_or(namespace),
                name,
            ))
        });
    // Addresses that are no IP belong to slices of type FQDN, which nothing ever gave a meaning.
    endpoint
        .addresses
        .iter()
        .filter_map(|address| address.parse().ok())
        .map(move |address| SliceEndpoint {
            address,
            readiness: readiness(endpoint.conditions.as_ref()),
            pod: pod.clone(),
            zone: endpoint.zone.clone().unwrap_or_default(),
            node: endpoint.node_name.clone(),
        })
}

/// Kubernetes: an unset `ready` means ready, an unset `terminating` means not terminating.
fn readiness(conditions: Option<&k8s::EndpointConditions>) -> Readiness {
    match conditions {
        Some(conditions) if conditions.terminating == Some(true) => Readiness::Terminating,
        Some(conditions) if conditions.ready == Some(false) => Readiness::NotReady,
        _ => Readiness::Ready,
    }
}
