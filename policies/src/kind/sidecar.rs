//! Sidecar: what one namespace, or some of its workloads, can see and listen on.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::codes;
use crate::decode::{Field, Fields};
use crate::kind::connection_pool::ConnectionPool;
use crate::kind::destination::Destination;
use crate::kind::protocol::Protocol;
use crate::kind::server_tls::{ServerTls, TlsPlace};
use crate::validate;

/// `networking.istio.io` Sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Sidecar {
    /// Labels of the workloads; unset: all of the namespace.
    pub workload_selector: Option<BTreeMap<String, String>>,
    /// Inbound listeners; unset (empty): from the Services.
    pub ingress: Vec<IngressListener>,
    /// Outbound listeners; unset (empty): everything visible.
    pub egress: Vec<EgressListener>,
    /// Server-side limits for all inbound ports.
    pub inbound_connection_pool: Option<ConnectionPool>,
    /// What becomes of unknown destinations; unset: as the mesh says.
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
}

/// A port of a Sidecar listener. Number 0: none (unix sockets).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ListenerPort {
    /// Number.
    pub number: u32,
    /// What is spoken.
    pub protocol: Protocol,
    /// Label only.
    pub name: String,
}

/// `ingress[]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct IngressListener {
    /// Port of the workload.
    pub port: ListenerPort,
    /// Address to listen on.
    pub bind: Option<String>,
    /// How traffic arrives.
    pub capture_mode: CaptureMode,
    /// Where requests are forwarded in the pod; unset: pod IP and port.
    pub default_endpoint: Option<String>,
    /// TLS termination by the sidecar.
    pub tls: Option<ServerTls>,
    /// Limits for this port.
    pub connection_pool: Option<ConnectionPool>,
}

/// `egress[]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct EgressListener {
    /// Port; unset: everything that no other listener serves.
    pub port: Option<ListenerPort>,
    /// Address or unix path.
    pub bind: Option<String>,
    /// How traffic arrives.
    pub capture_mode: CaptureMode,
    /// Which services are visible here.
    pub hosts: Vec<EgressHost>,
}

/// An entry `ns/host` of an egress listener.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EgressHost {
    /// Whose services.
    pub namespace: EgressNamespace,
    /// Exact name, `*` or `*.suffix`; lower case.
    pub host: String,
}

/// The `ns/` part of an egress host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EgressNamespace {
    /// `*`.
    Any,
    /// `.`: the Sidecar's own.
    Own,
    /// `~`: none; the entry selects nothing.
    None,
    /// By name.
    Named(String),
    /// `~name`: this one is left out.
    Except(String),
}

/// `captureMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CaptureMode {
    /// As the pod was injected.
    #[default]
    Default,
    /// Intercepted.
    Iptables,
    /// A socket that applications address themselves.
    None,
}

/// `outboundTrafficPolicy` of a Sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct OutboundTrafficPolicy {
    /// What becomes of unknown destinations.
    pub mode: OutboundMode,
    /// Deprecated: a service that unknown traffic goes to.
    pub egress_proxy: Option<Destination>,
}

/// `outboundTrafficPolicy.mode`. The zero value is `RegistryOnly`: a block without a mode means that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OutboundMode {
    /// Unknown destinations are refused.
    #[default]
    RegistryOnly,
    /// Unknown destinations are passed through.
    AllowAny,
}

impl Sidecar {
    pub(crate) fn read(fields: &mut Fields<'_>, _own: &str) -> Self {
        ignore_old(fields, "localhost");
        let sidecar = Self {
            workload_selector: fields.selector("workloadSelector", "labels"),
            ingress: fields.list("ingress", IngressListener::read),
            egress: fields.list("egress", EgressListener::read),
            inbound_connection_pool: fields
                .field("inboundConnectionPool")
                .and_then(|f| ConnectionPool::read(&f)),
            outbound_traffic_policy: fields
                .field("outboundTrafficPolicy")
                .and_then(|f| OutboundTrafficPolicy::read(&f)),
        };
        if sidecar == Self::default() && !fields.has("workloadSelector") {
            fields.at.error("is empty", "give `egress`, `ingress` or another block");
        }
        sidecar.check(&fields.at);
        sidecar
    }

