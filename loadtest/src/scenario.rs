//! in → out: what the command line asked for → requests as they go over the wire, and where to.
//! owns: origins, weights, the bytes of a request.
//! may not touch: sockets, time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// gRPC over HTTP/2, one message each way.
    Grpc,
    /// Bytes that come back.
    Tcp,
}

impl Protocol {
    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Grpc => "gRPC",
            Self::Tcp => "TCP echo",
        }
    }

    /// Whether a connection carries several requests at once.
    pub(crate) fn is_multiplexed(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc)
    }
}

/// How an origin's connections are encrypted.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    /// The client's side.
    pub(crate) config: Arc<ClientConfig>,
    /// Who the server has to be.
    pub(crate) name: ServerName<'static>,
}

/// Where requests go: a host and a port.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// As the URL has it.
    pub(crate) host: String,
    /// Of the URL, or its scheme's.
    pub(crate) port: u16,
    /// What the host stands for; not empty.
    pub(crate) addresses: Vec<SocketAddr>,
    /// `None` for plain text.
    pub(crate) tls: Option<Tls>,
}

/// What a response over HTTP/2 has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A response of HTTP.
    Anything,
    /// One of gRPC, with a message and a status.
    Message,
    /// One of gRPC's health check, which says whether the service serves.
    Health,
}

/// A request of HTTP/2.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Pseudo-headers and headers.
    pub(crate) head: Request<()>,
    /// What follows.
    pub(crate) body: Bytes,
    /// What its response has to be.
    pub(crate) reply: Reply,
}

/// Whether a response has a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseBody {
    /// Its head says so.
    AsFramed,
    /// Whatever its head says, it has none: the method is HEAD (RFC 9110 9.3.2).
    Never,
}

/// What a request wants to become of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// It stays open.
    Keep,
    /// It is closed: the request says `connection: close`.
    Close,
}

/// Whether a request may reach the service twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Its method is idempotent (RFC 9110 9.2.2).
    Harmless,
    /// It might be done twice.
    Never,
}

/// A request of HTTP/1.1.
#[derive(Clone, Debug)]
pub(crate) struct Plain {
    /// Head and body.
    pub(crate) bytes: Bytes,
    /// Of its response.
    pub(crate) body: ResponseBody,
    /// What follows it on its connection.
    pub(crate) after: After,
    /// Whether it is sent again where its connection was closed under it.
    pub(crate) repeat: Repeat,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    /// A request of HTTP/1.1.
    Http1(Plain),
    /// A message of HTTP/2.
    Http2(Box<Message>),
    /// Bytes that have to come back.
    Echo(Bytes),
}

/// A request as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Index of its origin.
    pub(crate) origin: usize,
    /// Its share among all, not zero.
    pub(crate) weight: u32,
    /// What goes over the wire.
    pub(crate) payload: Payload,
    /// As the user wrote it.
    pub(crate) url: String,
}

/// What is sent, and to whom; the same for all threads.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// Not empty.
    pub(crate) origins: Vec<Origin>,
    /// Not empty.
    pub(crate) targets: Vec<Target>,
    /// Spoken to all of them.
    pub(crate) protocol: Protocol,
    /// Requests in flight on one connection, above one for HTTP/2 only.
    pub(crate) streams: usize,
    /// A request that has taken longer has failed.
    pub(crate) timeout: Duration,
}

impl Scenario {
    /// Chooses targets by their weights.
    pub(crate) fn chooser(self: &Arc<Self>, seed: u64) -> Chooser {
        Chooser {
            total: self.targets.iter().map(|target| u64::from(target.weight)).sum(),
            scenario: self.clone(),
            random: fastrand::Rng::with_seed(seed),
        }
    }
}

/// The targets of one thread's requests, one after another.
#[derive(Clone, Debug)]
pub(crate) struct Chooser {
    scenario: Arc<Scenario>,
    total: u64,
    random: fastrand::Rng,
}

impl Chooser {
    /// Index of the next target.
    pub(crate) fn next_target(&mut self) -> usize {
        if self.scenario.targets.len() == 1 {
            return 0;
        }
        let mut drawn = self.random.u64(0..self.total);
        for (index, target) in self.scenario.targets.iter().enumerate() {
            match drawn.checked_sub(u64::from(target.weight)) {
                Some(left) => drawn = left,
                None => return index,
            }
        }
        unreachable!("what is drawn lies below the sum of all weights")
    }
}
