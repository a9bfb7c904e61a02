//! References to Gateways.

use std::fmt;

use crate::defaults::MESH_GATEWAY;

/// What an entry of `gateways[]` names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GatewayRef {
    /// Every sidecar.
    Mesh,
    /// A Gateway.
    Gateway {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl GatewayRef {
    /// Whether this is the Gateway of that namespace and name.
    pub fn is(&self, namespace: &str, name: &str) -> bool {
        match self {
            Self::Mesh => false,
            Self::Gateway { namespace: n, name: g } => n == namespace && g == name,
        }
    }
}

impl fmt::Display for GatewayRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mesh => f.write_str(MESH_GATEWAY),
            Self::Gateway { namespace, name } => write!(f, "{namespace}/{name}"),
        }
    }
}

/// Resolves a reference made by an object of `namespace`: `mesh`, `name`, `./name`, `ns/name`, or the legacy
/// `name.ns[.svc…]`.
pub fn resolve_gateway(reference: &str, namespace: &str) -> GatewayRef {
    if reference == MESH_GATEWAY {
        return GatewayRef::Mesh;
    }
    let (namespace, name) = match reference.split_once('/') {
        Some((".", name)) => (namespace, name),
        Some((namespace, name)) => (namespace, name),
        None => match reference.split_once('.') {
            Some((name, rest)) => (rest.split('.').next().unwrap_or_default(), name),
            None => (namespace, reference),
        },
    };
    GatewayRef::Gateway {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}
