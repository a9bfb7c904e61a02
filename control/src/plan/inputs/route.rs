//! What a route table depends on.

use weft_policies::kind::destination_rule::HashKey;
use weft_policies::kind::virtual_service::{HttpRetry, HttpRoute, VirtualService};
use weft_policies::{Meta, Object};

use crate::plan::Shared;

/// A route table (RDS resource).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteTableInputs {
    /// `http.8080`, `9080`, `web.shop.svc.cluster.local:7000`.
    pub name: String,
    /// Its virtual hosts, in the order in which they claimed their domains.
    pub virtual_hosts: Vec<VirtualHostInputs>,
    /// Whether hosts are told apart by their port as well, as a forward proxy does; otherwise ports are ignored.
    pub by_port: bool,
    /// Retries of rules that set none (mesh `defaultHttpRetryPolicy`); the built-in policy if absent.
    pub default_retries: Option<HttpRetry>,
}

/// A virtual host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualHostInputs {
    /// Unique within the table.
    pub name: String,
    /// Authorities, with ports where the table tells them apart; no domain occurs twice in a table.
    pub domains: Vec<String>,
    /// Every plain-text request is answered by a redirect to `https`.
    pub https_redirect: bool,
    /// Tried in this order.
    pub routes: Vec<RouteInputs>,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RouteInputs {
    /// From a rule of a VirtualService.
    Rule(RuleInputs),
    /// Everything to a host that no VirtualService speaks about.
    Host {
        /// Where to.
        target: TargetInputs,
        /// The object that declares the host.
        provenance: Provenance,
    },
    /// Everything to a cluster that belongs to nobody: as dialled, or a proxy for unknown traffic.
    Passthrough {
        /// Its name.
        cluster: String,
    },
    /// Everything is refused with 502.
    Blocked,
    /// CONNECT requests become opaque connections to this cluster; without one they are refused with 502.
    Connect {
        /// Its name.
        cluster: Option<String>,
    },
}

/// One match (or the absence of any) of one rule of a VirtualService, its references resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuleInputs {
    /// The object.
    pub policy: Shared<Object<VirtualService>>,
    /// Index in `spec.http`.
    pub rule: usize,
    /// Index in that rule's `match`; absent for a rule without.
    pub matched: Option<usize>,
    /// One for each entry of the rule's `route`.
    pub targets: Vec<TargetInputs>,
    /// A cluster for each mirror of the rule.
    pub mirrors: Vec<String>,
    /// Port of the listener (gateway: of the server), which `derivePort` may ask for.
    pub port: u16,
}

impl RuleInputs {
    /// The rule.
    pub fn rule(&self) -> &HttpRoute {
        &self.policy.spec.http[self.rule]
    }
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetInputs {
    /// Name of the cluster, whether or not it exists.
    pub cluster: String,
    /// Set when the cluster balances by a hash of the request: the key is part of the route.
    pub hash: Option<HashKey>,
}

/// The object that something was made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Provenance {
    /// `Kind/namespace/name`.
    pub object: String,
    /// Generation, or hash of the content.
    pub generation: String,
}

impl Provenance {
    /// The provenance of what is made from an object of the traffic API.
    pub fn of(kind: &str, meta: &Meta) -> Self {
        Self {
            object: format!("{kind}/{}/{}", meta.namespace, meta.name),
            generation: meta.generation.to_string(),
        }
    }

    /// Namespace and name of the object.
    pub fn namespace_and_name(&self) -> Option<(&str, &str)> {
        let (_, rest) = self.object.split_once('/')?;
        rest.split_once('/')
    }
}
