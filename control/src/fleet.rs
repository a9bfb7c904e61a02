//! Which gateway proxies a machine without a cluster has to run, and where each of them listens.
//!
//! in → out: a `World` → one [`GatewayNode`] per gateway proxy that belongs on this machine.
//! owns: the nodes that stand for pods where there are none.
//! may not touch: processes, sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::json;
use weft_policies::labels::selects;
use weft_policies::precedence::DestinationRules;

use crate::plan::plan;
use crate::scope::Scope;
use crate::world::{NamespacedName, Pod, World};

/// Name of the gateway that serves Gateways which select every gateway there is, if there is no other.
const ANY_GATEWAY: &str = "gateway";

/// Service account of a gateway that no Pod describes.
const DEFAULT_SERVICE_ACCOUNT: &str = "default";

/// A gateway proxy that belongs on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayNode {
    /// Name of its pod, real or not.
    pub name: String,
    /// Namespace of its pod.
    pub namespace: String,
    /// Address of its pod, a loopback address.
    pub ip: IpAddr,
    /// Labels of its pod.
    pub labels: BTreeMap<String, String>,
    /// Service account of its pod.
    pub service_account: String,
}

/// An address that a gateway listens on, and the Gateway object that asks for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GatewayAddress {
    /// Where.
    pub address: SocketAddr,
    /// `Gateway/default/web`; several are joined by commas.
    pub asked_by: String,
}

impl GatewayNode {
    /// Its node id.
    pub fn id(&self) -> String {
        let Self {
            name, namespace, ip, ..
        } = self;
        format!("router~{ip}~{name}.{namespace}~{namespace}.svc.cluster.local")
    }

    /// Its node metadata, key by key.
    pub fn metadata(&self, privileged_ports: bool) -> serde_json::Value {
        json!({
            "NAMESPACE": self.namespace,
            "LABELS": self.labels,
            "SERVICE_ACCOUNT": self.service_account,
            "WORKLOAD_NAME": self.name,
            "CLUSTER_ID": "Kubernetes",
            "UNPRIVILEGED_POD": (!privileged_ports).to_string(),
        })
    }

    /// Where it listens according to a world, by its real plan.
    pub fn addresses(&self, world: &World, privileged_ports: bool) -> BTreeSet<GatewayAddress> {
        let Ok(scope) = Scope::from_parts(&self.id(), &self.metadata(privileged_ports), world) else {
            return BTreeSet::new();
        };
        let rules = DestinationRules::new(&world.destination_rules, &world.mesh);
        let listeners = plan(world, &rules, &scope).listeners;
        let addresses = listeners.values().map(|listener| {
            let asked_by: Vec<_> = listener
                .provenance
                .iter()
                .map(|provenance| provenance.object.to_string())
                .collect();
            GatewayAddress {
                address: SocketAddr::new(listener.address, listener.port),
                asked_by: asked_by.join(", "),
            }
        });
        addresses.collect()
    }

    fn of_pod(pod: &Pod, ip: IpAddr) -> Self {
        Self {
            name: pod.name.clone(),
            namespace: pod.namespace.clone(),
            ip,
            labels: (*pod.labels).clone(),
            service_account: pod.service_account.clone(),
        }
    }

    fn of_selector(name: String, namespace: &str, selector: &BTreeMap<String, String>) -> Self {
        Self {
            name,
            namespace: namespace.to_owned(),
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            labels: selector.clone(),
            service_account: DEFAULT_SERVICE_ACCOUNT.to_owned(),
        }
    }
}

/// The gateways that belong on this machine, by node id: one for each loopback Pod that a Gateway selects, and one
/// for each distinct selector that no Pod matches. Pods elsewhere run their gateways themselves.
pub fn gateways(world: &World) -> BTreeMap<String, GatewayNode> {
    let mut nodes: Vec<GatewayNode> = Vec::new();
    let mut named: BTreeSet<NamespacedName> = BTreeSet::new();
    // Long selectors first: a gateway made for one also serves the shorter ones that it matches, as a pod would.
    let mut objects: Vec<_> = world.gateways.iter().collect();
    objects.sort_by_key(|gateway| std::cmp::Reverse(gateway.spec.selector.len()));
    for gateway in objects {
        let selector = &gateway.spec.selector;
        // An empty selector means every gateway there is, not every pod.
        let pods = world
            .pods
            .values()
            .filter(|pod| !selector.is_empty() && selects(selector, &pod.labels));
        let mut is_matched = nodes.iter().any(|node| selects(selector, &node.labels));
        for pod in pods {
            is_matched = true;
            let Some(ip) = pod.ip.filter(IpAddr::is_loopback) else {
                continue;
            };
            if named.insert(NamespacedName::new(&pod.namespace, &pod.name)) {
                nodes.push(GatewayNode::of_pod(pod, ip));
            }
        }
        if !is_matched {
            let namespace = &gateway.meta.namespace;
            let name = free_name(&named, world, namespace, selector);
            named.insert(NamespacedName::new(namespace, &name));
            nodes.push(GatewayNode::of_selector(name, namespace, selector));
        }
    }
    nodes.into_iter().map(|node| (node.id(), node)).collect()
}

