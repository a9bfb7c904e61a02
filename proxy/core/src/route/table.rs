use std::borrow::Cow;
use std::sync::Arc;

use super::action::Route;
use super::head::RequestHead;
use super::host::{HostError, HostIndex, HostMatch, VirtualHost, without_port};
use crate::Provenance;

/// Routes of a listener, compiled: authority → virtual host → first route that matches.
#[derive(Debug)]
pub struct RouteTable {
    /// Name of the resource.
    pub name: Arc<str>,
    /// Where it comes from, if one object made it.
    pub provenance: Option<Provenance>,
    hosts: Vec<VirtualHost>,
    index: HostIndex,
    ignore_port: bool,
    https_redirect: Arc<Route>,
}

/// Whether a virtual host takes plain text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RequireTls {
    /// It does.
    #[default]
    No,
    /// It answers plain text with a redirect.
    All,
}

/// A route together with why it was taken.
#[derive(Debug, Clone, Copy)]
pub struct Found<'t> {
    /// The virtual host.
    pub virtual_host: &'t VirtualHost,
    /// The route. Keep a clone of the `Arc`, not the table.
    pub route: &'t Arc<Route>,
    /// Why.
    pub why: Why,
}

/// Why a route was taken, comparable: the smaller one is the stronger match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Why {
    /// How the virtual host was found.
    pub host: HostMatch,
    /// Place of the route in its virtual host; `None` for the redirect to TLS, which comes before all.
    pub route: Option<usize>,
}

/// Nothing fits.
#[derive(Debug, Clone, Copy)]
pub enum Miss<'t> {
    /// No virtual host for the authority.
    NoVirtualHost,
    /// No route of this virtual host.
    NoRoute(&'t VirtualHost),
}

impl RouteTable {
    /// Indexes virtual hosts.
    ///
    /// # Errors
    /// When domains are malformed or stand twice.
    pub fn new(
        name: Arc<str>,
        provenance: Option<Provenance>,
        hosts: Vec<VirtualHost>,
        ignore_port: bool,
    ) -> Result<Self, HostError> {
        let index = HostIndex::new(&hosts)?;
        Ok(Self {
            name,
            provenance,
            hosts,
            index,
            ignore_port,
            https_redirect: Arc::new(Route::to_https()),
        })
    }

    /// All virtual hosts.
    pub fn virtual_hosts(&self) -> &[VirtualHost] {
        &self.hosts
    }

    /// The virtual host of an authority, and how it was found.
    pub fn find_virtual_host(&self, authority: &str) -> Option<(&VirtualHost, HostMatch)> {
        let authority = if self.ignore_port {
            without_port(authority)
        } else {
            authority
        };
        let authority = if authority.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(authority.to_ascii_lowercase())
        } else {
            Cow::Borrowed(authority)
        };
        let (place, how) = self.index.find(&authority)?;
        self.hosts.get(usize::try_from(place).ok()?).map(|host| (host, how))
    }

    /// The route of a request: the first of its virtual host that matches.
    ///
    /// # Errors
    /// When no virtual host or no route fits.
    pub fn find(&self, head: &RequestHead<'_>) -> Result<Found<'_>, Miss<'_>> {
        let (virtual_host, host) = self.find_virtual_host(head.authority).ok_or(Miss::NoVirtualHost)?;
        if virtual_host.require_tls == RequireTls::All && head.scheme != "https" {
            return Ok(Found {
                virtual_host,
                route: &self.https_redirect,
                why: Why { host, route: None },
            });
        }
        virtual_host
            .routes
            .iter()
            .enumerate()
            .find(|(_, route)| route.matcher.is_match(head))
            .map(|(place, route)| Found {
                virtual_host,
                route,
                why: Why {
                    host,
                    route: Some(place),
                },
            })
            .ok_or(Miss::NoRoute(virtual_host))
    }
}
