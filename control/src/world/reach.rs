//! Which endpoints a Service reaches: those of its EndpointSlices, or else its selector's pods.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use weft_policies::labels::selects;

use super::convert::{Slice, SliceEndpoint};
use super::{Endpoint, Locality, NamespacedName, Pod, Readiness, Service, TargetPort};

/// Pods and slices, indexed the way that finding endpoints asks for them.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// Slices of each Service, by the slice's own name.
    slices: BTreeMap<NamespacedName, BTreeMap<Arc<str>, Slice>>,
    /// Which Service a slice belongs to.
    owners: HashMap<NamespacedName, NamespacedName>,
    /// Pods that carry a label, by namespace, key and value.
    by_label: HashMap<(Arc<str>, String, String), BTreeSet<Arc<str>>>,
    /// Pods by address; those on the host's network share one.
    by_ip: HashMap<IpAddr, BTreeSet<NamespacedName>>,
}

impl Reach {
    /// Takes the slice in; returns the Services whose endpoints it may change.
    pub(super) fn put_slice(&mut self, name: &NamespacedName, slice: Option<Slice>) -> Vec<NamespacedName> {
        let mut touched = self.remove_slice(name);
        if let Some(slice) = slice {
            let service = slice.service.clone();
            self.owners.insert(name.clone(), service.clone());
            self.slices
                .entry(service.clone())
                .or_default()
                .insert(name.name.clone(), slice);
            touched.push(service);
        }
        touched
    }

    /// Forgets the slice; returns the Service that it belonged to.
    pub(super) fn remove_slice(&mut self, name: &NamespacedName) -> Vec<NamespacedName> {
        let Some(service) = self.owners.remove(name) else {
            return Vec::new();
        };
        if let Some(slices) = self.slices.get_mut(&service) {
            slices.remove(&name.name);
            if slices.is_empty() {
                self.slices.remove(&service);
            }
        }
        vec![service]
    }

    /// Indexes a pod that is about to enter the world.
    pub(super) fn add_pod(&mut self, name: &NamespacedName, pod: &Pod) {
        for (key, value) in pod.labels.iter() {
            let entry = self
                .by_label
                .entry((name.namespace.clone(), key.clone(), value.clone()))
                .or_default();
            entry.insert(name.name.clone());
        }
        if let Some(ip) = pod.ip {
            self.by_ip.entry(ip).or_default().insert(name.clone());
        }
    }

    /// Takes a pod that has left the world out of the indexes.
    pub(super) fn remove_pod(&mut self, name: &NamespacedName, pod: &Pod) {
        for (key, value) in pod.labels.iter() {
            let label = (name.namespace.clone(), key.clone(), value.clone());
            if let Some(pods) = self.by_label.get_mut(&label) {
                pods.remove(&name.name);
                if pods.is_empty() {
                    self.by_label.remove(&label);
                }
            }
        }
        if let Some(ip) = pod.ip
            && let Some(pods) = self.by_ip.get_mut(&ip)
        {
            pods.remove(name);
            if pods.is_empty() {
                self.by_ip.remove(&ip);
            }
        }
    }

