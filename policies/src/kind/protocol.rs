//! Protocols of ports, by declaration.

use std::fmt;

/// What a port is declared to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Protocol {
    /// HTTP/1.1, and h2c where the client starts it.
    Http,
    /// HTTP inside TLS.
    Https,
    /// HTTP/2 in plain text.
    Http2,
    /// gRPC.
    Grpc,
    /// gRPC-Web.
    GrpcWeb,
    /// Opaque bytes.
    Tcp,
    /// Opaque TLS, routed by SNI.
    Tls,
    /// MongoDB, handled as opaque bytes.
    Mongo,
    /// Redis, handled as opaque bytes.
    Redis,
    /// MySQL: opaque bytes, the server speaks first.
    MySql,
    /// UDP: never proxied.
    Udp,
    /// A forward proxy (Sidecar egress listeners only).
    HttpProxy,
    /// Not declared: found out from the first bytes.
    #[default]
    Detect,
}

impl Protocol {
    /// Reads a protocol word, upper or lower case. `None`: not a known word.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "http" => Self::Http,
            "https" => Self::Https,
            "http2" => Self::Http2,
            "grpc" => Self::Grpc,
            "grpc-web" => Self::GrpcWeb,
            "tcp" => Self::Tcp,
            "tls" => Self::Tls,
            "mongo" => Self::Mongo,
            "redis" => Self::Redis,
            "mysql" => Self::MySql,
            "udp" => Self::Udp,
            "http_proxy" => Self::HttpProxy,
            _ => return None,
        })
    }

    /// The protocol of a Kubernetes Service port. Istio: first `appProtocol`, then the port's name (a word, or `word-…`),
    /// then the well-known numbers of protocols in which the server speaks first, else detection.
    ///
    /// `transport` is `spec.ports[].protocol` (TCP where absent).
    pub fn of_service_port(
        app_protocol: Option<&str>,
        name: Option<&str>,
        number: u16,
        transport: Option<&str>,
    ) -> Self {
        if transport.is_some_and(|t| t.eq_ignore_ascii_case("udp")) {
            return Self::Udp;
        }
        if let Some(found) = app_protocol.and_then(Self::of_app_protocol) {
            return found;
        }
        if let Some(found) = name.and_then(Self::of_port_name) {
            return found;
        }
        match number {
            25 | 53 | 3306 | 27017 => Self::Tcp,
            _ => Self::Detect,
        }
    }

    fn of_app_protocol(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "kubernetes.io/h2c" => Some(Self::Http2),
            "kubernetes.io/ws" => Some(Self::Http),
            "kubernetes.io/wss" => Some(Self::Https),
            "http_proxy" => None,
            other => Self::parse(other),
        }
    }

    fn of_port_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        // `grpc-web` holds the separator itself, so it is asked for before the first word is cut off.
        if name == "grpc-web" || name.starts_with("grpc-web-") {
            return Some(Self::GrpcWeb);
        }
        match Self::parse(name.split('-').next().unwrap_or_default()) {
            Some(Self::HttpProxy) | None => None,
            found => found,
        }
    }

    /// HTTP family, for which `http` routes apply (detection may turn out to be HTTP and is not counted here).
    pub fn is_http(self) -> bool {
        matches!(
            self,
            Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb | Self::HttpProxy
        )
    }

    /// TLS family, for which `tls` routes apply.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// TCP family, for which `tcp` routes apply.
    pub fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Mongo | Self::MySql | Self::Redis)
    }

    /// Whether the upstream speaks HTTP/2 because the port is declared so.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Http2 => "HTTP2",
            Self::Grpc => "GRPC",
            Self::GrpcWeb => "GRPC-WEB",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Mongo => "MONGO",
            Self::Redis => "REDIS",
            Self::MySql => "MYSQL",
            Self::Udp => "UDP",
            Self::HttpProxy => "HTTP_PROXY",
            Self::Detect => "undeclared",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Protocol;

    #[test]
    fn a_service_port_says_its_protocol_by_app_protocol_then_name_then_number() {
        for (app, name, number, expected) in [
            (None, Some("http"), 80, Protocol::Http),
            (None, Some("http-web"), 80, Protocol::Http),
            (None, Some("HTTP2-x"), 80, Protocol::Http2),
            (None, Some("grpc-web"), 80, Protocol::GrpcWeb),
            (None, Some("grpc-web-x"), 80, Protocol::GrpcWeb),
            (None, Some("grpc-other"), 80, Protocol::Grpc),
            (None, Some("httpx"), 80, Protocol::Detect),
            (Some("kubernetes.io/h2c"), Some("tcp"), 80, Protocol::Http2),
            (Some("kubernetes.io/ws"), None, 80, Protocol::Http),
            (Some("example.com/own"), Some("tcp"), 80, Protocol::Tcp),
            (None, Some("db"), 3306, Protocol::Tcp),
            (None, Some("mysql"), 3306, Protocol::MySql),
            (None, None, 8080, Protocol::Detect),
        ] {
            let got = Protocol::of_service_port(app, name, number, Some("TCP"));
            assert_eq!(got, expected, "{app:?} {name:?} {number}");
        }
        let udp = Protocol::of_service_port(None, Some("http"), 80, Some("UDP"));
        assert_eq!(udp, Protocol::Udp);
    }
}
