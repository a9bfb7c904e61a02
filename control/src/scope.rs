//! Which configuration a node gets: the part of its identity that plans and generators may read.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;
use weft_xds::pb;

use crate::world::{NamespacedName, Pod, World};

/// An xDS client, seen as the receiver of configuration. Equal scopes receive equal resources.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The whole node id, `sidecar~10.1.1.2~web-1.shop~shop.svc.cluster.local`.
    pub id: String,
    /// Gateway or sidecar.
    pub node_type: NodeType,
    /// Address of its pod.
    pub ip: IpAddr,
    /// Name of its pod.
    pub name: String,
    /// Namespace of its pod.
    pub namespace: String,
    /// Labels of its pod.
    pub labels: BTreeMap<String, String>,
    /// Service account of its pod.
    pub service_account: String,
    /// How traffic reaches it.
    pub interception: Interception,
    /// `CLUSTER_ID` of its metadata; empty when unset.
    pub cluster_id: String,
    /// Workload that owns its pod.
    pub workload: String,
    /// `false` for a gateway that may not bind ports below 1024.
    pub privileged_ports: bool,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeType {
    /// Beside an application (`sidecar~…`).
    Sidecar,
    /// At the edge (`router~…`).
    Router,
}

/// How traffic reaches a sidecar (`INTERCEPTION_MODE` of its metadata).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Interception {
    /// Connections are redirected, their destination address kept by the kernel.
    #[default]
    Redirect,
    /// Connections are redirected with both addresses in place.
    Tproxy,
    /// Nothing is captured: the proxy binds the ports that applications dial.
    None,
}

impl Scope {
    /// The scope of an xDS client. See [`Scope::from_parts`].
    ///
    /// # Errors
    /// If the node's id has another form than Istio's.
    pub fn from_node(node: &pb::core::Node, world: &World) -> Result<Self, ScopeError> {
        let metadata = node.metadata.as_ref().map(struct_to_json).unwrap_or_default();
        Self::from_parts(&node.id, &metadata, world)
    }

    /// The scope of a node that states `id` and `metadata` (an object with Istio's keys). Where the world knows the
    /// node's pod, by namespace and name or else by address, what the pod says is preferred.
    ///
    /// # Errors
    /// If `id` is not `sidecar~IP~NAME.NAMESPACE~DOMAIN` (or `router~…`).
    pub fn from_parts(id: &str, metadata: &Value, world: &World) -> Result<Self, ScopeError> {
        let malformed = || ScopeError::Id(id.to_owned());
        let parts: Vec<&str> = id.split('~').collect();
        let [node_type, ip, dotted, _dns_domain] = parts[..] else {
            return Err(malformed());
        };
        let node_type = match node_type {
            "sidecar" => NodeType::Sidecar,
            "router" => NodeType::Router,
            _ => return Err(malformed()),
        };
        let ip: IpAddr = ip
            .parse()
            .map_err(|_| ScopeError::Address(id.to_owned(), ip.to_owned()))?;
        let (name, namespace) = dotted.rsplit_once('.').ok_or_else(malformed)?;
        let text = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut scope = Self {
            id: id.to_owned(),
            node_type,
            ip,
            name: name.to_owned(),
            namespace: Some(text("NAMESPACE"))
                .filter(|stated| !stated.is_empty())
                .unwrap_or_else(|| namespace.to_owned()),
            labels: labels(metadata.get("LABELS")),
            service_account: text("SERVICE_ACCOUNT"),
            interception: match text("INTERCEPTION_MODE").as_str() {
                "TPROXY" => Interception::Tproxy,
                "NONE" => Interception::None,
                _ => Interception::Redirect,
            },
            cluster_id: text("CLUSTER_ID"),
            workload: Some(text("WORKLOAD_NAME"))
                .filter(|stated| !stated.is_empty())
                .unwrap_or_else(|| name.to_owned()),
            privileged_ports: !matches!(metadata.get("UNPRIVILEGED_POD"), Some(Value::Bool(true)))
                && text("UNPRIVILEGED_POD") != "true",
        };
        if let Some(pod) = scope.pod(world) {
            scope.namespace.clone_from(&pod.namespace);
            scope.labels = (*pod.labels).clone();
            scope.service_account.clone_from(&pod.service_account);
            scope.workload.clone_from(&pod.workload);
        }
        Ok(scope)
    }

    /// The pod of this node, if the world knows it: by name, else the only one at its address. A pod at loopback
    /// is asked for by name only, since any number of nodes may share that address.
    pub fn pod(&self, world: &World) -> Option<Arc<Pod>> {
        if let Some(pod) = world.pods.get(&NamespacedName::new(&self.namespace, &self.name)) {
            return Some(pod.clone());
        }
        let mut there = world
            .pods
            .values()
            .filter(|pod| pod.ip == Some(self.ip) && !self.ip.is_loopback());
        let pod = there.next()?;
        there.next().is_none().then(|| pod.clone())
    }
}