    /// The Services of its namespace whose endpoints this pod is, or may be, one of.
    pub(super) fn services_of<'a>(
        &'a self,
        name: &'a NamespacedName,
        pod: &'a Pod,
        services: &'a BTreeMap<NamespacedName, Arc<Service>>,
    ) -> impl Iterator<Item = NamespacedName> + 'a {
        let namespace = name.namespace.clone();
        let from = NamespacedName {
            namespace: namespace.clone(),
            name: "".into(),
        };
        let selecting = services
            .range(from..)
            .take_while(move |(key, _)| key.namespace == namespace)
            .filter(|(_, service)| !service.selector.is_empty() && selects(&service.selector, &pod.labels))
            .map(|(key, _)| key.clone());
        let names = move |endpoint: &SliceEndpoint| match &endpoint.pod {
            Some(target) => target == name,
            None => pod.ip == Some(endpoint.address),
        };
        // A slice may name a pod of another namespace, or an address only, so all of them are asked.
        let listing = self
            .slices
            .iter()
            .filter(move |(_, slices)| slices.values().any(|slice| slice.endpoints.iter().any(names)))
            .map(|(key, _)| key.clone());
        selecting.chain(listing)
    }

    /// The endpoints of a Service, in a stable order. `None`: nothing says what they are.
    pub(super) fn endpoints(
        &self,
        name: &NamespacedName,
        service: Option<&Service>,
        pods: &BTreeMap<NamespacedName, Arc<Pod>>,
    ) -> Option<Vec<Endpoint>> {
        let mut endpoints = match self.slices.get(name) {
            Some(slices) => self.of_slices(name, service, slices.values(), pods),
            None => self.of_selector(service?, pods)?,
        };
        let identity = |one: &Endpoint| (one.address, one.ports.clone(), one.workload.clone(), one.labels.clone());
        endpoints.sort_by_cached_key(identity);
        // Kubernetes: an endpoint may stand in two slices for a moment. Two workloads at one address (host network) are
        // two endpoints: subsets tell them apart.
        endpoints.dedup_by(|a, b| identity(a) == identity(b));
        Some(endpoints)
    }

    fn of_slices<'a>(
        &self,
        name: &NamespacedName,
        service: Option<&Service>,
        slices: impl Iterator<Item = &'a Slice>,
        pods: &BTreeMap<NamespacedName, Arc<Pod>>,
    ) -> Vec<Endpoint> {
        let mut endpoints = Vec::new();
        for slice in slices {
            for listed in &slice.endpoints {
                let pod = match &listed.pod {
                    Some(target) => pods.get(target).map(Arc::as_ref),
                    None => self.pod_at(listed.address, service, slice, pods),
                };
                endpoints.push(listed_endpoint(name, slice, listed, pod));
            }
        }
        endpoints
    }

    /// The pod at an address that a slice lists without naming a pod: the only one there, else the only one that
    /// the Service selects, else the only one that declares the slice's ports.
    fn pod_at<'a>(
        &self,
        address: IpAddr,
        service: Option<&Service>,
        slice: &Slice,
        pods: &'a BTreeMap<NamespacedName, Arc<Pod>>,
    ) -> Option<&'a Pod> {
        let there = self.by_ip.get(&address)?;
        let mut candidates: Vec<&Pod> = there
            .iter()
            .filter_map(|name| pods.get(name))
            .map(Arc::as_ref)
            .collect();
        if let Some(service) = service.filter(|_| candidates.len() > 1) {
            candidates.retain(|pod| pod.namespace == service.namespace && selects(&service.selector, &pod.labels));
        }
        if candidates.len() > 1 {
            let declares = |pod: &Pod, number: &u16| pod.container_ports.iter().any(|port| port.number == *number);
            candidates.retain(|pod| slice.ports.values().all(|number| declares(pod, number)));
        }
        match candidates[..] {
            [pod] => Some(pod),
            _ => None,
        }
    }

    fn of_selector(&self, service: &Service, pods: &BTreeMap<NamespacedName, Arc<Pod>>) -> Option<Vec<Endpoint>> {
        if service.selector.is_empty() || service.external_name.is_some() {
            return None;
        }
        let namespace: Arc<str> = service.namespace.as_str().into();
        let carriers = service.selector.iter().map(|(key, value)| {
            self.by_label
                .get(&(namespace.clone(), key.clone(), value.clone()))
                .map(|pods| (pods.len(), pods))
        });
        // The rarest label leaves the fewest pods to look at; a label that nobody carries leaves none.
        let candidates = carriers
            .collect::<Option<Vec<_>>>()
            .and_then(|all| all.into_iter().min_by_key(|(len, _)| *len));
        let found = candidates
            .into_iter()
            .flat_map(|(_, names)| names.iter())
            .filter_map(|name| {
                let pod = pods.get(&NamespacedName {
                    namespace: namespace.clone(),
                    name: name.clone(),
                })?;
                selects(&service.selector, &pod.labels)
                    .then(|| selected_endpoint(service, pod))
                    .flatten()
            });
        Some(found.collect())
    }
}

/// An endpoint that a slice lists, with what its pod adds.
fn listed_endpoint(service: &NamespacedName, slice: &Slice, listed: &SliceEndpoint, pod: Option<&Pod>) -> Endpoint {
    let locality = match pod {
        Some(pod) if pod.locality != Locality::default() => pod.locality.clone(),
        _ => Locality {
            zone: listed.zone.clone(),
            ..Locality::default()
        },
    };
    Endpoint {
        address: listed.address,
        ports: slice.ports.clone(),
        labels: pod.map(|pod| pod.labels.clone()).unwrap_or_default(),
        workload: pod.map(|pod| pod.workload.clone()).unwrap_or_default(),
        namespace: pod.map_or_else(|| service.namespace.to_string(), |pod| pod.namespace.clone()),
        service_account: pod.map(|pod| pod.service_account.clone()).unwrap_or_default(),
        readiness: listed.readiness,
        weight: 1,
        locality,
        node: listed.node.clone().or_else(|| pod.and_then(|pod| pod.node.clone())),
    }
}

/// A pod that the Service selects; `None` while it has no address.
fn selected_endpoint(service: &Service, pod: &Pod) -> Option<Endpoint> {
    let target = |target: &TargetPort| match target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Named(name) => pod
            .container_ports
            .iter()
            .find(|port| port.name == *name)
            .map(|port| port.number),
    };
    Some(Endpoint {
        address: pod.ip?,
        ports: service
            .ports
            .iter()
            .filter_map(|port| Some((port.name.clone(), target(&port.target)?)))
            .collect(),
        labels: pod.labels.clone(),
        workload: pod.workload.clone(),
        namespace: pod.namespace.clone(),
        service_account: pod.service_account.clone(),
        readiness: match pod.readiness {
            Readiness::NotReady if service.publish_not_ready => Readiness::Ready,
            readiness => readiness,
        },
        weight: 1,
        locality: pod.locality.clone(),
        node: pod.node.clone(),
    })
}
