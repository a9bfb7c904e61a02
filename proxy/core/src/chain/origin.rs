use std::net::SocketAddr;

use super::listener::Direction;

/// What is known of an accepted connection for as long as it lives: who it comes from, where its client meant it to go,
/// and what it speaks. Routes, metrics and clusters of the kind `ORIGINAL_DST` read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The client.
    pub source: SocketAddr,
    /// The address that the client dialled, before it was redirected to us.
    pub destination: SocketAddr,
    /// Whether the listener restores original destinations, so that [`Origin::destination`] may be dialled. Without it the
    /// destination is our own address, and to dial it would be a loop (Envoy: `localAddressRestored`).
    pub is_restored: bool,
    /// Side of the listener that serves the connection: the reporter of its metrics.
    pub direction: Direction,
    /// What the first bytes were found to be; [`Spoken::Unknown`] where nobody asked.
    pub spoken: Spoken,
}

/// What the first bytes of a connection were found to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Spoken {
    /// Neither of those below, or nobody looked.
    #[default]
    Unknown,
    /// A TLS handshake.
    Tls,
    /// A request line of HTTP/1.0.
    Http10,
    /// A request line of HTTP/1.1.
    Http11,
    /// The preface of HTTP/2.
    Http2,
}

impl Spoken {
    /// The name by which chains match it (Envoy: the HTTP inspector's application protocols).
    pub fn application_protocol(self) -> Option<&'static str> {
        match self {
            Self::Unknown | Self::Tls => None,
            Self::Http10 => Some("http/1.0"),
            Self::Http11 => Some("http/1.1"),
            Self::Http2 => Some("h2c"),
        }
    }
}

impl Origin {
    /// Where the connection may be sent by its original destination alone.
    pub fn original_destination(&self) -> Option<SocketAddr> {
        self.is_restored.then_some(self.destination)
    }
}
