//! Delegation: rules of one VirtualService stand in for a rule of another (Istio: `model/virtualservice.go`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{GatewayRef, expand_host, exported_to, resolve_gateway};
use crate::kind::string_match::StringMatch;
use crate::kind::virtual_service::{Delegate, Headers, HttpAction, HttpMatch, HttpRoute, RuleOrigin, VirtualService};
use crate::object::Object;

type Policy = Arc<Object<VirtualService>>;

/// Why a rule that delegates does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DelegateProblem {
    /// There is no such object.
    Missing,
    /// It applies by itself.
    HasHosts,
    /// The delegating namespace does not see it.
    NotExported,
}

impl fmt::Display for DelegateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "does not exist, or is not accepted",
            Self::HasHosts => "has hosts of its own, so it is no delegate",
            Self::NotExported => "is not exported to this namespace",
        })
    }
}

/// The delegate that a rule of an object in `namespace` names.
///
/// # Errors
/// If there is none that may stand in.
pub fn delegate_of<'a>(
    all: &'a [Policy],
    mesh_default: &[String],
    namespace: &str,
    delegate: &Delegate,
) -> Result<&'a Policy, DelegateProblem> {
    let wanted = delegate.namespace.as_deref().unwrap_or(namespace);
    let found = all
        .iter()
        .find(|object| object.meta.name == delegate.name && object.meta.namespace == wanted)
        .ok_or(DelegateProblem::Missing)?;
    if !found.spec.hosts.is_empty() {
        return Err(DelegateProblem::HasHosts);
    }
    let seen = exported_to(&found.spec.export_to, mesh_default, wanted, namespace);
    seen.then_some(found).ok_or(DelegateProblem::NotExported)
}

/// The object with each delegating rule replaced by the rules of its delegate, in their order. A rule whose delegate may
/// not stand in stays as it is, and does nothing; each rule says where it comes from.
pub fn with_delegates(
    root: &Object<VirtualService>,
    all: &[Policy],
    mesh_default: &[String],
    cluster_domain: &str,
) -> Object<VirtualService> {
    let mut http = Vec::new();
    for (index, rule) in root.spec.http.iter().enumerate() {
        let origin = RuleOrigin {
            rule: index,
            delegate: None,
        };
        let found = match &rule.action {
            HttpAction::Delegate(named) => delegate_of(all, mesh_default, &root.meta.namespace, named).ok(),
            _ => None,
        };
        let Some(delegate) = found else {
            http.push(HttpRoute {
                origin: Some(origin),
                ..rule.clone()
            });
            continue;
        };
        for (nth, leaf) in delegate.spec.http.iter().enumerate() {
            let leaf = resolved(leaf, &delegate.meta.namespace, cluster_domain);
            let Some(matches) = matches(&rule.matches, &leaf.matches, &root.meta.namespace) else {
                continue;
            };
            let meta = &delegate.meta;
            http.push(HttpRoute {
                matches,
                origin: Some(RuleOrigin {
                    rule: index,
                    delegate: Some((Arc::new(meta.clone()), nth)),
                }),
                ..merged(rule, leaf)
            });
        }
    }
    Object {
        meta: root.meta.clone(),
        spec: VirtualService {
            http,
            ..root.spec.clone()
        },
    }
}

/// A rule of a delegate as it reads outside its namespace: short names mean what they mean there.
fn resolved(rule: &HttpRoute, namespace: &str, cluster_domain: &str) -> HttpRoute {
    let mut rule = rule.clone();
    let expand = |host: &mut String| *host = expand_host(host, namespace, cluster_domain);
    if let HttpAction::Route(destinations) = &mut rule.action {
        for destination in destinations {
            expand(&mut destination.destination.host);
        }
    }
    if let Some(mirror) = &mut rule.mirror {
        expand(&mut mirror.host);
    }
    for mirror in &mut rule.mirrors {
        expand(&mut mirror.destination.host);
    }
    for gateway in rule.matches.iter_mut().flat_map(|matched| &mut matched.gateways) {
        if let GatewayRef::Gateway { namespace, name } = resolve_gateway(gateway, namespace) {
            *gateway = format!("{namespace}/{name}");
        }
    }
    rule
}

/// What the delegate's rule leaves open comes from the root's; blocks are never mixed.
fn merged(root: &HttpRoute, leaf: HttpRoute) -> HttpRoute {
    HttpRoute {
        name: joined(root.name.as_deref(), leaf.name),
        rewrite: leaf.rewrite.or_else(|| root.rewrite.clone()),
        timeout: leaf.timeout.or(root.timeout),
        retries: leaf.retries.or_else(|| root.retries.clone()),
        fault: leaf.fault.or_else(|| root.fault.clone()),
        mirror: leaf.mirror.or_else(|| root.mirror.clone()),
        mirror_percentage: leaf.mirror_percentage.or(root.mirror_percentage),
        mirrors: if leaf.mirrors.is_empty() {
            root.mirrors.clone()
        } else {
            leaf.mirrors
        },
        cors_policy: leaf.cors_policy.or_else(|| root.cors_policy.clone()),
        headers: if leaf.headers == Headers::default() {
            root.headers.clone()
        } else {
            leaf.headers
        },
        matches: leaf.matches,
        action: leaf.action,
        origin: leaf.origin,
    }
}

