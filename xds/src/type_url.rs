//! The closed set of resource types, in the order in which they are pushed.

/// A resource type that is spoken. The order of the variants is the order of a push:
/// what is named goes out before what names it (Envoy: "xDS protocol, eventual consistency considerations").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TypeUrl {
    /// Clusters, CDS.
    Cluster,
    /// Endpoints of a cluster, EDS.
    Endpoint,
    /// Listeners, LDS.
    Listener,
    /// Route tables, RDS.
    Route,
    /// Certificates and trust roots, SDS.
    Secret,
}

impl TypeUrl {
    /// All types, in push order.
    pub const ALL: [Self; 5] = [Self::Cluster, Self::Endpoint, Self::Listener, Self::Route, Self::Secret];

    /// The type URL as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        }
    }

    /// The type that a URL on the wire names, if it is one that is spoken.
    pub fn parse(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == url)
    }

    /// The short name that operators know: `CDS`, `EDS`, `LDS`, `RDS`, `SDS`.
    pub const fn short(self) -> &'static str {
        match self {
            Self::Cluster => "CDS",
            Self::Endpoint => "EDS",
            Self::Listener => "LDS",
            Self::Route => "RDS",
            Self::Secret => "SDS",
        }
    }

    /// Whether a client may ask for every resource of this type, named or not.
    pub const fn allows_wildcard(self) -> bool {
        match self {
            Self::Cluster | Self::Listener => true,
            Self::Endpoint | Self::Route | Self::Secret => false,
        }
    }

    /// Position in push order, from 0.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl std::fmt::Display for TypeUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::TypeUrl;

    #[test]
    fn every_type_is_found_by_its_url_and_stands_at_its_place_in_push_order() {
        for (place, kind) in TypeUrl::ALL.into_iter().enumerate() {
            assert_eq!(TypeUrl::parse(kind.as_str()), Some(kind));
            assert_eq!(kind.index(), place);
        }
        assert_eq!(TypeUrl::parse("type.googleapis.com/foo.Bar"), None);
    }
}
