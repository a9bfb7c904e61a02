//! What a port speaks, as its owner declared it.

/// A declared application protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP/1.1 (and what upgrades from it).
    Http,
    /// TLS that carries HTTP; opaque to a proxy.
    Https,
    /// HTTP/2 in plain text or under TLS that the proxy adds.
    Http2,
    /// gRPC.
    Grpc,
    /// gRPC-Web.
    GrpcWeb,
    /// Opaque bytes.
    Tcp,
    /// Opaque TLS, routed by server name.
    Tls,
    /// MongoDB; handled as TCP.
    Mongo,
    /// MySQL; handled as TCP.
    Mysql,
    /// Redis; handled as TCP.
    Redis,
    /// UDP; such ports are ignored.
    Udp,
    /// The classic forward-proxy port of a Sidecar object.
    HttpProxy,
    /// Not declared: found out from the first bytes.
    Auto,
}

impl Protocol {
    /// A protocol word as users write it in Istio's objects (`HTTP`, `grpc-web`, …), letter case aside.
    /// `None` for a word that means nothing.
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
            "mysql" => Self::Mysql,
            "redis" => Self::Redis,
            "udp" => Self::Udp,
            "http_proxy" => Self::HttpProxy,
            _ => return None,
        })
    }

    /// Whether requests are routed one by one; detected ports count, since they may turn out so.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb | Self::HttpProxy | Self::Auto)
    }

    /// Whether the upstream speaks HTTP/2 from the first byte.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// Whether connections are routed by the server name of their TLS handshake.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// Whether connections are copied as opaque bytes.
    pub fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Mongo | Self::Mysql | Self::Redis)
    }
}