    fn check(&self, at: &Field<'_>) {
        let catch_all = self.egress.iter().position(|l| l.port.is_none());
        if let Some(first) = catch_all
            && first + 1 != self.egress.len()
        {
            at.error(
                "has an egress listener without port before others",
                "keep one, as the last",
            );
        }
        let ingress: Vec<u32> = self.ingress.iter().map(|l| l.port.number).collect();
        let egress: Vec<_> = self
            .egress
            .iter()
            .filter_map(|l| l.port.as_ref().map(|p| (p.number, l.bind.as_deref())))
            .collect();
        for (i, number) in ingress.iter().enumerate() {
            if ingress[..i].contains(number) {
                at.error(format!("has two ingress listeners on port {number}"), "keep one");
            }
        }
        for (i, one) in egress.iter().enumerate() {
            if one.0 != 0 && egress[..i].contains(one) {
                at.error(
                    format!("has two egress listeners on port {}", one.0),
                    "keep one, or give them different binds",
                );
            }
        }
    }
}

fn ignore_old(fields: &mut Fields<'_>, name: &'static str) {
    if let Some(field) = fields.old(name) {
        field.warn(codes::OLD_FIELD, "is a field of old Istio and ignored", "remove it");
    }
}

impl ListenerPort {
    fn read(field: &Field<'_>, on_socket: bool) -> Option<Self> {
        let mut fields = field.fields()?;
        let number = if on_socket {
            fields.field("number").and_then(|f| f.u32(0..=0)).unwrap_or_default()
        } else {
            fields
                .required("number", "give a port number")
                .and_then(|f| f.u32(1..=65_535))
                .unwrap_or_default()
        };
        let protocol = fields.required("protocol", "give a protocol").and_then(|f| {
            let text = f.text()?;
            let known = Protocol::parse(text).filter(|p| *p != Protocol::Udp);
            if known.is_none() {
                f.error(
                    format!("is `{text}`"),
                    "must be one of HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, TCP, TLS, MONGO, REDIS, MYSQL, HTTP_PROXY",
                );
            }
            known
        });
        let name = fields.filled("name").unwrap_or_default();
        if let Some(target) = fields.field("targetPort") {
            target.warn(codes::NO_EFFECT, "is never evaluated", "use `defaultEndpoint`");
        }
        fields.finish();
        Some(Self {
            number,
            protocol: protocol.unwrap_or_default(),
            name,
        })
    }
}

impl CaptureMode {
    const WORDS: [(&'static str, Self); 3] = [
        ("DEFAULT", Self::Default),
        ("IPTABLES", Self::Iptables),
        ("NONE", Self::None),
    ];
}

impl IngressListener {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        ignore_old(&mut fields, "localhostClientTls");
        let port = fields
            .required("port", "give number and protocol")
            .and_then(|f| ListenerPort::read(&f, false));
        let listener = Self {
            port: port.unwrap_or_default(),
            bind: fields.field("bind").and_then(|f| {
                let text = f.text().filter(|t| !t.is_empty())?;
                f.check(validate::ip(text)).map(|()| text.to_owned())
            }),
            capture_mode: fields.word("captureMode", &CaptureMode::WORDS).unwrap_or_default(),
            default_endpoint: fields.field("defaultEndpoint").and_then(|f| {
                let text = f.text().filter(|t| !t.is_empty())?;
                check_endpoint(&f, text);
                Some(text.to_owned())
            }),
            tls: fields.field("tls").and_then(|f| ServerTls::read(&f, TlsPlace::Sidecar)),
            connection_pool: fields.field("connectionPool").and_then(|f| ConnectionPool::read(&f)),
        };
        if listener.port.protocol.is_tcp() && listener.connection_pool.as_ref().is_some_and(|p| p.http.is_some()) {
            field.warn(
                codes::SCHEMA_WARNING,
                "has HTTP limits on a TCP port",
                "remove `connectionPool.http`",
            );
        }
        fields.finish();
        Some(listener)
    }
}

