//! Rules of TLS and TCP ports.

use std::collections::BTreeMap;

use super::matches;
use crate::codes;
use crate::decode::{Field, Fields};
use crate::kind::destination::Destination;
use crate::precedence::subset_of;
use crate::validate;

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

impl TlsRoute {
    pub(super) fn read(field: &Field<'_>, hosts: &[String]) -> Option<Self> {
        let mut fields = field.fields()?;
        let matches = fields.list("match", |f| TlsMatch::read(f, hosts));
        if fields.lacks("match") {
            fields.missing("match", "give `sniHosts`: TLS is routed by name");
        }
        let route = destinations(&mut fields);
        fields.finish();
        Some(Self { matches, route })
    }
}

impl TcpRoute {
    pub(super) fn read(field: &Field<'_>) -> Option<Self> {
        let mut fields = field.fields()?;
        let matches = fields.list("match", |f| {
            let mut fields = f.fields()?;
            let found = L4Match::read(&mut fields);
            fields.finish();
            Some(found)
        });
        let route = destinations(&mut fields);
        fields.finish();
        Some(Self { matches, route })
    }
}

impl TlsMatch {
    fn read(field: &Field<'_>, hosts: &[String]) -> Option<Self> {
        let mut fields = field.fields()?;
        let sni_hosts = fields.list("sniHosts", |f| {
            let sni = f.text()?;
            if sni.parse::<std::net::IpAddr>().is_ok() {
                f.warn(
                    codes::SCHEMA_WARNING,
                    format!("`{sni}` is an address, which no client sends as SNI"),
                    "name a host",
                );
            } else {
                f.check(validate::wildcard_host(sni, false))?;
            }
            let sni = sni.to_ascii_lowercase();
            if !hosts.iter().any(|host| subset_of(&sni, &host.to_ascii_lowercase())) {
                f.error(
                    format!("`{sni}` is covered by no host of the VirtualService"),
                    "add it to `spec.hosts`",
                );
            }
            Some(sni)
        });
        if fields.lacks("sniHosts") {
            fields.missing("sniHosts", "name the hosts in the handshake");
        }
        let connection = L4Match::read(&mut fields);
        fields.finish();
        Some(Self { sni_hosts, connection })
    }
}

impl L4Match {
    fn read(fields: &mut Fields<'_>) -> Self {
        if let Some(old) = fields.old("sourceSubnet") {
            old.warn(codes::OLD_FIELD, "is never evaluated", "remove it");
        }
        Self {
            destination_subnets: fields.list("destinationSubnets", |f| {
                let subnet = f.text()?;
                f.check(validate::ip_or_cidr(subnet)).map(|()| subnet.to_owned())
            }),
            port: fields.field("port").and_then(|f| f.u32(0..=65_535)).filter(|n| *n > 0),
            source_labels: fields.labels("sourceLabels"),
            source_namespace: matches::namespace(fields),
            gateways: matches::gateways(fields),
        }
    }
}

fn destinations(fields: &mut Fields<'_>) -> Vec<RouteDestination> {
    let route = fields.list("route", |f| {
        let mut fields = f.fields()?;
        let destination = fields
            .required("destination", "name a service")
            .and_then(|f| Destination::read(&f));
        let weight = fields.count("weight").unwrap_or_default();
        fields.finish();
        Some(RouteDestination {
            destination: destination?,
            weight,
        })
    });
    if fields.lacks("route") {
        fields.missing("route", "give at least one destination");
    }
    super::route_read::check_weights(&fields.at, route.iter().map(|d| d.weight));
    route
}