/// A name for a gateway without a pod: what its selector calls it, numbered if that is taken.
fn free_name(
    taken: &BTreeSet<NamespacedName>,
    world: &World,
    namespace: &str,
    selector: &BTreeMap<String, String>,
) -> String {
    let stated = ["istio", "app"]
        .iter()
        .find_map(|key| selector.get(*key))
        .or_else(|| selector.values().next());
    let stated = stated
        .filter(|name| !name.is_empty())
        .map_or(ANY_GATEWAY, String::as_str);
    let is_free = |name: &String| {
        let key = NamespacedName::new(namespace, name);
        !taken.contains(&key) && !world.pods.contains_key(&key)
    };
    let numbered = (2..).map(|number: u32| format!("{stated}-{number}"));
    std::iter::once(stated.to_owned())
        .chain(numbered)
        .find(is_free)
        .unwrap_or_else(|| stated.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::load;

    fn gateway(name: &str, selector: &str, port: u16) -> String {
        format!(
            "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: default}}
spec:
  selector: {selector}
  servers: [{{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: ['*']}}]
"
        )
    }

    fn pod(name: &str, ip: &str, labels: &str) -> String {
        format!(
            "\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: edge, labels: {labels}}}\nspec: {{}}\nstatus: {{podIP: {ip}}}\n"
        )
    }

    fn nodes(documents: &[String]) -> Vec<String> {
        let (world, findings) = load([("a.yaml", documents.join("---").as_str())]);
        assert!(findings.iter().all(|finding| !finding.is_error()), "{findings:?}");
        gateways(&world).into_keys().collect()
    }

    #[test]
    fn each_distinct_selector_without_a_pod_is_one_gateway() {
        let alone = "router~127.0.0.1~ingressgateway.default~default.svc.cluster.local";
        let second = "router~127.0.0.1~ingressgateway-2.default~default.svc.cluster.local";
        let ingress = "{istio: ingressgateway}";
        assert_eq!(nodes(&[]), [""; 0]);
        assert_eq!(
            nodes(&[gateway("a", ingress, 8080), gateway("b", ingress, 8081)]),
            [alone]
        );
        let other = "{app: ingressgateway, tier: edge}";
        assert_eq!(
            nodes(&[gateway("a", ingress, 8080), gateway("b", other, 8081)]),
            [second, alone]
        );
        // What a longer selector asks for also satisfies the shorter one: one process serves both.
        let longer = "{istio: ingressgateway, tier: edge}";
        assert_eq!(
            nodes(&[gateway("a", ingress, 8080), gateway("b", longer, 8081)]),
            [alone]
        );
    }

    #[test]
    fn pods_on_loopback_are_gateways_of_their_own_and_pods_elsewhere_are_left_alone() {
        let ingress = "{istio: ingressgateway}";
        let documents = |ip: &str| {
            [
                gateway("a", ingress, 8080),
                pod("gw-1", ip, ingress),
                pod("app", "127.0.0.9", "{app: web}"),
            ]
        };
        assert_eq!(
            nodes(&documents("127.0.0.3")),
            ["router~127.0.0.3~gw-1.edge~edge.svc.cluster.local"]
        );
        assert_eq!(nodes(&documents("10.1.2.3")), [""; 0]);
    }

    #[test]
    fn a_gateway_that_selects_all_gateways_makes_one_only_if_there_is_none() {
        let any = gateway("any", "{}", 8080);
        assert_eq!(
            nodes(&[any.clone(), pod("app", "127.0.0.9", "{app: web}")]),
            ["router~127.0.0.1~gateway.default~default.svc.cluster.local"]
        );
        let ingress = gateway("a", "{istio: ingressgateway}", 8081);
        assert_eq!(
            nodes(&[any, ingress]),
            ["router~127.0.0.1~ingressgateway.default~default.svc.cluster.local"]
        );
    }

    #[test]
    fn a_gateway_listens_where_its_plan_says() {
        let (world, _) = load([("a.yaml", gateway("web", "{istio: x}", 8080).as_str())]);
        let node = gateways(&world).into_values().next().unwrap();
        let addresses: Vec<_> = node.addresses(&world, true).into_iter().collect();
        let expected = GatewayAddress {
            address: "0.0.0.0:8080".parse().unwrap(),
            asked_by: "Gateway/default/web".to_owned(),
        };
        assert_eq!(addresses, [expected]);
    }
}
