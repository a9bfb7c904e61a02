//! Gateway: which ports and hosts a gateway proxy serves.

use std::collections::BTreeMap;

use crate::codes;
use crate::decode::{Field, Fields};
use crate::kind::protocol::Protocol;
use crate::kind::server_tls::{ServerTls, TlsPlace};
use crate::validate;

/// `networking.istio.io` Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Gateway {
    /// Servers, in order.
    pub servers: Vec<Server>,
    /// Labels of the proxies that load this; empty: every gateway.
    pub selector: BTreeMap<String, String>,
}

/// One port and the hosts served on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Server {
    /// Port.
    pub port: ServerPort,
    /// Address to listen on; unset: all.
    pub bind: Option<String>,
    /// `[ns/]host` entries.
    pub hosts: Vec<ServerHost>,
    /// TLS settings.
    pub tls: Option<ServerTls>,
    /// Free name.
    pub name: Option<String>,
}

/// Port of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ServerPort {
    /// Number that clients address on the gateway's Service.
    pub number: u32,
    /// What is spoken.
    pub protocol: Protocol,
    /// Unique name within the Gateway.
    pub name: String,
}

/// A host of a server, with the namespaces whose VirtualServices may bind to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerHost {
    /// Whose VirtualServices may bind.
    pub namespace: HostNamespace,
    /// Exact name, `*` or `*.suffix`; lower case.
    pub host: String,
}

/// The `ns/` part of a server host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostNamespace {
    /// None given, or `*`.
    Any,
    /// `.`: the Gateway's own.
    Own,
    /// A namespace by name.
    Named(String),
}

impl ServerHost {
    /// Whether a VirtualService of `namespace` may bind, for a Gateway that lives in `own`.
    pub fn admits(&self, own: &str, namespace: &str) -> bool {
        match &self.namespace {
            HostNamespace::Any => true,
            HostNamespace::Own => own == namespace,
            HostNamespace::Named(named) => named == namespace,
        }
    }
}

impl Gateway {
    pub(crate) fn read(fields: &mut Fields<'_>, _own: &str) -> Self {
        let servers = fields.list("servers", Server::read);
        if fields.lacks("servers") {
            fields.missing("servers", "give at least one server with a port and hosts");
        }
        let selector = fields.labels("selector");
        let mut names = Vec::new();
        for server in &servers {
            if !server.port.name.is_empty() && names.contains(&&server.port.name) {
                fields.at.error(
                    format!("has two ports called `{}`", server.port.name),
                    "give each port its own name",
                );
            }
            names.push(&server.port.name);
        }
        Self { servers, selector }
    }
}

impl Server {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let bind = fields.field("bind");
        let on_socket = bind
            .as_ref()
            .and_then(|f| f.node.as_str())
            .is_some_and(|b| b.starts_with(['u', '@']));
        let port = fields
            .required("port", "give number, name and protocol")
            .and_then(|f| ServerPort::read(&f, on_socket))
            .unwrap_or_default();
        let bind = bind.and_then(|f| {
            let text = f.text().filter(|text| !text.is_empty())?;
            f.check(validate::bind(text, port.number)).map(|()| text.to_owned())
        });
        let hosts = fields.list("hosts", ServerHost::read);
        if fields.lacks("hosts") {
            fields.missing("hosts", "name at least one host, or `*`");
        }
        let tls = fields.field("tls");
        let settings = tls.as_ref().and_then(|f| ServerTls::read(f, TlsPlace::Gateway));
        check_tls(field, tls.as_ref(), settings.as_ref(), port.protocol);
        if let Some(endpoint) = fields.field("defaultEndpoint") {
            endpoint.warn(codes::NO_EFFECT, "has no effect on gateways", "remove it");
        }
        let name = fields.filled("name");
        fields.finish();
        Some(Self {
            port,
            bind,
            hosts,
            tls: settings,
            name,
        })
    }
}

fn check_tls(server: &Field<'_>, tls: Option<&Field<'_>>, settings: Option<&ServerTls>, protocol: Protocol) {
    let Some((tls, settings)) = tls.zip(settings) else {
        if protocol.is_tls() && tls.is_none() {
            server.error(
                format!("has protocol {protocol} without `tls`"),
                "give `tls`, or make the protocol HTTP or TCP",
            );
        }
        return;
    };
    if protocol.is_http() {
        if settings.is_more_than_redirect() {
            tls.error(
                format!("is for TLS, but the protocol is {protocol}"),
                "make the protocol HTTPS, or keep only httpsRedirect",
            );
        }
    } else if protocol.is_tcp() {
        tls.error(
            format!("is for TLS, but the protocol is {protocol}"),
            "make the protocol TLS",
        );
    } else if settings.https_redirect {
        tls.warn(
            codes::SCHEMA_WARNING,
            "has httpsRedirect, which only plain HTTP servers obey",
            "remove it",
        );
    }
}

impl ServerPort {
    fn read(field: &Field<'_>, on_socket: bool) -> Option<Self> {
        let mut fields = field.fields()?;
        let number = if on_socket {
            fields
                .field("number")
                .and_then(|f| f.u32(0..=65_535))
                .unwrap_or_default()
        } else {
            fields
                .required("number", "give a port number")?
                .u32(1..=65_535)
                .unwrap_or_default()
        };
        let protocol = fields
            .required("protocol", "give a protocol")
            .and_then(|f| protocol(&f))
            .unwrap_or_default();
        let name = fields.required("name", "give the port a name").and_then(|f| {
            let name = f.text()?;
            if name.is_empty() {
                f.error("is empty", "give the port a name");
            }
            Some(name.to_owned())
        });
        if let Some(target) = fields.field("targetPort")
            && target.u32(0..=65_535).is_some_and(|n| n > 0)
        {
            target.error("has no effect on gateways", "set `targetPort` of the gateway's Service");
        }
        fields.finish();
        Some(Self {
            number,
            protocol,
            name: name.unwrap_or_default(),
        })
    }
}

fn protocol(field: &Field<'_>) -> Option<Protocol> {
    let text = field.text()?;
    let known = Protocol::parse(text).filter(|p| !matches!(p, Protocol::Udp | Protocol::HttpProxy));
    if known.is_none() {
        field.error(
            format!("is `{text}`"),
            "must be one of HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, TCP, TLS, MONGO, REDIS, MYSQL",
        );
    }
    known
}

impl ServerHost {
    fn read(field: &Field<'_>) -> Option<Self> {
        let text = field.text()?;
        let (namespace, host) = match text.split_once('/') {
            None | Some(("*", _)) => (HostNamespace::Any, text.strip_prefix("*/").unwrap_or(text)),
            Some((".", host)) => (HostNamespace::Own, host),
            Some((namespace, host)) => {
                field.check(validate::dns_label(namespace))?;
                (HostNamespace::Named(namespace.to_owned()), host)
            }
        };
        field.check(validate::gateway_host(host))?;
        Some(Self {
            namespace,
            host: host.to_ascii_lowercase(),
        })
    }
}
