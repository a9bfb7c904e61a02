//! in → out: the resources of one proxy → what that proxy would hold after translating them.
//! owns: looking things up by name, as a snapshot does by slot.
//! may not touch: sockets, live state.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use prost::{Message, Name};
use weft_control::generate::ResourceSet;
use weft_proxy::xds::translate;
use weft_proxy_core::{
    chain::{Listeners, RouteSource},
    cluster::{Cluster, ClusterKind, EndpointSet},
    route::{Bindings, RouteTable},
};
use weft_xds::{Resource, pb, pb::protobuf::value::Kind, unpack};

/// Where weighted splits start. A simulation reports shares, never draws, so any number does.
const SEED: u64 = 0;

/// What a proxy would hold.
pub(crate) struct Node {
    /// Address of its pod.
    pub(crate) ip: IpAddr,
    /// Its listeners.
    pub(crate) listeners: Listeners,
    tables: BTreeMap<Arc<str>, Arc<RouteTable>>,
    clusters: BTreeMap<Arc<str>, Cluster>,
    endpoints: BTreeMap<Arc<str>, EndpointSet>,
    said: BTreeMap<Arc<str>, Said>,
}

/// What a cluster's message says for diagnostics only, and core has no use for.
#[derive(Default)]
struct Said {
    set: BTreeSet<String>,
    socket: Option<String>,
}

impl Node {
    /// Translates resources as the proxy does. What it refuses is said in `findings`.
    pub(crate) fn new(ip: IpAddr, resources: &ResourceSet, findings: &mut Vec<String>) -> Self {
        let mut bindings = Bindings::new(SEED);
        let mut node = Node {
            ip,
            listeners: Listeners::default(),
            tables: BTreeMap::new(),
            clusters: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            said: BTreeMap::new(),
        };
        for resource in resources.clusters.values() {
            node.said.insert(resource.name.clone(), said(resource));
            if let Some(cluster) = kept(resource, findings, |message| translate::cluster(message, &mut bindings)) {
                if let Err(refused) = translate::can_connect(&cluster) {
                    findings.push(format!("the proxy refuses {refused}"));
                }
                node.clusters.insert(resource.name.clone(), cluster);
            }
        }
        for resource in resources.endpoints.values() {
            if let Some(endpoints) = kept(resource, findings, |message| {
                translate::endpoints(message, &mut bindings)
            }) {
                node.endpoints.insert(resource.name.clone(), endpoints);
            }
        }
        for resource in resources.routes.values() {
            if let Some(table) = kept(resource, findings, |message| {
                translate::route_table(message, &mut bindings)
            }) {
                node.tables.insert(resource.name.clone(), Arc::new(table));
            }
        }
        let mut listeners = Vec::new();
        for resource in resources.listeners.values() {
            let listener = kept(resource, findings, |message| {
                translate::listener(message, &mut bindings)
            });
            listeners.extend(listener.map(Arc::new));
        }
        node.listeners = Listeners::new(listeners);
        node
    }
}

impl Node {
    /// The table that a connection manager reads.
    pub(crate) fn route_table<'a>(&'a self, source: &'a RouteSource) -> Option<&'a RouteTable> {
        match source {
            RouteSource::Rds(name) => self.tables.get(name).map(|table| &**table),
            RouteSource::Inline(table) => Some(table),
        }
    }

    /// The cluster with a name.
    pub(crate) fn cluster(&self, name: &str) -> Option<&Cluster> {
        self.clusters.get(name)
    }

    /// The endpoints that an EDS cluster asks for under this name.
    pub(crate) fn endpoint_set(&self, name: &str) -> Option<&EndpointSet> {
        self.endpoints.get(name)
    }

    /// The name of the first host of a DNS cluster, which an automatic host rewrite would use.
    pub(crate) fn first_hostname(&self, cluster: &str) -> Option<String> {
        match &self.cluster(cluster)?.kind {
            ClusterKind::Dns(names) => names.names.first().map(|name| name.host.to_string()),
            ClusterKind::Eds(name) => self.first_of(self.endpoint_set(name)?),
            ClusterKind::Static(set) => self.first_of(set),
            ClusterKind::OriginalDst(_) => None,
        }
    }

    fn first_of(&self, set: &EndpointSet) -> Option<String> {
        set.endpoints().first()?.hostname.as_deref().map(str::to_owned)
    }

    /// `, from OBJECT` where an object shaped the cluster.
    pub(crate) fn cluster_origin(&self, name: &str) -> String {
        match self.cluster(name).and_then(|cluster| cluster.provenance.as_ref()) {
            Some(provenance) => format!(", from {}", provenance.object),
            None => String::new(),
        }
    }

    /// Whether somebody has set this field of the cluster's policy. A value on the wire does not tell.
    pub(crate) fn is_set(&self, cluster: &str, field: &str) -> bool {
        self.said.get(cluster).is_some_and(|said| said.set.contains(field))
    }

    /// Path of the Unix socket that a cluster leads to, which core has no word for.
    pub(crate) fn socket(&self, cluster: &str) -> Option<&str> {
        self.said.get(cluster)?.socket.as_deref()
    }

    /// What follows this prefix among the fields that are set.
    pub(crate) fn set_with(&self, cluster: &str, prefix: &str) -> Option<String> {
        let said = self.said.get(cluster)?;
        said.set
            .iter()
            .find_map(|field| field.strip_prefix(prefix))
            .map(str::to_owned)
    }
}

/// The value, or why the proxy would refuse the resource.
fn kept<M: Message + Name + Default, T>(
    resource: &Resource,
    findings: &mut Vec<String>,
    translate: impl FnOnce(&M) -> Result<translate::Translated<T>, translate::TranslateError>,
) -> Option<T> {
    let refused = match unpack::<M>(&resource.body) {
        Ok(message) => match translate(&message) {
            Ok(translated) => return Some(translated.value),
            Err(error) => error.to_string(),
        },
        Err(error) => format!("{}: {error}", resource.name),
    };
    findings.push(format!("the proxy refuses {refused}"));
    None
}

fn said(resource: &Resource) -> Said {
    let Ok(message) = unpack::<pb::cluster::Cluster>(&resource.body) else {
        return Said::default();
    };
    let weft = message
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.filter_metadata.get("weft"));
    let set = match weft
        .and_then(|weft| weft.fields.get("set"))
        .and_then(|value| value.kind.as_ref())
    {
        Some(Kind::ListValue(list)) => list.values.iter().filter_map(text).collect(),
        _ => BTreeSet::new(),
    };
    Said {
        set,
        socket: socket(&message),
    }
}

fn socket(cluster: &pb::cluster::Cluster) -> Option<String> {
    use pb::endpoint::lb_endpoint::HostIdentifier;
    let group = cluster.load_assignment.as_ref()?.endpoints.first()?;
    let HostIdentifier::Endpoint(endpoint) = group.lb_endpoints.first()?.host_identifier.as_ref()? else {
        return None;
    };
    match endpoint.address.as_ref()?.address.as_ref()? {
        pb::core::address::Address::Pipe(pipe) => Some(pipe.path.clone()),
        _ => None,
    }
}

fn text(value: &pb::protobuf::Value) -> Option<String> {
    match &value.kind {
        Some(Kind::StringValue(text)) => Some(text.clone()),
        _ => None,
    }
}
