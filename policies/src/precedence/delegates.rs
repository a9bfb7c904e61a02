//! Delegation: rules of one VirtualService stand in for a rule of another (Istio: `model/virtualservice.go`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{GatewayRef, expand_host, exported_to, resolve_gateway};
use crate::kind::string_match::StringMatch;
use crate::kind::virtual_service::{
    Delegate, Dropped, Headers, HttpAction, HttpMatch, HttpRoute, RuleOrigin, VirtualService,
};
use crate::object::Object;

/// Matches that one root may get from its delegates: every match of the one side stands with every match of the other, so
/// that two small files could ask for any number.
const MERGED_MATCHES_MAX: usize = 16_384;
/// Comparisons of matches for one root, most of which may fit nothing.
const COMPARISONS_MAX: usize = 1 << 20;

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
/// not stand in stays as it is, and does nothing; so does, in place of a delegate's rule that is dropped, the rule that
/// delegates. Each rule says where it comes from.
pub fn with_delegates(
    root: &Object<VirtualService>,
    all: &[Policy],
    mesh_default: &[String],
    cluster_domain: &str,
) -> Object<VirtualService> {
    let mut http = Vec::new();
    let mut budget = Budget {
        matches: MERGED_MATCHES_MAX,
        comparisons: COMPARISONS_MAX,
    };
    for (index, rule) in root.spec.http.iter().enumerate() {
        let origin = RuleOrigin {
            rule: index,
            delegate: None,
            dropped: None,
        };
        let found = match &rule.action {
            HttpAction::Delegate(named) => delegate_of(all, mesh_default, &root.meta.namespace, named).ok(),
            HttpAction::Route(_) | HttpAction::Redirect(_) | HttpAction::DirectResponse(_) => None,
        };
        let Some(delegate) = found else {
            http.push(HttpRoute {
                origin: Some(origin),
                ..rule.clone()
            });
            continue;
        };
        let meta = Arc::new(delegate.meta.clone());
        // What the root lends is read as the root means it.
        let rule = resolved(rule, &root.meta.namespace, cluster_domain);
        let bare = HttpRoute {
            matches: Vec::new(),
            ..rule.clone()
        };
        for (nth, leaf) in delegate.spec.http.iter().enumerate() {
            let leaf = resolved(leaf, &delegate.meta.namespace, cluster_domain);
            let found = matches(&rule.matches, &leaf.matches, &root.meta.namespace, &mut budget);
            let origin = Some(RuleOrigin {
                rule: index,
                delegate: Some((Arc::clone(&meta), nth)),
                dropped: found.as_ref().err().copied(),
            });
            http.push(match found {
                Ok(matches) => HttpRoute {
                    matches,
                    origin,
                    ..merged(&rule, leaf)
                },
                Err(_) => HttpRoute { origin, ..bare.clone() },
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

/// A rule as it reads outside its namespace: short names mean what they mean there.
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

/// What may still be spent on one root.
struct Budget {
    matches: usize,
    comparisons: usize,
}

impl Budget {
    fn spend(left: &mut usize, amount: usize) -> Result<(), Dropped> {
        *left = left.checked_sub(amount).ok_or(Dropped::TooManyMatches)?;
        Ok(())
    }
}

/// Each match of the delegate with each match of the root that it does not contradict. If one of them contradicts all, the
/// rule is dropped whole. An empty list asks for nothing.
fn matches(
    root: &[HttpMatch],
    leaf: &[HttpMatch],
    namespace: &str,
    budget: &mut Budget,
) -> Result<Vec<HttpMatch>, Dropped> {
    if root.is_empty() || leaf.is_empty() {
        let stated = if root.is_empty() { leaf } else { root };
        Budget::spend(&mut budget.matches, stated.len())?;
        return Ok(stated.to_vec());
    }
    Budget::spend(&mut budget.comparisons, root.len().saturating_mul(leaf.len()))?;
    let mut all = Vec::new();
    for one in leaf {
        let before = all.len();
        let fitting = root.iter().filter(|root| !conflict(root, one, namespace));
        // One too many is enough to know.
        all.extend(fitting.take(budget.matches + 1 - before).map(|root| both(root, one)));
        if all.len() == before {
            return Err(Dropped::FitsNoMatch);
        }
        if all.len() > budget.matches {
            return Err(Dropped::TooManyMatches);
        }
    }
    budget.matches -= all.len();
    Ok(all)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AnyObject, read_all, yaml};

    fn objects(text: &str) -> Vec<Policy> {
        let (documents, _) = yaml::parse("rules.yaml", text);
        let (objects, findings) = read_all(&documents);
        assert!(findings.iter().all(|finding| !finding.is_error()), "{findings:?}");
        let rules = objects.into_iter().filter_map(|object| match object {
            AnyObject::VirtualService(object) => Some(object),
            _ => None,
        });
        rules.collect()
    }

    fn conditions(count: usize) -> String {
        let all: Vec<String> = (0..count)
            .map(|n| format!("{{headers: {{x-{n}: {{exact: a}}}}}}"))
            .collect();
        all.join(", ")
    }

    fn merged_of(root: &str, leaf: &str) -> Vec<HttpRoute> {
        let all = objects(&format!(
            "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: root}}
spec: {{hosts: [a.test], http: [{root}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: leaf}}
spec: {{http: [{leaf}]}}
"
        ));
        with_delegates(&all[0], &all, &["*".to_owned()], "cluster.local")
            .spec
            .http
    }

    #[test]
    fn a_root_gets_no_more_matches_than_the_limit_and_the_rules_that_fit_stay() {
        let route = "route: [{destination: {host: b}}]";
        let (side, most) = (128, MERGED_MATCHES_MAX / 128);
        let root = format!("{{match: [{}], delegate: {{name: leaf}}}}", conditions(side));
        for (sizes, expected) in [
            (vec![most], vec![None]),
            (vec![most + 1], vec![Some(Dropped::TooManyMatches)]),
            // What does not fit costs nothing, and what comes after it still has its place.
            (
                vec![most - 1, 2, 1, 1],
                vec![None, Some(Dropped::TooManyMatches), None, Some(Dropped::TooManyMatches)],
            ),
        ] {
            let leaf: Vec<String> = sizes
                .iter()
                .map(|count| format!("{{match: [{}], {route}}}", conditions(*count)))
                .collect();
            let rules = merged_of(&root, &leaf.join(", "));
            let total: usize = rules.iter().map(|rule| rule.matches.len()).sum();
            assert!(total <= MERGED_MATCHES_MAX, "{sizes:?}: {total}");
            let dropped: Vec<_> = rules
                .iter()
                .map(|rule| rule.origin.as_ref().and_then(|o| o.dropped))
                .collect();
            assert_eq!(dropped, expected, "{sizes:?}");
        }
    }

    #[test]
    fn a_rule_of_which_a_match_fits_nothing_leaves_its_name_and_no_match() {
        let rules = merged_of(
            "{match: [{uri: {prefix: /p}}], delegate: {name: leaf}}",
            "{match: [{uri: {prefix: /p/a}}, {uri: {prefix: /q}}], route: [{destination: {host: b}}]}, {redirect: {uri: /r}}",
        );
        let [dropped, kept] = &rules[..] else {
            panic!("{rules:?}");
        };
        let origin = dropped.origin.as_ref().unwrap();
        let (leaf, nth) = origin.delegate.as_ref().unwrap();
        assert_eq!(
            (leaf.name.as_str(), *nth, origin.dropped),
            ("leaf", 0, Some(Dropped::FitsNoMatch))
        );
        assert!(dropped.matches.is_empty() && matches!(dropped.action, HttpAction::Delegate(_)));
        assert!(matches!(kept.action, HttpAction::Redirect(_)) && kept.matches.len() == 1);
    }
}
