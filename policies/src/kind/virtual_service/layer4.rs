//! Rules of TLS and TCP ports.

use std::collections::BTreeMap;

use crate::kind::destination::Destination;

/// One entry of `tls[]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TlsRoute {
    /// Alternatives; at least one.
    pub matches: Vec<TlsMatch>,
    /// Destinations, by weight per connection.
    pub route: Vec<RouteDestination>,
}

/// One entry of `tcp[]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TcpRoute {
    /// Alternatives; empty: every connection.
    pub matches: Vec<L4Match>,
    /// Destinations, by weight per connection.
    pub route: Vec<RouteDestination>,
}

/// One entry of `tls[].match`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TlsMatch {
    /// SNI values, exact or `*.suffix`; at least one.
    pub sni_hosts: Vec<String>,
    /// The conditions that TCP has as well.
    pub connection: L4Match,
}

/// Conditions on a connection; all must hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct L4Match {
    /// Ranges of the original destination; empty: any.
    pub destination_subnets: Vec<String>,
    /// Port of the listener.
    pub port: Option<u32>,
    /// Labels that the client's proxy must have.
    pub source_labels: BTreeMap<String, String>,
    /// Namespace that the client's proxy must be in.
    pub source_namespace: Option<String>,
    /// Restricts to these gateways; empty: those of the VirtualService.
    pub gateways: Vec<String>,
}

/// One entry of `tls[].route` or `tcp[].route`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct RouteDestination {
    /// Where to.
    pub destination: Destination,
    /// Share of the sum of weights; ignored with a single destination.
    pub weight: u32,
}
