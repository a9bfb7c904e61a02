//! The hosts that a client can name: Services and ServiceEntries as one.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::iter::successors;
use std::net::IpAddr;
use std::sync::Arc;

use weft_policies::kind::protocol::Protocol;
use weft_policies::kind::service_entry::{Resolution, ServiceEntry};
use weft_policies::precedence::exported_to;
use weft_policies::{Meta, Object};

use super::inputs::{Network, Provenance};
use crate::world::{NamespacedName, Service, World};

/// Aliases from one to the next until a host: enough for any that is meant.
const ALIASES_MAX: usize = 16;

/// The hosts visible to one namespace, by full name in lower case. Of several objects that declare a host the client's
/// own namespace wins, then a Service, then the oldest (Istio: `sidecar.go: pickBestVisibleNamespace`).
#[derive(Debug, Default)]
pub(super) struct Registry {
    hosts: BTreeMap<String, Host>,
}

/// How a host comes to be seen. Of several that declare the same name, one that is imported by namespace and name wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Import {
    /// Among others.
    Broad,
    /// By its namespace and whole name.
    Exact,
}

/// A host with its ports.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// Full name, possibly a wildcard.
    pub(super) name: String,
    /// Namespace of the object that declares it.
    pub(super) namespace: String,
    /// Virtual addresses.
    pub(super) addresses: Vec<IpAddr>,
    /// Virtual addresses by the network.
    pub(super) networks: Vec<Network>,
    /// The object that declares it.
    pub(super) source: Source,
    /// Ports; UDP is left out. Another name for a known host has the ports of that.
    pub(super) ports: Vec<Port>,
    /// The known host that it is another name for.
    pub(super) stands_for: Option<String>,
}

/// The object that declares a host.
#[derive(Clone, Debug)]
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
    /// The hosts that clients in `namespace` see and that `import` lets in.
    pub(super) fn visible(world: &World, namespace: &str, import: impl Fn(&Host) -> Option<Import>) -> Self {
        let default = &world.mesh.default_service_export_to;
        let visible = |export_to: &[String], own: &str| exported_to(export_to, default, own, namespace);
        let mut found = BTreeMap::new();
        let mut offer = |host: Host| {
            if let Some(import) = import(&host) {
                put(&mut found, host, import, namespace);
            }
        };
        for service in world.services.values() {
            if visible(&service.export_to, &service.namespace) {
                offer(Host::of_service(service));
            }
        }
        // Oldest first, hence the first of a host stays.
        for entry in world.service_entries.iter() {
            if visible(&entry.spec.export_to, &entry.meta.namespace) {
                for host in &entry.spec.hosts {
                    offer(Host::of_entry(entry, host));
                }
            }
        }
        let mut registry = Self {
            hosts: found.into_iter().map(|(name, (host, _))| (name, host)).collect(),
        };
        registry.resolve_aliases();
        registry
    }

    /// Takes in what another listener imports: the first to import a name decides who it is.
    pub(super) fn add(&mut self, other: Self) {
        for (name, host) in other.hosts {
            self.hosts.entry(name).or_insert(host);
        }
        self.resolve_aliases();
    }

    /// Takes in these names out of all that there are, and what known names stand for.
    pub(super) fn add_named(&mut self, mut all: Self, mut names: BTreeSet<String>) {
        let aliases = self.hosts.values().filter(|host| host.alias_of().is_some());
        names.extend(aliases.flat_map(|alias| all.steps(alias).map(|(name, _)| name)));
        for name in names {
            if let Some(host) = all.hosts.remove(&name) {
                self.hosts.entry(name).or_insert(host);
            }
        }
        self.resolve_aliases();
    }

    /// A name that stands for a known host is served as that is.
    fn resolve_aliases(&mut self) {
        let aliases = self.hosts.values().filter_map(|host| {
            let (real, found) = self.steps(host).last()?;
            let ports = found.filter(|found| found.alias_of().is_none())?.ports.clone();
            Some((host.name.clone(), real, ports))
        });
        for (alias, real, ports) in aliases.collect::<Vec<_>>() {
            if let Some(host) = self.hosts.get_mut(&alias) {
                host.ports = ports;
                host.stands_for = Some(real);
            }
        }
    }

    /// What a host stands for, step by step, as an alias may name another one. A circle ends nowhere: after
    /// `ALIASES_MAX` steps at an alias.
    fn steps(&self, host: &Host) -> impl Iterator<Item = (String, Option<&Host>)> {
        let step = |host: &Host| {
            let name = host.alias_of()?.to_ascii_lowercase();
            let found = self.hosts.get(&name);
            Some((name, found))
        };
        successors(step(host), move |(_, found)| found.and_then(step)).take(ALIASES_MAX)
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

fn put(hosts: &mut BTreeMap<String, (Host, Import)>, host: Host, import: Import, namespace: &str) {
    match hosts.get_mut(&host.name) {
        None => {
            hosts.insert(host.name.clone(), (host, import));
        }
        Some((known, by)) if import > *by => (*known, *by) = (host, import),
        Some((_, by)) if import < *by => {}
        Some((known, _)) if known.namespace != namespace && host.namespace == namespace => *known = host,
        Some((known, _)) => known.join(host),
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
            networks: Vec::new(),
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
        let networks = || entry.spec.addresses.iter().filter_map(|text| Network::parse(text));
        Self {
            stands_for: None,
            name: host.to_ascii_lowercase(),
            namespace: entry.meta.namespace.clone(),
            addresses: networks()
                .filter(|one| one.is_single())
                .map(|one| one.address)
                .collect(),
            networks: networks().filter(|one| !one.is_single()).collect(),
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

    /// Which of two hosts comes first where they contend for a port: the older, then by name.
    pub(super) fn by_age(a: &Self, b: &Self) -> Ordering {
        // Whoever states no time counts as the oldest.
        let key = |host: &Self| host.created().unwrap_or(i64::MIN);
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    }

    fn created(&self) -> Option<i64> {
        match &self.source {
            Source::Service(service) => service.created,
            Source::Entry(entry) => entry.meta.created,
        }
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

    /// The Service that it is.
    pub(super) fn service_name(&self) -> Option<NamespacedName> {
        match &self.source {
            Source::Service(service) => Some(NamespacedName::new(&service.namespace, &service.name)),
            Source::Entry(_) => None,
        }
    }

    /// Kind and description of the object that declares it, for findings.
    pub(super) fn object(&self) -> (&'static str, Meta) {
        match &self.source {
            Source::Service(service) => ("Service", service.meta()),
            Source::Entry(entry) => ("ServiceEntry", entry.meta.clone()),
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