fn check_endpoint(field: &Field<'_>, text: &str) {
    let socket = text
        .strip_prefix("unix://")
        .is_some_and(|path| path.starts_with(['/', '@']));
    let local = text
        .parse::<SocketAddr>()
        .is_ok_and(|a| a.port() != 0 && (a.ip().is_loopback() || a.ip().is_unspecified()));
    if !socket && !local {
        field.error(
            format!("is `{text}`"),
            "must be 127.0.0.1:port, 0.0.0.0:port, [::1]:port, [::]:port or unix:///path",
        );
    }
}

impl EgressListener {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        ignore_old(&mut fields, "localhostServerTls");
        let bind = fields.field("bind");
        let on_socket = bind
            .as_ref()
            .and_then(|f| f.node.as_str())
            .is_some_and(|b| b.starts_with("unix") || b.starts_with('@'));
        let port = fields.field("port").and_then(|f| ListenerPort::read(&f, on_socket));
        let listener = Self {
            bind: bind.and_then(|f| {
                let text = f.text().filter(|t| !t.is_empty())?;
                f.check(validate::bind(text, port.as_ref().map_or(0, |p| p.number)))
                    .map(|()| text.to_owned())
            }),
            port,
            capture_mode: fields.word("captureMode", &CaptureMode::WORDS).unwrap_or_default(),
            hosts: fields.list("hosts", EgressHost::read),
        };
        if fields.lacks("hosts") {
            fields.missing("hosts", "give `namespace/host` entries, such as `*/*`");
        }
        for (i, host) in listener.hosts.iter().enumerate() {
            if listener.hosts[..i].contains(host) {
                field.warn(
                    codes::SCHEMA_WARNING,
                    format!("has host `{}` twice", host.host),
                    "keep one",
                );
            }
        }
        if on_socket && listener.capture_mode == CaptureMode::Iptables {
            field.error("binds a unix socket and captures by iptables", "use captureMode NONE");
        }
        fields.finish();
        Some(listener)
    }
}

impl EgressHost {
    fn read(field: &Field<'_>) -> Option<Self> {
        let text = field.text()?;
        let Some((namespace, host)) = text.split_once('/') else {
            field.error(
                format!("`{text}` has no namespace"),
                "write `namespace/host`, such as `*/*` or `./*`",
            );
            return None;
        };
        let namespace = match namespace {
            "*" => EgressNamespace::Any,
            "." => EgressNamespace::Own,
            "~" => EgressNamespace::None,
            name => {
                let (name, except) = name.strip_prefix('~').map_or((name, false), |n| (n, true));
                field.check(validate::dns_label(name))?;
                let name = name.to_owned();
                if except {
                    EgressNamespace::Except(name)
                } else {
                    EgressNamespace::Named(name)
                }
            }
        };
        field.check(validate::gateway_host(host))?;
        Some(Self {
            namespace,
            host: host.to_ascii_lowercase(),
        })
    }
}

impl OutboundMode {
    pub(crate) const WORDS: [(&'static str, Self); 2] =
        [("REGISTRY_ONLY", Self::RegistryOnly), ("ALLOW_ANY", Self::AllowAny)];
}

impl OutboundTrafficPolicy {
    fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let mode = fields.word("mode", &OutboundMode::WORDS).unwrap_or_default();
        let egress_proxy = fields.field("egressProxy").and_then(|f| {
            f.warn(codes::DEPRECATED, "is deprecated", "route to an egress gateway instead");
            let proxy = Destination::read(&f)?;
            if mode != OutboundMode::AllowAny || proxy.port.is_none() {
                f.error("needs `mode: ALLOW_ANY` and a port", "give both");
            }
            Some(proxy)
        });
        fields.finish();
        Some(Self { mode, egress_proxy })
    }
}
