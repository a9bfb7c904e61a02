//! ServiceEntry: services that Kubernetes does not know.

use std::collections::BTreeMap;

use crate::codes;
use crate::decode::{Field, Fields};
use crate::kind::protocol::Protocol;
use crate::validate;

/// `networking.istio.io` ServiceEntry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ServiceEntry {
    /// Names under which clients address it.
    pub hosts: Vec<String>,
    /// Virtual addresses: IP or CIDR.
    pub addresses: Vec<String>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Inside or outside of the mesh.
    pub location: Location,
    /// How endpoints are found.
    pub resolution: Resolution,
    /// Endpoints given inline.
    pub endpoints: Vec<WorkloadEntry>,
    /// Labels of the Pods and WorkloadEntries that are endpoints.
    pub workload_selector: Option<BTreeMap<String, String>>,
    /// Namespaces that see the service; empty: the mesh default.
    pub export_to: Vec<String>,
    /// Names that server certificates must carry.
    pub subject_alt_names: Vec<String>,
}

/// A port of a ServiceEntry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ServicePort {
    /// Number that clients use.
    pub number: u32,
    /// What is spoken.
    pub protocol: Protocol,
    /// Unique name.
    pub name: String,
    /// Port of the endpoints; unset: `number`.
    pub target_port: Option<u32>,
}

/// `location`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Location {
    /// Outside: no automatic mutual TLS.
    #[default]
    MeshExternal,
    /// Part of the mesh.
    MeshInternal,
}

/// `resolution`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Resolution {
    /// The client's own destination address is kept.
    #[default]
    None,
    /// The endpoints as given.
    Static,
    /// Names are resolved; every record is an endpoint.
    Dns,
    /// Names are resolved; one record at a time.
    DnsRoundRobin,
    /// The name is taken from each request.
    DynamicDns,
}

/// A workload that is no Pod: an inline endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct WorkloadEntry {
    /// IP, DNS name, or `unix://` path.
    pub address: String,
    /// Port by service port name.
    pub ports: BTreeMap<String, u32>,
    /// Labels, for subsets and policies.
    pub labels: BTreeMap<String, String>,
    /// Network it is on.
    pub network: Option<String>,
    /// `region/zone/subzone`.
    pub locality: Option<String>,
    /// Share among the endpoints; unset: 1.
    pub weight: Option<u32>,
    /// Identity of the workload.
    pub service_account: Option<String>,
}

impl ServiceEntry {
    pub(crate) fn read(fields: &mut Fields<'_>, own: &str) -> Self {
        let resolution = fields.word("resolution", &Resolution::WORDS).unwrap_or_default();
        let hosts = fields.list("hosts", |f| {
            let host = f.text()?;
            if host == "*" {
                f.error("is `*`", "name a host, or `*.suffix`");
                return None;
            }
            f.check(validate::wildcard_host(host, false))?;
            if host.starts_with('*') && !host.starts_with("*.") {
                f.warn(
                    codes::SCHEMA_WARNING,
                    format!("`{host}` is a partial wildcard"),
                    "write `*.suffix`",
                );
            }
            Some(host.to_ascii_lowercase())
        });
        if fields.lacks("hosts") {
            fields.missing("hosts", "name at least one host");
        }
        let addresses = fields.list("addresses", |f| {
            let address = f.text()?;
            f.check(validate::ip_or_cidr(address))?;
            if address.contains('/') && !matches!(resolution, Resolution::None | Resolution::Static) {
                f.error(
                    format!("`{address}` is a range, but names are resolved"),
                    "use addresses, or resolution NONE or STATIC",
                );
            }
            Some(address.to_owned())
        });
        let words = [
            ("MESH_EXTERNAL", Location::MeshExternal),
            ("MESH_INTERNAL", Location::MeshInternal),
        ];
        let ports = fields.list("ports", ServicePort::read);
        let endpoints = fields.list("endpoints", |f| WorkloadEntry::read(f, resolution, &ports));
        let entry = Self {
            hosts,
            addresses,
            location: fields.word("location", &words).unwrap_or_default(),
            resolution,
            endpoints,
            workload_selector: fields.selector("workloadSelector", "labels"),
            export_to: fields.export_to(own, true),
            subject_alt_names: fields.strings("subjectAltNames"),
            ports,
        };
        entry.check(&fields.at);
        entry
    }

    fn check(&self, at: &Field<'_>) {
        for (i, port) in self.ports.iter().enumerate() {
            if self.ports[..i]
                .iter()
                .any(|other| other.number == port.number || other.name == port.name)
            {
                at.error(
                    format!("has two ports `{}` or {}", port.name, port.number),
                    "give each its own name and number",
                );
            }
        }
        if self.workload_selector.is_some() && !self.endpoints.is_empty() {
            at.error("has both `endpoints` and `workloadSelector`", "keep one of them");
        }
        self.check_resolution(at);
        self.check_tcp(at);
    }

