//! Opening connections.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::stream::Stream;
use super::timer::Timer;
use super::{Failure, Kind, Phase};
use crate::scenario::Origin;

/// Opens a connection to one of the origin's addresses; `turn` says where to begin, so that all of them are used.
pub(crate) async fn connect(origin: &Origin, turn: usize, timer: &Timer) -> Result<Stream, Failure> {
    let address = origin.addresses[turn % origin.addresses.len()];
    let stream = until(timer, Phase::Connect, dial(address)).await??;
    Ok(Stream::Plain(stream))
}

async fn dial(address: SocketAddr) -> Result<TcpStream, Failure> {
    let failed = |error| Failure::of_io(Phase::Connect, &error);
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    // A request is one write; it must not wait for an acknowledgement of the one before.
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

/// `work`, or a timeout in `phase`.
pub(crate) async fn until<T>(timer: &Timer, phase: Phase, work: impl Future<Output = T>) -> Result<T, Failure> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        if let std::task::Poll::Ready(done) = work.as_mut().poll(context) {
            return std::task::Poll::Ready(Ok(done));
        }
        if timer.poll_expired(context) {
            return std::task::Poll::Ready(Err(Failure::new(phase, Kind::Timeout)));
        }
        std::task::Poll::Pending
    })
    .await
}