/// `LABELS`: an object, or the JSON text of one.
fn labels(value: Option<&Value>) -> BTreeMap<String, String> {
    let parsed;
    let object = match value {
        Some(Value::String(text)) => {
            parsed = serde_json::from_str(text).unwrap_or_default();
            &parsed
        }
        Some(object) => object,
        None => return BTreeMap::new(),
    };
    let entries = object.as_object().into_iter().flatten();
    entries
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// A protobuf `Struct` as JSON.
fn struct_to_json(fields: &pb::protobuf::Struct) -> Value {
    Value::Object(
        fields
            .fields
            .iter()
            .map(|(key, value)| (key.clone(), value_to_json(value)))
            .collect(),
    )
}

fn value_to_json(value: &pb::protobuf::Value) -> Value {
    use pb::protobuf::value::Kind;
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(*flag),
        // Protobuf has one kind of number; whole ones are meant as such.
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() < 9e15 => Value::from(*number as i64),
        Some(Kind::NumberValue(number)) => Value::from(*number),
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        Some(Kind::ListValue(list)) => Value::Array(list.values.iter().map(value_to_json).collect()),
        Some(Kind::StructValue(fields)) => struct_to_json(fields),
    }
}

/// Why a node gets nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// The id is not `type~ip~name.namespace~domain`.
    #[error("node id {0:?} is not of the form sidecar~IP~NAME.NAMESPACE~DOMAIN or router~…")]
    Id(String),
    /// The address within the id is none.
    #[error("node id {0:?} has {1:?} where an IP address belongs")]
    Address(String, String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::load;

    fn metadata(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_node_says_who_it_is_by_its_id_and_metadata() {
        let stated = metadata(
            r#"{"NAMESPACE":"edge","LABELS":{"app":"gw","n":1},"SERVICE_ACCOUNT":"gw-sa","INTERCEPTION_MODE":"NONE",
                "CLUSTER_ID":"k1","WORKLOAD_NAME":"gw","UNPRIVILEGED_POD":"true"}"#,
        );
        let scope = Scope::from_parts(
            "router~10.1.2.3~gw-1.edge~edge.svc.cluster.local",
            &stated,
            &World::default(),
        )
        .unwrap();
        assert_eq!(
            (scope.node_type, scope.ip.to_string().as_str()),
            (NodeType::Router, "10.1.2.3")
        );
        assert_eq!(
            (scope.name.as_str(), scope.namespace.as_str(), scope.workload.as_str()),
            ("gw-1", "edge", "gw")
        );
        assert_eq!(scope.labels, BTreeMap::from([("app".to_owned(), "gw".to_owned())]));
        assert_eq!(
            (scope.service_account.as_str(), scope.cluster_id.as_str()),
            ("gw-sa", "k1")
        );
        assert_eq!(
            (scope.interception, scope.privileged_ports),
            (Interception::None, false)
        );
    }

    #[test]
    fn an_id_of_another_form_is_refused() {
        for id in [
            "",
            "gw",
            "router~10.1.2.3~gw~x",
            "waypoint~10.1.2.3~a.b~c",
            "router~here~a.b~c",
            "sidecar~1.2.3.4~a.b~c~d",
        ] {
            assert!(Scope::from_parts(id, &Value::Null, &World::default()).is_err(), "{id}");
        }
    }

    #[test]
    fn what_the_pod_says_is_preferred() {
        let pod = "
apiVersion: v1
kind: Pod
metadata: {name: gw-1, namespace: edge, labels: {app: real}}
spec: {serviceAccountName: real-account, containers: [{name: c, ports: [{containerPort: 80}]}]}
status: {podIP: 10.1.2.3}
";
        let stated = metadata(r#"{"LABELS":{"app":"stated"},"SERVICE_ACCOUNT":"stated"}"#);
        let (world, _) = load([("a.yaml", pod)]);
        let app = |id: &str, world: &World| Scope::from_parts(id, &stated, world).unwrap().labels["app"].clone();
        assert_eq!(
            app("router~10.9.9.9~gw-1.edge~edge.svc.cluster.local", &world),
            "real",
            "by its name"
        );
        assert_eq!(
            app("router~10.1.2.3~other.else~else.svc.cluster.local", &world),
            "real",
            "by its address"
        );
        assert_eq!(
            app("router~10.9.9.9~other.else~else.svc.cluster.local", &world),
            "stated"
        );
        let (loopback, _) = load([("a.yaml", pod.replace("10.1.2.3", "127.0.0.1").as_str())]);
        assert_eq!(
            app("router~127.0.0.1~other.else~else.svc.cluster.local", &loopback),
            "stated",
            "anybody may be there"
        );
    }
}
