//! in → out: names and addresses → YAML of the objects that a small mesh needs.
//! owns: the part of a configuration that is the same in every test.
//! may not touch: rules. A test writes those itself, so that it can be read.

use std::{fmt::Write, net::SocketAddr};

/// Namespace of everything that is made here.
pub const NAMESPACE: &str = "shop";

/// Label of the gateway that [`gateway`] selects, as JSON for node metadata.
pub const GATEWAY_LABELS: &str = r#"{"role":"edge"}"#;

/// A Service `name` on port 80 and its pods: version and address of each.
pub fn service(name: &str, pods: &[(&str, SocketAddr)]) -> String {
    let mut text = format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  clusterIP: 10.96.0.{}
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: http}}]
",
        // Any address will do, as long as services differ.
        name.bytes().fold(0_u8, u8::wrapping_add)
    );
    for (index, (version, address)) in pods.iter().enumerate() {
        let pod = format!("{name}-{version}-{index}");
        let (ip, port) = (address.ip(), address.port());
        write!(
            text,
            "---
apiVersion: v1
kind: Pod
metadata: {{name: {pod}, namespace: {NAMESPACE}, labels: {{app: {name}, version: {version}}}}}
spec: {{hostNetwork: true, containers: [{{name: app, image: example.test/app}}]}}
status: {{phase: Running, podIP: {ip}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {pod}, namespace: {NAMESPACE}, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
endpoints:
  - {{addresses: [{ip}], conditions: {{ready: true}}, targetRef: {{kind: Pod, name: {pod}, namespace: {NAMESPACE}}}}}
ports: [{{name: http, port: {port}, protocol: TCP}}]
"
        )
        .expect("text takes text");
    }
    text
}

/// A Gateway `edge` with one plain HTTP server for any host.
pub fn gateway(port: u16) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: {NAMESPACE}}}
spec:
  selector: {{role: edge}}
  servers: [{{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: [\"*\"]}}]
"
    )
}

/// A DestinationRule for `service` with a subset for each version.
pub fn subsets(service: &str, versions: &[&str]) -> String {
    let subsets: String = versions
        .iter()
        .map(|v| format!("    - {{name: {v}, labels: {{version: {v}}}}}\n"))
        .collect();
    format!(
        "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {service}, namespace: {NAMESPACE}}}
spec:
  host: {service}
  subsets:
{subsets}"
    )
}

/// A Service whose pods of one version listen at these addresses.
pub fn service_at(name: &str, addresses: &[SocketAddr]) -> String {
    let pods: Vec<_> = addresses.iter().map(|address| ("v1", *address)).collect();
    service(name, &pods)
}

/// A DestinationRule for `service` with this `trafficPolicy`, as YAML in flow style.
pub fn policy(service: &str, traffic: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {service}, namespace: {NAMESPACE}}}
spec:
  host: {service}
  trafficPolicy: {traffic}
"
    )
}

/// A VirtualService `name` for every host at the gateway; `http` is its list of rules, as YAML in flow or block style
/// with an indentation of two.
pub fn rules(name: &str, http: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  hosts: [\"*\"]
  gateways: [edge]
  http:
{http}"
    )
}

/// A rule that splits between subsets of one service.
pub fn split(service: &str, weights: &[(&str, u32)]) -> String {
    let routes: String = weights
        .iter()
        .map(|(subset, weight)| {
            format!("        - {{destination: {{host: {service}, subset: {subset}}}, weight: {weight}}}\n")
        })
        .collect();
    format!("    - route:\n{routes}")
}

/// Several objects in one file.
pub fn file(objects: &[String]) -> String {
    objects.join("---\n")
}
