//! Opening connections.

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

/// Opens a connection to one of the origin's addresses; `turn` says where to begin, so that all of them are used.
pub(crate) async fn connect(origin: &Origin, turn: usize, timer: &Timer) -> Result<Stream, Failure> {
    let address = origin.addresses[turn % origin.addresses.len()];
    let stream = until(timer, Phase::Connect, dial(address)).await??;
    match &origin.tls {
        None => Ok(Stream::Plain(stream)),
        Some(tls) => until(timer, Phase::Tls, shake_hands(&tls.config, tls.name.clone(), stream)).await?,
    }
}

async fn dial(address: SocketAddr) -> Result<TcpStream, Failure> {
    let failed = |error| Failure::of_io(Phase::Connect, &error);
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    // A request is one write; it must not wait for an acknowledgement of the one before.
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

async fn shake_hands(
    config: &Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: TcpStream,
) -> Result<Stream, Failure> {
    let connector = TlsConnector::from(config.clone());
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| Failure::of_tls(&error))?;
    // Who was offered one protocol and does not name it speaks another (RFC 7301 3.2 lets servers stay silent).
    let agreed = stream.get_ref().1.alpn_protocol();
    if config.alpn_protocols.iter().any(|name| name == b"h2") && agreed != Some(b"h2") {
        return Err(Failure::new(Phase::Tls, Kind::Protocol));
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