    fn check_resolution(&self, at: &Field<'_>) {
        let wildcard = self.hosts.iter().any(|h| h.starts_with('*'));
        match self.resolution {
            Resolution::None => {
                if !self.endpoints.is_empty() {
                    at.error("has endpoints with resolution NONE", "use STATIC or DNS");
                }
                if self.workload_selector.is_some() {
                    at.warn(
                        codes::SCHEMA_WARNING,
                        "selects workloads with resolution NONE",
                        "use STATIC",
                    );
                }
            }
            Resolution::Static => {}
            Resolution::Dns | Resolution::DnsRoundRobin => {
                if self.endpoints.is_empty() && self.workload_selector.is_none() && wildcard {
                    at.error(
                        "has a wildcard host and nothing to resolve",
                        "name a host, or give endpoints",
                    );
                }
                if self.resolution == Resolution::DnsRoundRobin && self.endpoints.len() > 1 {
                    at.error("has several endpoints with DNS_ROUND_ROBIN", "keep one, or use DNS");
                }
            }
            Resolution::DynamicDns => {
                if !self.hosts.iter().all(|h| h.starts_with('*')) {
                    at.error("has a host that is no wildcard with DYNAMIC_DNS", "use DNS");
                }
                if !self.addresses.is_empty() || !self.endpoints.is_empty() {
                    at.error("has addresses or endpoints with DYNAMIC_DNS", "remove them");
                }
                let by_name = |p: &ServicePort| {
                    matches!(
                        p.protocol,
                        Protocol::Http | Protocol::Http2 | Protocol::Grpc | Protocol::Tls
                    )
                };
                if !self.ports.iter().all(by_name) {
                    at.error(
                        "has a port without names in its traffic, with DYNAMIC_DNS",
                        "use HTTP, HTTP2, GRPC or TLS",
                    );
                }
            }
        }
    }

    /// What names cannot tell apart, addresses have to.
    fn check_tcp(&self, at: &Field<'_>) {
        let opaque = self
            .ports
            .iter()
            .any(|p| p.protocol.is_tcp() || p.protocol == Protocol::Detect);
        if opaque && self.addresses.is_empty() && self.resolution != Resolution::DynamicDns {
            at.warn(
                codes::SCHEMA_WARNING,
                "has a TCP port without `addresses`: it would take the whole port",
                "give addresses",
            );
        }
        let tcp = self.ports.iter().any(|p| p.protocol.is_tcp());
        if tcp && self.hosts.len() > 1 && self.resolution != Resolution::None && self.addresses.is_empty() {
            at.error(
                "has several hosts for a TCP port, which cannot be told apart",
                "split the entry, or use resolution NONE",
            );
        }
    }
}

impl ServicePort {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let number = fields
            .required("number", "give a port number")
            .and_then(|f| f.u32(1..=65_535));
        let name = fields.required("name", "give the port a name").and_then(|f| {
            let name = f.text()?;
            f.check(validate::dns_label(name)).map(|()| name.to_owned())
        });
        let protocol = fields.field("protocol").and_then(|f| {
            let text = f.text().filter(|text| !text.is_empty())?;
            let known = Protocol::parse(text).filter(|p| !matches!(p, Protocol::HttpProxy));
            if known.is_none() {
                f.error(
                    format!("is `{text}`"),
                    "must be one of HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, TCP, TLS, MONGO, REDIS, MYSQL",
                );
            }
            known
        });
        let target_port = fields
            .field("targetPort")
            .and_then(|f| f.u32(0..=65_535))
            .filter(|n| *n > 0);
        fields.finish();
        Some(Self {
            number: number.unwrap_or_default(),
            protocol: protocol.unwrap_or_default(),
            name: name.unwrap_or_default(),
            target_port,
        })
    }
}

impl Resolution {
    const WORDS: [(&'static str, Self); 5] = [
        ("NONE", Self::None),
        ("STATIC", Self::Static),
        ("DNS", Self::Dns),
        ("DNS_ROUND_ROBIN", Self::DnsRoundRobin),
        ("DYNAMIC_DNS", Self::DynamicDns),
    ];
}

impl WorkloadEntry {
    fn read(field: &Field<'_>, resolution: Resolution, service: &[ServicePort]) -> Option<Self> {
        let mut fields = field.fields()?;
        let network = fields.filled("network");
        let address = fields.field("address");
        let text = address.as_ref().and_then(|f| f.text()).unwrap_or_default().to_owned();
        let socket = text.starts_with("unix://") || text.starts_with('@');
        match &address {
            Some(f) if !text.is_empty() => match resolution {
                Resolution::Static if socket => f.check(validate::bind(&text, 0)),
                Resolution::Static => f.check(validate::ip(&text)),
                _ if validate::ip(&text).is_ok() => Some(()),
                _ => f.check(validate::fqdn(&text)),
            },
            _ if network.is_some() => {
                field.warn(codes::SCHEMA_WARNING, "has a network and no address", "give an address");
                Some(())
            }
            _ => {
                fields.missing("address", "give an address");
                None
            }
        };
        let ports = fields
            .field("ports")
            .map(|f| read_ports(&f, service))
            .unwrap_or_default();
        if socket && (!ports.is_empty() || service.len() != 1) {
            field.error(
                "is a unix socket, with ports of its own or several service ports",
                "keep one service port",
            );
        }
        let entry = Self {
            address: text,
            ports,
            labels: fields.labels("labels"),
            network,
            locality: fields.filled("locality"),
            weight: fields.limit("weight"),
            service_account: fields.filled("serviceAccount"),
        };
        fields.finish();
        Some(entry)
    }
}

fn read_ports(field: &Field<'_>, service: &[ServicePort]) -> BTreeMap<String, u32> {
    let read = |(name, field): (&str, Field<'_>)| {
        if service.iter().all(|port| port.name != name) {
            field.error(
                format!("`{name}` is no port of the entry"),
                "name a port of `spec.ports`",
            );
        }
        Some((name.to_owned(), field.u32(1..=65_535)?))
    };
    field.entries().into_iter().filter_map(read).collect()
}
