//! Pod → [`Pod`].

use std::sync::Arc;

use k8s_openapi::api::core::v1 as k8s;
use weft_policies::{Origin, labels};

use crate::world::{ContainerPort, Locality, Pod, Readiness};

/// Service account of pods that name none.
const DEFAULT_SERVICE_ACCOUNT: &str = "default";

/// The Pod as the mesh sees it; `None` once it has run to its end, since its address is then another's.
pub(in crate::world) fn pod(object: &k8s::Pod, origin: Origin) -> Option<Pod> {
    let status = object.status.clone().unwrap_or_default();
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let spec = object.spec.clone().unwrap_or_default();
    let own_labels = object.metadata.labels.clone().unwrap_or_default();
    let name = object.metadata.name.clone().unwrap_or_default();
    let ip = status
        .pod_ip
        .iter()
        .chain(status.pod_ips.iter().flatten().map(|ip| &ip.ip))
        .find_map(|ip| ip.parse().ok());
    let annotations = object.metadata.annotations.clone().unwrap_or_default();
    let application_address = annotations
        .get(labels::APPLICATION_ADDRESS)
        .map(|text| text.trim().parse().map_err(|_| text.clone()));
    Some(Pod {
        application_address,
        origin,
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        ip,
        locality: own_labels
            .get(labels::LOCALITY)
            .or_else(|| own_labels.get(labels::LOCALITY_OLD))
            .map(|text| locality(text))
            .unwrap_or_default(),
        labels: Arc::new(own_labels),
        annotations,
        service_account: spec
            .service_account_name
            .or(spec.service_account)
            .filter(|account| !account.is_empty())
            .unwrap_or_else(|| DEFAULT_SERVICE_ACCOUNT.to_owned()),
        node: spec.node_name,
        workload: workload(object).unwrap_or_else(|| name.clone()),
        container_ports: spec
            .containers
            .iter()
            .flat_map(|container| container.ports.iter().flatten())
            .filter_map(port)
            .collect(),
        readiness: readiness(object, &status),
        name,
    })
}

/// Only what is stated counts: a Pod written by hand has no conditions, and is ready.
fn readiness(object: &k8s::Pod, status: &k8s::PodStatus) -> Readiness {
    if object.metadata.deletion_timestamp.is_some() {
        return Readiness::Terminating;
    }
    let stated = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "Ready");
    let ready = match stated {
        Some(condition) => condition.status == "True",
        None => status.phase.as_deref() != Some("Pending"),
    };
    if ready { Readiness::Ready } else { Readiness::NotReady }
}

/// The controller that owns the pod. A ReplicaSet made by a Deployment is named `deployment-hash`.
fn workload(object: &k8s::Pod) -> Option<String> {
    let owner = object
        .metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true))?;
    let hash = object
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get("pod-template-hash"));
    match (owner.kind.as_str(), hash) {
        ("ReplicaSet", Some(hash)) => {
            let name = owner
                .name
                .strip_suffix(hash.as_str())
                .and_then(|name| name.strip_suffix('-'));
            Some(name.unwrap_or(&owner.name).to_owned())
        }
        _ => Some(owner.name.clone()),
    }
}

fn port(port: &k8s::ContainerPort) -> Option<ContainerPort> {
    if port.protocol.as_deref().is_some_and(|transport| transport != "TCP") {
        return None;
    }
    let number = u16::try_from(port.container_port).ok().filter(|number| *number != 0)?;
    Some(ContainerPort {
        name: port.name.clone().unwrap_or_default(),
        number,
    })
}

fn locality(text: &str) -> Locality {
    let separator = if text.contains('/') { '/' } else { '.' };
    let mut parts = text.split(separator).map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Locality {
        region: next(),
        zone: next(),
        sub_zone: next(),
    }
}