/// `root-leaf`, or the one name that there is.
fn joined(root: Option<&str>, leaf: Option<String>) -> Option<String> {
    match (
        root.filter(|name| !name.is_empty()),
        leaf.filter(|name| !name.is_empty()),
    ) {
        (Some(root), Some(leaf)) => Some(format!("{root}-{leaf}")),
        (root, leaf) => leaf.or_else(|| root.map(str::to_owned)),
    }
}

/// Each match of the delegate with each match of the root that it does not contradict; `None` if one of them contradicts
/// all, for then the rule is dropped whole. An empty list asks for nothing.
fn matches(root: &[HttpMatch], leaf: &[HttpMatch], namespace: &str) -> Option<Vec<HttpMatch>> {
    if root.is_empty() || leaf.is_empty() {
        return Some(if root.is_empty() { leaf } else { root }.to_vec());
    }
    let mut all = Vec::new();
    for one in leaf {
        let before = all.len();
        let fitting = root.iter().filter(|root| !conflict(root, one, namespace));
        all.extend(fitting.map(|root| both(root, one)));
        if all.len() == before {
            return None;
        }
    }
    Some(all)
}

/// The conditions of both; where both state one, the delegate's, which is the narrower.
fn both(root: &HttpMatch, leaf: &HttpMatch) -> HttpMatch {
    fn united<V: Clone>(root: &BTreeMap<String, V>, leaf: &BTreeMap<String, V>) -> BTreeMap<String, V> {
        let mut all = root.clone();
        all.extend(leaf.clone());
        all
    }
    let or = |leaf: &Option<StringMatch>, root: &Option<StringMatch>| leaf.clone().or_else(|| root.clone());
    HttpMatch {
        name: joined(root.name.as_deref(), leaf.name.clone()),
        uri: or(&leaf.uri, &root.uri),
        ignore_uri_case: leaf.ignore_uri_case,
        scheme: or(&leaf.scheme, &root.scheme),
        method: or(&leaf.method, &root.method),
        authority: or(&leaf.authority, &root.authority),
        headers: united(&root.headers, &leaf.headers),
        without_headers: united(&root.without_headers, &leaf.without_headers),
        query_params: united(&root.query_params, &leaf.query_params),
        port: leaf.port.or(root.port),
        source_labels: united(&root.source_labels, &leaf.source_labels),
        source_namespace: leaf.source_namespace.clone().or_else(|| root.source_namespace.clone()),
        gateways: if leaf.gateways.is_empty() {
            root.gateways.clone()
        } else {
            leaf.gateways.clone()
        },
        stat_prefix: leaf.stat_prefix.clone().or_else(|| root.stat_prefix.clone()),
    }
}

/// Whether a match of the delegate asks for something outside a match of the root (Istio: `hasConflict`).
fn conflict(root: &HttpMatch, leaf: &HttpMatch, namespace: &str) -> bool {
    let strings = [
        (&root.uri, &leaf.uri),
        (&root.scheme, &leaf.scheme),
        (&root.method, &leaf.method),
        (&root.authority, &leaf.authority),
    ];
    let maps = [
        (&root.headers, &leaf.headers),
        (&root.without_headers, &leaf.without_headers),
        (&root.query_params, &leaf.query_params),
    ];
    let keys = maps
        .iter()
        .any(|(root, leaf)| leaf.iter().any(|(key, leaf)| leaves(root.get(key), Some(leaf))));
    let labels = leaf
        .source_labels
        .iter()
        .any(|(key, value)| root.source_labels.get(key).is_some_and(|stated| stated != value));
    strings.iter().any(|(root, leaf)| leaves(root.as_ref(), leaf.as_ref()))
        || keys
        || root.ignore_uri_case != leaf.ignore_uri_case
        || root
            .port
            .is_some_and(|port| leaf.port.is_some_and(|other| other != port))
        || (root.source_namespace.is_some() && root.source_namespace != leaf.source_namespace)
        || labels
        || gateways_leave(&root.gateways, &leaf.gateways, namespace)
}

fn gateways_leave(root: &[String], leaf: &[String], namespace: &str) -> bool {
    let within = |gateway: &String| {
        let gateway = resolve_gateway(gateway, namespace);
        root.iter().any(|one| resolve_gateway(one, namespace) == gateway)
    };
    !root.is_empty() && !leaf.iter().all(within)
}

/// Whether the delegate's condition leaves the root's. Of expressions nobody can tell, nor of mere presence.
fn leaves(root: Option<&StringMatch>, leaf: Option<&StringMatch>) -> bool {
    use StringMatch::{Exact, Prefix};
    match (root, leaf) {
        (None, _) | (_, None) => false,
        (Some(Exact(root)), Some(Exact(leaf))) => root.is_empty() || root != leaf,
        (Some(Prefix(root)), Some(Exact(leaf) | Prefix(leaf))) => {
            root.is_empty() || leaf.is_empty() || !leaf.starts_with(root.as_str())
        }
        (Some(_), Some(_)) => true,
    }
}
