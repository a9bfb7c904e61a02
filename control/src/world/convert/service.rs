//! Service → [`Service`].

use k8s_openapi::api::core::v1 as k8s;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use weft_policies::{Origin, labels};

use crate::world::{Protocol, Service, ServicePort, TargetPort};

/// The DNS domain of the cluster (Istio's default).
const CLUSTER_DOMAIN: &str = "cluster.local";

/// The Service as the mesh sees it.
pub(in crate::world) fn service(object: &k8s::Service, generation: u64, origin: Origin) -> Service {
    let name = object.metadata.name.clone().unwrap_or_default();
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let own_labels = object.metadata.labels.clone().unwrap_or_default();
    let annotations = object.metadata.annotations.clone().unwrap_or_default();
    let spec = object.spec.clone().unwrap_or_default();
    let external_name = (spec.type_.as_deref() == Some("ExternalName")).then(|| {
        spec.external_name
            .clone()
            .unwrap_or_default()
            .trim_end_matches('.')
            .to_ascii_lowercase()
    });
    let headless = external_name.is_none() && spec.cluster_ip.as_deref() == Some("None");
    let mut cluster_ips: Vec<_> = spec
        .cluster_ips
        .iter()
        .flatten()
        .chain(&spec.cluster_ip)
        .filter_map(|ip| ip.parse().ok())
        .collect();
    cluster_ips.dedup();
    if cluster_ips.len() > 1 && cluster_ips.last() == cluster_ips.first() {
        cluster_ips.pop();
    }
    Service {
        hostname: format!("{name}.{namespace}.svc.{CLUSTER_DOMAIN}"),
        cluster_ips,
        headless,
        external_name,
        ports: spec.ports.iter().flatten().filter_map(port).collect(),
        selector: spec.selector.unwrap_or_default(),
        publish_not_ready: spec.publish_not_ready_addresses.unwrap_or_default(),
        created: object
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0.as_millisecond()),
        export_to: export_to(
            own_labels
                .get(labels::EXPORT_TO)
                .or_else(|| annotations.get(labels::EXPORT_TO)),
        ),
        name,
        namespace,
        labels: own_labels,
        annotations,
        generation,
        origin,
    }
}

/// `None` for UDP and SCTP ports and for numbers that are no port: the mesh carries TCP.
fn port(port: &k8s::ServicePort) -> Option<ServicePort> {
    if port.protocol.as_deref().is_some_and(|transport| transport != "TCP") {
        return None;
    }
    let number = u16::try_from(port.port).ok().filter(|number| *number != 0)?;
    let name = port.name.clone().unwrap_or_default();
    let target = match &port.target_port {
        None => TargetPort::Number(number),
        Some(IntOrString::Int(0)) => TargetPort::Number(number),
        Some(IntOrString::Int(target)) => TargetPort::Number(u16::try_from(*target).ok()?),
        // Numbers in quotes are numbers: a container port cannot be named so.
        Some(IntOrString::String(target)) => match target.parse() {
            Ok(target) => TargetPort::Number(target),
            Err(_) => TargetPort::Named(target.clone()),
        },
    };
    let protocol = Protocol::of_service_port(port.app_protocol.as_deref(), port.name.as_deref(), number, None);
    Some(ServicePort {
        name,
        number,
        target,
        protocol,
    })
}

/// The list within a label or annotation: namespaces separated by commas.
fn export_to(value: Option<&String>) -> Vec<String> {
    let parts = value.into_iter().flat_map(|value| value.split(','));
    parts
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect()
}
