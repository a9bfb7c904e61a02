//! Names to addresses, by the resolver of the machine or by the server that a flag names.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::time::{Instant, timeout};
use weft_proxy_core::cluster::{ADDRESSES_PER_NAME_MAX, Family, Looked};

/// A look-up with all its tries ends after this: the names behind it have their turn.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(15);

/// Looks names up.
pub(super) struct Resolver {
    server: Option<SocketAddr>,
    /// One for each family, made when it is first asked for.
    by_family: BTreeMap<Family, TokioResolver>,
}

impl Resolver {
    /// Asks `server`, or whoever `/etc/resolv.conf` names.
    pub(super) fn new(server: Option<SocketAddr>) -> Self {
        Self {
            server,
            by_family: BTreeMap::new(),
        }
    }

    /// The resolver for a family; `None` while the machine has none, which is looked at again each time.
    pub(super) fn of(&mut self, family: Family) -> Option<TokioResolver> {
        if let Some(known) = self.by_family.get(&family) {
            return Some(known.clone());
        }
        match build(self.server, family) {
            Ok(resolver) => {
                self.by_family.insert(family, resolver.clone());
                Some(resolver)
            }
            Err(error) => {
                tracing::warn!(%error, "the machine's resolver cannot be used");
                None
            }
        }
    }
}

fn build(server: Option<SocketAddr>, family: Family) -> Result<TokioResolver, NetError> {
    let mut builder = match server {
        None => TokioResolver::builder_tokio()?,
        Some(server) => {
            let mut one = NameServerConfig::udp_and_tcp(server.ip());
            for connection in &mut one.connections {
                connection.port = server.port();
            }
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![one]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    options.ip_strategy = match family {
        Family::Ipv6Preferred => LookupIpStrategy::Ipv6thenIpv4,
        Family::Ipv4 => LookupIpStrategy::Ipv4Only,
        Family::Ipv6 => LookupIpStrategy::Ipv6Only,
        Family::Ipv4Preferred => LookupIpStrategy::Ipv4thenIpv6,
        Family::Both => LookupIpStrategy::Ipv4AndIpv6,
    };
    // When a name is asked for again is decided by its cluster.
    options.cache_size = 0;
    builder.build()
}

/// One look-up.
pub(super) async fn look_up(resolver: Option<TokioResolver>, host: &str) -> Looked {
    let Some(resolver) = resolver else {
        return Looked::Failed;
    };
    match timeout(LOOKUP_TIMEOUT, resolver.lookup_ip(host)).await {
        Ok(Ok(found)) => {
            let ttl = found.valid_until().saturating_duration_since(Instant::now().into_std());
            let addresses: Vec<_> = found.iter().take(ADDRESSES_PER_NAME_MAX).collect();
            if addresses.is_empty() {
                return Looked::Nothing;
            }
            // What is left of whole seconds after the time that it took.
            Looked::Found(addresses, Duration::from_secs(ttl.as_secs_f64().round() as u64))
        }
        Ok(Err(error)) if is_nothing(&error) => Looked::Nothing,
        Ok(Err(error)) => {
            tracing::debug!(host, %error, "a look-up failed");
            Looked::Failed
        }
        Err(_elapsed) => Looked::Failed,
    }
}

/// Whether the answer says that there are no such records, rather than that nobody knows.
fn is_nothing(error: &NetError) -> bool {
    error.is_nx_domain() || error.is_no_records_found()
}
