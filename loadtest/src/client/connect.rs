//! Opening connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::stream::Stream;
use super::timer::Timer;
use super::{Failure, Kind, Phase};
use crate::scenario::Origin;

/// Opens a connection to one of the origin's addresses; `turn` says where to begin, so that all of them are used. Where
/// nobody listens, the next one is tried.
pub(crate) async fn connect(origin: &Origin, turn: usize, timer: &Timer) -> Result<Stream, Unreached> {
    let stream = dial_any(&origin.addresses, turn, timer).await?;
    match &origin.tls {
        None => Ok(Stream::Plain(stream)),
        Some(tls) => until(timer, Phase::Tls, shake_hands(&tls.config, tls.name.clone(), stream)).await?,
    }
}

/// Why there is no connection: what is counted, and the words for whoever has to repair it.
#[derive(Debug)]
pub(crate) struct Unreached {
    pub(crate) failure: Failure,
    /// What the system or the TLS library says, where either has said something.
    pub(crate) cause: Option<io::Error>,
}

impl Unreached {
    fn new(failure: Failure, cause: io::Error) -> Self {
        Self {
            failure,
            cause: Some(cause),
        }
    }
}

impl From<Failure> for Unreached {
    fn from(failure: Failure) -> Self {
        Self { failure, cause: None }
    }
}

impl From<Unreached> for Failure {
    fn from(unreached: Unreached) -> Self {
        unreached.failure
    }
}

async fn dial_any(addresses: &[SocketAddr], turn: usize, timer: &Timer) -> Result<TcpStream, Unreached> {
    let mut told: Option<Unreached> = None;
    for step in 0..addresses.len() {
        let address = addresses[turn.wrapping_add(step) % addresses.len()];
        match until(timer, Phase::Connect, dial(address)).await? {
            Ok(stream) => return Ok(stream),
            // What another address says tells more than that this machine has no IPv6, say.
            Err(unreached) if told.as_ref().is_none_or(|known| known.failure.kind == Kind::Local) => {
                told = Some(unreached);
            }
            Err(_) => {}
        }
    }
    Err(told.expect("a host without an address ends a run before it begins"))
}

async fn dial(address: SocketAddr) -> Result<TcpStream, Unreached> {
    let failed = |error| Unreached::new(Failure::of_io(Phase::Connect, &error), error);
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    // A request is one write; it must not wait for an acknowledgement of the one before.
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

async fn shake_hands(
    config: &Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: TcpStream,
) -> Result<Stream, Unreached> {
    let connector = TlsConnector::from(config.clone());
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| Unreached::new(Failure::of_io(Phase::Tls, &error), error))?;
    // Who was offered one protocol and does not name it speaks another (RFC 7301 3.2 lets servers stay silent).
    let agreed = stream.get_ref().1.alpn_protocol();
    if config.alpn_protocols.iter().any(|name| name == b"h2") && agreed != Some(b"h2") {
        let words = "the server speaks TLS, but does not agree to HTTP/2";
        return Err(Unreached::new(
            Failure::new(Phase::Tls, Kind::Protocol),
            io::Error::other(words),
        ));
    }
    Ok(Stream::Tls(Box::new(stream)))
}

/// `work`, or a timeout in `phase`.
pub(crate) async fn until<T>(timer: &Timer, phase: Phase, work: impl Future<Output = T>) -> Result<T, Failure> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Ok(done));
        }
        if timer.poll_expired(context) {
            return Poll::Ready(Err(Failure::new(phase, Kind::Timeout)));
        }
        Poll::Pending
    })
    .await
}
