use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::listener::Listener;

/// All listeners of a proxy, found by the address that a client dialled.
#[derive(Debug, Default)]
pub struct Listeners {
    all: Vec<Arc<Listener>>,
    by_address: FxHashMap<SocketAddr, usize>,
    by_name: FxHashMap<Arc<str>, usize>,
    /// Ports at which captured connections arrive.
    captures: Vec<u16>,
}

impl Listeners {
    /// Indexes listeners. Of two with the same address the first is found.
    pub fn new(all: Vec<Arc<Listener>>) -> Self {
        let mut by_address = FxHashMap::default();
        let mut by_name = FxHashMap::default();
        for (place, listener) in all.iter().enumerate() {
            by_name.entry(listener.name.clone()).or_insert(place);
            for address in std::iter::once(&listener.address).chain(&listener.additional) {
                by_address.entry(*address).or_insert(place);
            }
        }
        let is_capture =
            |one: &&Arc<Listener>| one.bind_to_port && (one.use_original_dst || one.inspectors.original_dst);
        let mut captures: Vec<u16> = all.iter().filter(is_capture).map(|one| one.address.port()).collect();
        captures.sort_unstable();
        Self {
            captures,
            all,
            by_address,
            by_name,
        }
    }

    /// All of them, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.all.iter()
    }

    /// The listener with a name.
    pub fn named(&self, name: &str) -> Option<&Arc<Listener>> {
        self.by_name.get(name).map(|place| &self.all[*place])
    }

    /// The listener for an address: the very one, else the one for all addresses with this port.
    pub fn find(&self, destination: SocketAddr) -> Option<&Arc<Listener>> {
        let any = match destination.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let port = destination.port();
        // A socket bound to [::] gets IPv4 connections as well.
        [
            destination,
            SocketAddr::new(any, port),
            SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
        ]
        .into_iter()
        .find_map(|address| self.by_address.get(&address))
        .map(|place| &self.all[*place])
    }

    /// Whether captured connections arrive at a port of ours. To dial it would be a loop.
    pub fn captures_at(&self, port: u16) -> bool {
        self.captures.binary_search(&port).is_ok()
    }

    /// The listener that serves a connection which another one has accepted: the one for the original destination where
    /// the accepting one says so and there is one, else the accepting one itself.
    pub fn hand_over<'a>(&'a self, accepted: &'a Arc<Listener>, destination: SocketAddr) -> &'a Arc<Listener> {
        if !accepted.use_original_dst || destination == accepted.address {
            return accepted;
        }
        self.find(destination).unwrap_or(accepted)
    }
}
