//! The routes that a VirtualService contributes.

use std::sync::Arc;

use weft_policies::kind::string_match::StringMatch;
use weft_policies::kind::virtual_service::{Dropped, HttpAction, HttpMatch, HttpRoute, RuleOrigin, VirtualService};
use weft_policies::labels::selects;
use weft_policies::precedence::{GatewayRef, delegate_of, resolve_gateway};
use weft_policies::{Meta, Object};

use super::context::{Context, Note};
use super::inputs::{RouteInputs, RuleInputs, TargetInputs};
use super::{Shared, codes, destination};

/// Header names that stand for claims of a token begin so.
const CLAIMS: &str = "@request.auth.claims";

/// The gateways through which a VirtualService reaches a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    /// As a sidecar of the mesh.
    Mesh,
    /// Through a Gateway object.
    Gateway { namespace: String, name: String },
}

impl Binding {
    /// Whether a reference made in `namespace` means this.
    pub(super) fn is(&self, reference: &str, namespace: &str) -> bool {
        let reference = resolve_gateway(reference, namespace);
        match self {
            Self::Mesh => reference == GatewayRef::Mesh,
            Self::Gateway { namespace, name } => reference.is(namespace, name),
        }
    }

    /// Whether a VirtualService is bound here at all.
    pub(super) fn admits(&self, policy: &Object<VirtualService>) -> bool {
        match (self, policy.spec.gateways.as_slice()) {
            (Self::Mesh, []) => true,
            (_, gateways) => gateways.iter().any(|gateway| self.is(gateway, &policy.meta.namespace)),
        }
    }
}

/// The routes of a VirtualService on a port. A rule with several matches becomes as many routes; what follows a rule
/// that takes everything is never reached and left out (Istio: `route.go: BuildHTTPRoutesForVirtualService`).
pub(super) fn routes(
    context: &Context<'_>,
    policy: &Arc<Object<VirtualService>>,
    port: u16,
    binding: &Binding,
) -> Vec<RouteInputs> {
    let mut routes = Vec::new();
    for (index, rule) in policy.spec.http.iter().enumerate() {
        if matches!(rule.action, HttpAction::Delegate(_)) {
            delegates(context, policy, index);
            continue;
        }
        let applying = |matched: &&HttpMatch| applies(context, policy, matched, port, binding);
        let matched: Vec<Option<usize>> = if rule.matches.is_empty() {
            vec![None]
        } else {
            let all = rule.matches.iter().enumerate();
            all.filter(|(_, matched)| applying(matched))
                .map(|(index, _)| Some(index))
                .collect()
        };
        if matched.is_empty() {
            continue;
        }
        let targets = targets(context, policy, index, rule, port);
        let mirrors = mirrors(context, policy, index, rule, port);
        for matched in matched {
            routes.push(RouteInputs::Rule(RuleInputs {
                policy: Shared::new(policy),
                rule: index,
                matched,
                targets: targets.clone(),
                mirrors: mirrors.clone(),
                port,
            }));
            if matched.is_none_or(|index| takes_everything(&rule.matches[index])) {
                return routes;
            }
        }
    }
    routes
}

/// Whether a route takes every request.
pub(super) fn is_catch_all(route: &RouteInputs) -> bool {
    match route {
        RouteInputs::Rule(rule) => rule
            .matched
            .is_none_or(|index| takes_everything(&rule.rule().matches[index])),
        RouteInputs::Host { .. } | RouteInputs::Passthrough { .. } | RouteInputs::Blocked => true,
        RouteInputs::Connect { .. } => false,
    }
}

/// Conditions that do not depend on the request. A list of gateways replaces those on the source.
fn applies(
    context: &Context<'_>,
    policy: &Object<VirtualService>,
    matched: &HttpMatch,
    port: u16,
    binding: &Binding,
) -> bool {
    if let Some(key) = claim(matched) {
        // Never matching is the safe side: what a claim opens stays shut.
        context.note(Note {
            code: codes::NO_EFFECT,
            kind: "VirtualService",
            meta: &policy.meta,
            path: "spec.http".to_owned(),
            problem: format!("claims of tokens are not looked at yet, so the match on {key} never holds"),
            fix: "match on something else, such as a header".to_owned(),
        });
        return false;
    }
    if matched.port.is_some_and(|wanted| wanted != u32::from(port)) {
        return false;
    }
    if !matched.gateways.is_empty() {
        return matched
            .gateways
            .iter()
            .any(|gateway| binding.is(gateway, &policy.meta.namespace));
    }
    let scope = context.scope;
    selects(&matched.source_labels, &scope.labels)
        && matched
            .source_namespace
            .as_ref()
            .is_none_or(|namespace| *namespace == scope.namespace)
}

/// A condition on a claim of a token.
fn claim(matched: &HttpMatch) -> Option<&str> {
    let keys = matched.headers.keys().chain(matched.without_headers.keys());
    keys.map(String::as_str)
        .find(|key| key.to_ascii_lowercase().starts_with(CLAIMS))
}

