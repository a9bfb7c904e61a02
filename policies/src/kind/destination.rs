//! Where traffic goes: a host of the service registry.

/// A service, optionally one subset and one port of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Destination {
    /// Host as written; a short name belongs to the namespace of the object (`precedence::expand_host`).
    pub host: String,
    /// Subset of the effective DestinationRule.
    pub subset: Option<String>,
    /// Service port number.
    pub port: Option<u32>,
    /// Old YAML: `port.name`, to be resolved against the ports of the service. Only set where `port` is not.
    pub port_name: Option<String>,
}
