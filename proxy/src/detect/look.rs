//! What the first bytes of a connection say, if they say it already.

use weft_proxy_core::chain::{ConnectionFacts, Inspectors, Origin, Spoken, TransportProtocol};

use super::hello::{Hello, Read, read_hello};
use super::request_line::{Line, read_line};

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Looks {
    pub(crate) tls: bool,
    pub(crate) http: bool,
}

impl Looks {
    /// What a listener wants to know of a connection to this port.
    pub(crate) fn of(inspectors: &Inspectors, port: u16) -> Self {
        let is_off = |ports: &[std::ops::Range<u32>]| ports.iter().any(|range| range.contains(&u32::from(port)));
        Self {
            tls: inspectors.tls && !is_off(&inspectors.tls_off_ports),
            http: inspectors.http && !is_off(&inspectors.http_off_ports),
        }
    }

    pub(crate) fn is_nothing(self) -> bool {
        !self.tls && !self.http
    }
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) spoken: Spoken,
    pub(crate) hello: Hello,
}

impl Seen {
    /// By what chains are asked for: ALPN as offered, or the version of HTTP.
    pub(crate) fn application_protocols(&self) -> Vec<&str> {
        match self.spoken.application_protocol() {
            Some(http) => vec![http],
            None => self.hello.protocols.iter().map(|name| &**name).collect(),
        }
    }

    /// What a chain is chosen by.
    pub(crate) fn facts<'a>(&'a self, origin: &Origin, protocols: &'a [&'a str]) -> ConnectionFacts<'a> {
        ConnectionFacts {
            destination: origin.destination,
            source: origin.source,
            direct_source: origin.source.ip(),
            server_name: self.hello.server_name.as_deref(),
            transport_protocol: match self.spoken {
                Spoken::Tls => TransportProtocol::Tls,
                Spoken::Unknown | Spoken::Http10 | Spoken::Http11 | Spoken::Http2 => TransportProtocol::RawBuffer,
            },
            application_protocols: protocols,
        }
    }
}

/// What a look at the bytes so far came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// More bytes are needed.
    More,
    Seen(Seen),
    /// No peer whom we could serve sends this.
    TooLong,
}

/// Looks at the bytes so far: TLS first, then HTTP, as Envoy's inspectors do.
pub(super) fn look(bytes: &[u8], looks: Looks) -> Look {
    let spoken = |spoken| {
        Look::Seen(Seen {
            spoken,
            hello: Hello::default(),
        })
    };
    if bytes.is_empty() {
        return Look::More;
    }
    if looks.tls {
        match read_hello(bytes) {
            Read::More => return Look::More,
            Read::TooLong => return Look::TooLong,
            Read::Hello(hello) => {
                return Look::Seen(Seen {
                    spoken: Spoken::Tls,
                    hello,
                });
            }
            Read::NoTls => {}
        }
    }
    if !looks.http {
        return spoken(Spoken::Unknown);
    }
    match read_line(bytes) {
        Line::More => Look::More,
        Line::Http(version) => spoken(version),
        Line::NoHttp => spoken(Spoken::Unknown),
    }
}
