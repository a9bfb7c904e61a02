//! The hosts that a client can name: Services and ServiceEntries as one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use weft_policies::Object;
use weft_policies::kind::protocol::Protocol;
use weft_policies::kind::service_entry::{Resolution, ServiceEntry};
use weft_policies::precedence::exported_to;

use super::inputs::Provenance;
use crate::world::{Service, World};

/// The hosts visible to one namespace, by full name in lower case. Of several objects that declare a host the client's
/// own namespace wins, then a Service, then the oldest (Istio: `sidecar.go: pickBestVisibleNamespace`).
#[derive(Debug, Default)]
pub(super) struct Registry {
    hosts: BTreeMap<String, Host>,
}

/// A host with its ports.
#[derive(Debug)]
pub(super) struct Host {
    /// Full name, possibly a wildcard.
    pub(super) name: String,
    /// Namespace of the object that declares it.
    pub(super) namespace: String,
    /// Virtual addresses.
    pub(super) addresses: Vec<IpAddr>,
    /// The object that declares it.
    pub(super) source: Source,
    /// Ports; UDP is left out. Another name for a known host has the ports of that.
    pub(super) ports: Vec<Port>,
    /// The known host that it is another name for.
    pub(super) stands_for: Option<String>,
}

/// The object that declares a host.
#[derive(Debug)]
pub(super) enum Source {
    /// A Kubernetes Service.
    Service(Arc<Service>),
    /// A ServiceEntry.
    Entry(Arc<Object<ServiceEntry>>),
}

/// One port of a host.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) number: u16,
    pub(super) protocol: Protocol,
    /// The ServiceEntry that declares it: several of one host may each bring ports.
    pub(super) entry: Option<Arc<Object<ServiceEntry>>>,
}

impl Port {
    /// Whether requests on it are routed one by one, or may turn out to be.
    pub(super) fn may_be_http(&self) -> bool {
        self.protocol.is_http() || self.protocol == Protocol::Detect
    }
}

impl Registry {
    /// The hosts that clients in `namespace` see.
    pub(super) fn visible(world: &World, namespace: &str) -> Self {
        let default = &world.mesh.default_service_export_to;
        let visible = |export_to: &[String], own: &str| exported_to(export_to, default, own, namespace);
        let mut registry = Self::default();
        for service in world.services.values() {
            if visible(&service.export_to, &service.namespace) {
                registry.put(Host::of_service(service), namespace);
            }
        }
        // Oldest first, hence the first of a host stays.
        for entry in world.service_entries.iter() {
            if visible(&entry.spec.export_to, &entry.meta.namespace) {
                for host in &entry.spec.hosts {
                    registry.put(Host::of_entry(entry, host), namespace);
                }
            }
        }
        registry.resolve_aliases();
        registry
    }

    /// A name that stands for a known host is served as that is.
    fn resolve_aliases(&mut self) {
        let aliases = self.hosts.values().filter_map(|host| {
            let real = host.alias_of()?.to_ascii_lowercase();
            let ports = self
                .hosts
                .get(&real)
                .filter(|real| real.alias_of().is_none())?
                .ports
                .clone();
            Some((host.name.clone(), real, ports))
        });
        for (alias, real, ports) in aliases.collect::<Vec<_>>() {
            if let Some(host) = self.hosts.get_mut(&alias) {
                host.ports = ports;
                host.stands_for = Some(real);
            }
        }
    }

    fn put(&mut self, host: Host, namespace: &str) {
        match self.hosts.get_mut(&host.name) {
            None => {
                self.hosts.insert(host.name.clone(), host);
            }
            Some(known) if known.namespace != namespace && host.namespace == namespace => *known = host,
            Some(known) => known.join(host),
        }
    }

    /// The host of this full name.
    pub(super) fn get(&self, name: &str) -> Option<&Host> {
        self.hosts.get(name)
    }

    /// All hosts, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }
}

