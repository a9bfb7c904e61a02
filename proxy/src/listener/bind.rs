//! Sockets of a listener: one per worker, sharing a port.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted, per socket; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Opens `count` sockets that share an address; the kernel spreads connections over them.
///
/// # Errors
/// When the address is taken by another process, or may not be bound. A first bind without `SO_REUSEPORT` finds out: with
/// it, another process of the same user that has set it too would quietly get half of the connections.
pub(crate) fn bind(address: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let probe = socket(address, false)?;
    let address = probe.local_addr()?.as_socket().ok_or(io::ErrorKind::InvalidInput)?;
    drop(probe);
    let sockets: io::Result<Vec<TcpListener>> = (0..count)
        .map(|_| {
            let socket = socket(address, true)?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        })
        .collect();
    Ok((address, sockets?))
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted proxy may bind while old connections are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_share_a_port_and_a_taken_port_is_an_error() {
        let (address, sockets) = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_eq!(sockets.len(), 3);
        assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == address));
        assert_eq!(bind(address, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
