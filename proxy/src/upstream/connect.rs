//! in → out: an endpoint → an open connection with its driver running, or why not.
//! owns: dialling, socket options, the connect limit.
//! may not touch: requests.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;
use weft_proxy_core::outlier::Event;

use super::admit::{ConnectionPermit, PermittedStream};
use super::cluster::Cluster;
use super::endpoint::EndpointState;
use super::h2_connection::Http2Connection;
use super::h2_pool::Enlisted;
use super::pool::UpstreamConnection;
use crate::http::failure::UpstreamFailure;

/// The largest response head, as Envoy has it (60 KiB), and with it hyper's buffer for reading from an upstream.
const RESPONSE_HEAD_BYTES_MAX: usize = 60 * 1024;

/// Opens an HTTP/1 connection, which keeps the permit for as long as its socket is open. Its driver runs as a task of
/// this worker until either side closes.
///
/// Cancel safe: dropping the future closes the socket.
pub(crate) async fn connect(
    cluster: &Cluster,
    endpoint: &Arc<EndpointState>,
    permit: ConnectionPermit,
) -> Result<UpstreamConnection, UpstreamFailure> {
    let stream = PermittedStream::new(dial(cluster, endpoint).await?, permit);
    let handshake = http1::Builder::new()
        .max_buf_size(RESPONSE_HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, connection) = handshake.map_err(|_| {
        endpoint.counters.connect_failures.increment();
        UpstreamFailure::Connect
    })?;
    // How the connection ends shows at the request that is on it; an idle one just goes.
    tokio::task::spawn_local(async move { connection.with_upgrades().await.ok() });
    endpoint.observe(Event::Connected);
    Ok(UpstreamConnection::new(
        sender,
        endpoint.clone(),
        cluster.reuse_policy(),
    ))
}

/// Opens an HTTP/2 connection, ready for its first stream. The connect limit holds until the peer has said how many
/// streams it takes.
///
/// Cancel safe, as [`connect`].
pub(super) async fn connect_http2(
    cluster: &Cluster,
    endpoint: &Arc<EndpointState>,
    permit: ConnectionPermit,
    enlisted: Rc<Enlisted>,
) -> Result<Http2Connection, UpstreamFailure> {
    let deadline = Instant::now() + cluster.config.connect_timeout;
    let stream = PermittedStream::new(dial(cluster, endpoint).await?, permit);
    let opening = Http2Connection::open(stream, enlisted, cluster.config.http.clone(), endpoint.clone());
    tokio::time::timeout_at(deadline, opening)
        .await
        .unwrap_or(Err(UpstreamFailure::ConnectTimeout))
        .inspect(|_| endpoint.observe(Event::Connected))
        .inspect_err(|_| endpoint.counters.connect_failures.increment())
}

/// Opens a socket to an endpoint, with the options of its cluster, within the connect limit.
///
/// Cancel safe: dropping the future closes the socket.
pub(crate) async fn dial(cluster: &Cluster, endpoint: &EndpointState) -> Result<TcpStream, UpstreamFailure> {
    endpoint.counters.connects.increment();
    let failed = |failure| {
        endpoint.counters.connect_failures.increment();
        failure
    };
    let dialled = tokio::time::timeout(cluster.config.connect_timeout, open(cluster, endpoint.address)).await;
    let stream = match dialled {
        Err(_elapsed) => return Err(failed(UpstreamFailure::ConnectTimeout)),
        Ok(Err(_refused)) => return Err(failed(UpstreamFailure::Connect)),
        Ok(Ok(stream)) => stream,
    };
    if set_options(&stream, cluster.keepalive()).is_err() {
        return Err(failed(UpstreamFailure::Connect));
    }
    Ok(stream)
}

/// Dials, from the address that the cluster asks for.
async fn open(cluster: &Cluster, target: SocketAddr) -> io::Result<TcpStream> {
    let Some(source) = cluster.config.sources.of(target) else {
        return TcpStream::connect(target).await;
    };
    let socket = if target.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Otherwise the port is taken before the target is known, from all targets, until TIME_WAIT is over: a few hundred
    // connections a second use up an address (Envoy: IP_BIND_ADDRESS_NO_PORT). A kernel without it binds as ever.
    if source.port() == 0 {
        setsockopt(&socket, IpBindAddressNoPort, &true).ok();
    }
    socket.bind(source)?;
    socket.connect(target).await
}

/// Keepalive probes as a cluster asks for them; parts that are `None` are the system's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeepaliveProbes {
    pub(crate) retries: Option<u32>,
    pub(crate) time: Option<Duration>,
    pub(crate) interval: Option<Duration>,
}

fn set_options(stream: &TcpStream, keepalive: Option<KeepaliveProbes>) -> io::Result<()> {
    // Small writes of a streamed body must not wait for the peer's acknowledgement.
    stream.set_nodelay(true)?;
    let Some(probes) = keepalive else { return Ok(()) };
    let mut options = TcpKeepalive::new();
    if let Some(time) = probes.time {
        options = options.with_time(time);
    }
    if let Some(interval) = probes.interval {
        options = options.with_interval(interval);
    }
    if let Some(retries) = probes.retries {
        options = options.with_retries(retries);
    }
    SockRef::from(stream).set_tcp_keepalive(&options)
}
