//! Where and how a request failed. Both are closed sets, so that they can be counted in arrays.

use std::io;

/// How far a request had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its name was looked up. That is done once and before the run, so that no request ever fails in it.
    Resolve,
    /// A connection was being opened.
    Connect,
    /// TLS was being agreed upon.
    Tls,
    /// It was being written.
    Send,
    /// The first byte of the response was waited for.
    FirstByte,
    /// The rest of the response was.
    Body,
}

impl Phase {
    /// All, in order of time.
    pub(crate) const ALL: [Self; 6] = [
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Send,
        Self::FirstByte,
        Self::Body,
    ];

    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Send => "send",
            Self::FirstByte => "first_byte",
            Self::Body => "body",
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nobody listens.
    Refused,
    /// The other side reset the connection or the stream.
    Reset,
    /// The other side closed the connection before the response was whole.
    Closed,
    /// It took longer than a request may.
    Timeout,
    /// What came is not of the protocol that is spoken.
    Protocol,
    /// A response's head has more fields or bytes than are read here.
    Oversized,
    /// The server's certificate is not one that is trusted, or is another's.
    Untrusted,
    /// The server refused what we presented or offered (a TLS alert).
    Rejected,
    /// This machine has no more ports, descriptors or memory: the generator's fault.
    Local,
    /// All else of the network.
    Other,
}

impl Kind {
    /// All.
    pub(crate) const ALL: [Self; 10] = [
        Self::Refused,
        Self::Reset,
        Self::Closed,
        Self::Timeout,
        Self::Protocol,
        Self::Oversized,
        Self::Untrusted,
        Self::Rejected,
        Self::Local,
        Self::Other,
    ];

    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Oversized => "oversized",
            Self::Untrusted => "untrusted",
            Self::Rejected => "rejected",
            Self::Local => "local",
            Self::Other => "other",
        }
    }
}

/// A request that got no whole response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) phase: Phase,
    pub(crate) kind: Kind,
}

impl Failure {
    pub(crate) fn new(phase: Phase, kind: Kind) -> Self {
        Self { phase, kind }
    }

    /// What an error of a socket means, or of the TLS over it.
    pub(crate) fn of_io(phase: Phase, error: &io::Error) -> Self {
        use rustix::io::Errno;
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(inner) = inner {
            // In TLS 1.3 a server refuses a certificate when the client believes the handshake to be over (RFC 8446 4.4.2.4).
            return Self::new(Phase::Tls, of_tls(inner));
        }
        let kind = match error.kind() {
            io::ErrorKind::ConnectionRefused => Kind::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                Kind::Reset
            }
            io::ErrorKind::UnexpectedEof => Kind::Closed,
            io::ErrorKind::TimedOut => Kind::Timeout,
            io::ErrorKind::InvalidData => Kind::Protocol,
            io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory => Kind::Local,
            _ => match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Kind::Local,
                _ => Kind::Other,
            },
        };
        Self { phase, kind }
    }
}

fn of_tls(error: &rustls::Error) -> Kind {
    match error {
        rustls::Error::InvalidCertificate(_) => Kind::Untrusted,
        rustls::Error::AlertReceived(_) => Kind::Rejected,
        _ => Kind::Protocol,
    }
}