impl Host {
    /// Takes the ports of a younger ServiceEntry of the same host and namespace, if it is of the same making (Istio:
    /// `sidecar.go: canMergeServices`).
    fn join(&mut self, younger: Self) {
        let (Source::Entry(a), Source::Entry(b)) = (&self.source, &younger.source) else {
            return;
        };
        let alike = a.meta.namespace == b.meta.namespace
            && a.meta.labels == b.meta.labels
            && a.spec.resolution == b.spec.resolution
            && a.spec.export_to == b.spec.export_to;
        if alike {
            let new = younger
                .ports
                .into_iter()
                .filter(|port| self.port(port.number).is_none())
                .collect::<Vec<_>>();
            self.ports.extend(new);
        }
    }

    fn of_service(service: &Arc<Service>) -> Self {
        let ports = service.ports.iter().map(|port| Port {
            name: port.name.clone(),
            number: port.number,
            protocol: port.protocol,
            entry: None,
        });
        Self {
            stands_for: None,
            name: service.hostname.to_ascii_lowercase(),
            namespace: service.namespace.clone(),
            addresses: service.cluster_ips.clone(),
            ports: ports.filter(|port| port.protocol != Protocol::Udp).collect(),
            source: Source::Service(Arc::clone(service)),
        }
    }

    fn of_entry(entry: &Arc<Object<ServiceEntry>>, host: &str) -> Self {
        let ports = entry.spec.ports.iter().filter_map(|port| {
            Some(Port {
                name: port.name.clone(),
                number: u16::try_from(port.number).ok()?,
                protocol: port.protocol,
                entry: Some(Arc::clone(entry)),
            })
        });
        Self {
            stands_for: None,
            name: host.to_ascii_lowercase(),
            namespace: entry.meta.namespace.clone(),
            // Whole networks are matched by address elsewhere; they are no authorities.
            addresses: entry
                .spec
                .addresses
                .iter()
                .filter_map(|address| address.parse().ok())
                .collect(),
            ports: ports.filter(|port| port.protocol != Protocol::Udp).collect(),
            source: Source::Entry(Arc::clone(entry)),
        }
    }

    /// The port of this number.
    pub(super) fn port(&self, number: u16) -> Option<&Port> {
        self.ports.iter().find(|port| port.number == number)
    }

    /// Whether clients resolve it to the addresses of its endpoints.
    pub(super) fn is_headless(&self) -> bool {
        matches!(&self.source, Source::Service(service) if service.headless)
    }

    /// The name that it is another name for.
    pub(super) fn alias_of(&self) -> Option<&str> {
        match &self.source {
            Source::Service(service) => service.external_name.as_deref(),
            Source::Entry(_) => None,
        }
    }

    /// How its ServiceEntry wants endpoints to be found; `None` for Services.
    pub(super) fn resolution(&self) -> Option<Resolution> {
        match &self.source {
            Source::Service(_) => None,
            Source::Entry(entry) => Some(entry.spec.resolution),
        }
    }

    /// What Istio calls the object in metadata: the Service's name, or the host itself.
    pub(super) fn object_name(&self) -> &str {
        match &self.source {
            Source::Service(service) => &service.name,
            Source::Entry(_) => &self.name,
        }
    }

    /// The object that declares it.
    pub(super) fn provenance(&self) -> Provenance {
        match &self.source {
            Source::Service(service) => Provenance {
                object: format!("Service/{}/{}", service.namespace, service.name),
                generation: service.generation.to_string(),
            },
            Source::Entry(entry) => Provenance::of("ServiceEntry", &entry.meta),
        }
    }

    /// The authorities that clients in `namespace` may call it by (Istio: `httproute.go: generateVirtualHostDomains`),
    /// its own name first. Short names belong to Services only.
    pub(super) fn authorities(&self, namespace: &str) -> Vec<String> {
        let mut names = vec![self.name.clone()];
        if let Source::Service(service) = &self.source {
            let (name, own) = (
                service.name.to_ascii_lowercase(),
                service.namespace.to_ascii_lowercase(),
            );
            names.push(format!("{}.", self.name));
            names.push(format!("{name}.{own}.svc"));
            names.push(format!("{name}.{own}"));
            if service.namespace == namespace {
                names.push(name);
            }
            if service.headless {
                let wildcards: Vec<_> = names.iter().map(|name| format!("*.{name}")).collect();
                names.extend(wildcards);
            }
        }
        names.extend(self.addresses.iter().map(|address| match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        }));
        names
    }
}
