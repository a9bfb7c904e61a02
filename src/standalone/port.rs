//! Whether a port can be had, found out by asking for it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Ports asked for an admin address before giving up.
const ADMIN_PORTS_TRIED: u16 = 200;

/// A port that only privileged processes may bind by default, and that nothing is known to use.
const PRIVILEGED_PORT: u16 = 1011;

/// Whether this process, and so its children, may bind ports below 1024.
pub(super) fn may_bind_privileged() -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PRIVILEGED_PORT));
    !matches!(probe(address), Err(error) if error.kind() == io::ErrorKind::PermissionDenied)
}

/// Binds and lets go again, without `SO_REUSEPORT`: with it, a port that another weft holds would seem free.
pub(crate) fn probe(address: SocketAddr) -> io::Result<()> {
    TcpListener::bind(address).map(drop)
}

/// The first free loopback port from `first` on that is not among `taken`.
pub(super) fn free_admin(first: u16, taken: &[SocketAddr]) -> Option<SocketAddr> {
    let last = first.saturating_add(ADMIN_PORTS_TRIED);
    let candidates = (first..=last).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    candidates
        .filter(|address| !taken.contains(address))
        .find(|address| probe(*address).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_port_that_is_taken_is_passed_over() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = held.local_addr().unwrap();
        assert_eq!(probe(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let found = free_admin(address.port(), &[]).unwrap();
        assert!(found.port() > address.port());
        assert_ne!(free_admin(address.port(), &[found]), Some(found));
    }
}