/// Prefix `/` or regex `.*` and no other condition on the request (Istio: `route.go: IsCatchAllRoute`).
fn takes_everything(matched: &HttpMatch) -> bool {
    let any_path = match &matched.uri {
        None | Some(StringMatch::Present) => true,
        Some(StringMatch::Prefix(prefix)) => prefix == "/",
        Some(StringMatch::Regex(pattern)) => pattern == ".*",
        Some(StringMatch::Exact(_)) => false,
    };
    any_path
        && [&matched.method, &matched.authority, &matched.scheme]
            .into_iter()
            .all(Option::is_none)
        && matched.headers.is_empty()
        && matched.without_headers.is_empty()
        && matched.query_params.is_empty()
}

fn targets(
    context: &Context<'_>,
    policy: &Object<VirtualService>,
    index: usize,
    rule: &HttpRoute,
    port: u16,
) -> Vec<TargetInputs> {
    let HttpAction::Route(destinations) = &rule.action else {
        return Vec::new();
    };
    let (author, index) = author(policy, rule, index);
    let target = |(nth, entry): (usize, &weft_policies::kind::virtual_service::HttpRouteDestination)| {
        let path = format!("spec.http[{index}].route[{nth}].destination");
        destination::target(context, author, &entry.destination, port, &path)
    };
    destinations.iter().enumerate().map(target).collect()
}

fn mirrors(
    context: &Context<'_>,
    policy: &Object<VirtualService>,
    index: usize,
    rule: &HttpRoute,
    port: u16,
) -> Vec<String> {
    let (author, index) = author(policy, rule, index);
    let path = |nth: usize| match rule.mirror {
        Some(_) => format!("spec.http[{index}].mirror"),
        None => format!("spec.http[{index}].mirrors[{nth}].destination"),
    };
    let mirrors = rule.effective_mirrors();
    let cluster = |(nth, mirror): (usize, &weft_policies::kind::virtual_service::HttpMirror)| {
        destination::target(context, author, &mirror.destination, port, &path(nth)).cluster
    };
    mirrors.iter().enumerate().map(cluster).collect()
}

/// Who wrote a rule, and where: a delegate's rules have come to stand elsewhere.
fn author<'r>(policy: &'r Object<VirtualService>, rule: &'r HttpRoute, index: usize) -> (&'r Meta, usize) {
    match &rule.origin {
        Some(RuleOrigin {
            delegate: Some((meta, nth)),
            ..
        }) => (meta, *nth),
        Some(origin) => (&policy.meta, origin.rule),
        None => (&policy.meta, index),
    }
}

/// Tells the author of a delegate that a rule of it stands for nothing under this root.
fn dropped(
    context: &Context<'_>,
    root: &Object<VirtualService>,
    rule: usize,
    (meta, nth): (&Meta, usize),
    reason: Dropped,
) {
    let root = format!(
        "http[{rule}] of VirtualService {}/{}",
        root.meta.namespace, root.meta.name
    );
    let (problem, fix) = match reason {
        Dropped::FitsNoMatch => (
            format!("fits no match of {root}, so this rule does nothing there"),
            "keep each match within one of the root's",
        ),
        Dropped::TooManyMatches => (
            format!("has more matches, each with each of {root}, than one root may have; this rule does nothing there"),
            "give the one side fewer matches",
        ),
    };
    context.note(Note {
        code: codes::NO_EFFECT,
        kind: "VirtualService",
        meta,
        path: format!("spec.http[{nth}].match"),
        problem,
        fix: fix.to_owned(),
    });
}

/// Tells the author why a delegating rule, or a rule of a delegate, does nothing; those with a delegate are gone from the
/// list.
fn delegates(context: &Context<'_>, policy: &Object<VirtualService>, index: usize) {
    let rule = &policy.spec.http[index];
    if let Some(origin) = &rule.origin
        && let (Some((meta, nth)), Some(reason)) = (&origin.delegate, origin.dropped)
    {
        return dropped(context, policy, origin.rule, (meta, *nth), reason);
    }
    let HttpAction::Delegate(named) = &rule.action else {
        return;
    };
    let (all, own) = (&context.world.virtual_services, &policy.meta.namespace);
    let export = &context.world.mesh.default_virtual_service_export_to;
    let Err(problem) = delegate_of(all, export, own, named) else {
        return;
    };
    let namespace = named.namespace.as_deref().unwrap_or(own);
    context.note(Note {
        code: codes::UNRESOLVED,
        kind: "VirtualService",
        meta: &policy.meta,
        path: format!("spec.http[{}].delegate", author(policy, rule, index).1),
        problem: format!(
            "VirtualService {namespace}/{} {problem}, so this rule does nothing",
            named.name
        ),
        fix: "requests go by the other rules until it is there".to_owned(),
    });
}
