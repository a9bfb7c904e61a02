//! The addresses and ports that hosts are served at, and how hosts that meet at one of them share it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use weft_policies::kind::protocol::Protocol;

use super::codes;
use super::context::{Context, Note};
use super::inputs::{OpaqueInputs, Provenance};
use super::opaque::{self, Via};
use super::registry::{Host, Port};

/// What is served at which address and port.
#[derive(Default)]
pub(super) struct Slots<'c> {
    slots: BTreeMap<(IpAddr, u16), Slot<'c>>,
}

/// What is served at one address and port.
#[derive(Default)]
pub(super) struct Slot<'c> {
    /// Index of the egress listener that it belongs to.
    pub(super) view: usize,
    /// Whether it has a socket of its own.
    pub(super) bound: bool,
    /// It is a forward proxy.
    pub(super) forward_proxy: bool,
    /// A host that declares HTTP is served.
    pub(super) http: bool,
    /// Hosts whose protocol is found out.
    pub(super) detected: Vec<&'c Host>,
    /// Where opaque bytes go.
    pub(super) opaque: Vec<OpaqueInputs>,
    /// The objects that asked for it, where it belongs to them.
    pub(super) provenance: Vec<Provenance>,
    /// The server may speak first: waiting for the client's first bytes would never end.
    server_first: bool,
    locked: bool,
}

/// Where a host is reached.
#[derive(Clone, Debug)]
pub(super) struct Place {
    address: IpAddr,
    via: Via,
}

impl Place {
    /// At an address that belongs to the host.
    pub(super) fn at(address: IpAddr) -> Self {
        Self {
            address,
            via: Via::default(),
        }
    }

    /// Shared with other hosts, so that TLS is told apart by name.
    pub(super) fn by_name(mut self, by_name: bool) -> Self {
        self.via.by_name = by_name;
        self
    }

    /// Where captured connections to a host go: at its addresses; into its networks, or if it has neither, anywhere.
    /// Declared HTTP shares one listener with all others on its port number.
    pub(super) fn of(host: &Host, protocol: Protocol) -> Vec<Self> {
        if protocol.is_http() {
            return vec![Self::at(Ipv4Addr::UNSPECIFIED.into())];
        }
        let mut places: Vec<Self> = host.addresses.iter().copied().map(Self::at).collect();
        if places.is_empty() || !host.networks.is_empty() {
            places.push(Self {
                address: Ipv4Addr::UNSPECIFIED.into(),
                via: Via {
                    networks: host.networks.clone(),
                    by_name: true,
                },
            });
        }
        places
    }
}

impl<'c> Slots<'c> {
    /// What is taken so far stays as it is.
    pub(super) fn lock(&mut self) {
        for slot in self.slots.values_mut() {
            slot.locked = true;
        }
    }

    /// All slots.
    pub(super) fn into_inner(self) -> BTreeMap<(IpAddr, u16), Slot<'c>> {
        self.slots
    }

    /// Takes an address for a forward proxy.
    pub(super) fn forward_proxy(&mut self, address: IpAddr, port: u16, view: usize, bound: bool) {
        let slot = self
            .slots
            .entry((address, port))
            .or_insert_with(|| Slot::new(view, bound));
        slot.forward_proxy = true;
    }

    /// Serves a port of a host at these places, as far as they are free.
    pub(super) fn offer(
        &mut self,
        context: &Context<'_>,
        view: usize,
        host: &'c Host,
        port: &Port,
        places: Vec<Place>,
        bound: bool,
    ) {
        for place in places {
            let slot = self
                .slots
                .entry((place.address, port.number))
                .or_insert_with(|| Slot::new(view, bound));
            if slot.locked || slot.forward_proxy {
                continue;
            }
            if port.protocol.is_http() {
                slot.requests(context, host, port);
            } else {
                slot.bytes(context, host, port, &place);
            }
        }
    }
}

impl<'c> Slot<'c> {
    fn new(view: usize, bound: bool) -> Self {
        Self {
            view,
            bound,
            ..Self::default()
        }
    }

    fn requests(&mut self, context: &Context<'_>, host: &Host, port: &Port) {
        if self.server_first {
            return conflict(context, host, port, "a server that may speak first");
        }
        self.http = true;
    }

    fn bytes(&mut self, context: &Context<'_>, host: &'c Host, port: &Port, place: &Place) {
        let server_first = matches!(port.protocol, Protocol::MySql | Protocol::Mongo);
        if server_first && (self.http || !self.detected.is_empty()) {
            return conflict(context, host, port, "HTTP, whose clients speak first");
        }
        self.server_first |= server_first;
        if !place.address.is_unspecified() {
            self.provenance.push(host.provenance());
        }
        let view = &context.outbound.views[self.view];
        let mut whole = true;
        for chain in opaque::of_host(context, view, host, port, &place.via) {
            whole &= opaque::merge(&mut self.opaque, chain);
        }
        if port.protocol == Protocol::Detect {
            self.detected.push(host);
        } else if !whole {
            conflict(context, host, port, "another host that takes the same connections");
        }
    }
}

/// Tells the author of a host that it is not served here (Istio counts these as `pilot_conflict_outbound_listener_*`).
fn conflict(context: &Context<'_>, host: &Host, port: &Port, with: &str) {
    let (kind, meta) = host.object();
    context.note(Note {
        code: codes::PORT_CONFLICT,
        kind,
        meta: &meta,
        path: "spec.ports".to_owned(),
        problem: format!(
            "port {} of {} meets {with} at the same address and port; the older keeps it",
            port.number, host.name
        ),
        fix: "give it an address of its own, or another port".to_owned(),
    });
}
