//! Whether a listener can answer.

use weft_proxy_core::chain::{Listener, Network, RouteSource};

use crate::snapshot::Snapshot;

/// A listener serves once the route tables that it names have arrived: before that it could answer nothing but 404.
pub(super) fn is_warm(listener: &Listener, snapshot: &Snapshot) -> bool {
    listener
        .chains
        .iter()
        .chain(&listener.default_chain)
        .all(|chain| match &chain.network {
            Network::Http(manager) => match &manager.route {
                RouteSource::Rds(name) => snapshot.route_table(name).is_some(),
                RouteSource::Inline(_) => true,
            },
            Network::Tcp(_) | Network::Close => true,
        })
}
