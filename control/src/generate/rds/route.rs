//! One route: a match, an action, and what rides along.

use std::time::Duration;

use weft_policies::kind::virtual_service::{HttpAction, HttpRetry, HttpRoute};
use weft_xds::pb;

use super::{action, conditions, filters, headers, redirect, retry};
use crate::generate::wire;
use crate::plan::inputs::{Provenance, RouteInputs, RuleInputs, TargetInputs};
use crate::plan::names;

/// The status of requests to hosts that nobody has declared, where these are refused (Istio).
const BLOCKED_STATUS: u32 = 502;

/// Name of the routes that open a tunnel.
const CONNECT_ROUTE: &str = "connect";

/// Generates one route.
pub(super) fn route(inputs: &RouteInputs, default_retries: Option<&HttpRetry>) -> pb::route::Route {
    match inputs {
        RouteInputs::Rule(rule) => rule_route(rule, default_retries),
        RouteInputs::Host { target, provenance } => host_route(target, provenance, default_retries),
        RouteInputs::Passthrough { cluster } => pb::route::Route {
            name: names::ALLOW_ANY.to_owned(),
            r#match: Some(conditions::everything()),
            action: Some(pb::route::route::Action::Route(action::plain(cluster))),
            ..Default::default()
        },
        RouteInputs::Blocked => blocked(conditions::everything()),
        RouteInputs::Connect { cluster: Some(cluster) } => pb::route::Route {
            name: CONNECT_ROUTE.to_owned(),
            r#match: Some(conditions::connect()),
            action: Some(pb::route::route::Action::Route(action::connect(cluster))),
            ..Default::default()
        },
        RouteInputs::Connect { cluster: None } => blocked(conditions::connect()),
    }
}

fn blocked(conditions: pb::route::RouteMatch) -> pb::route::Route {
    pb::route::Route {
        name: names::BLOCK_ALL.to_owned(),
        r#match: Some(conditions),
        action: Some(pb::route::route::Action::DirectResponse(
            pb::route::DirectResponseAction {
                status: BLOCKED_STATUS,
                ..Default::default()
            },
        )),
        ..Default::default()
    }
}

fn rule_route(inputs: &RuleInputs, default_retries: Option<&HttpRetry>) -> pb::route::Route {
    let meta = &inputs.policy.meta;
    let rule = inputs.rule();
    let matched = inputs.matched.map(|index| &rule.matches[index]);
    let mut route = pb::route::Route {
        name: name(rule, matched.and_then(|matched| matched.name.as_deref())),
        r#match: Some(matched.map_or_else(conditions::everything, conditions::of)),
        metadata: Some(wire::metadata([
            (
                "istio",
                wire::structure([(
                    "config",
                    wire::istio_config("virtual-service", &meta.namespace, &meta.name),
                )]),
            ),
            ("weft", provenance(inputs)),
        ])),
        typed_per_filter_config: filters::per_route(rule),
        stat_prefix: matched
            .and_then(|matched| matched.stat_prefix.clone())
            .unwrap_or_default(),
        ..Default::default()
    };
    match &rule.action {
        HttpAction::Route(destinations) => {
            headers::apply_to_route(&mut route, rule, destinations);
            let retries = retry::policy(
                rule.retries.as_ref().or(default_retries),
                balances_by_hash(&inputs.targets),
            );
            let timeout = rule.timeout.unwrap_or(Duration::ZERO);
            let mut forward = action::forward(rule, destinations, inputs);
            action::limit(&mut forward, timeout);
            forward.retry_policy = retries;
            route.action = Some(pb::route::route::Action::Route(forward));
        }
        HttpAction::Redirect(to) => {
            headers::apply_to_answer(&mut route, rule);
            route.action = Some(pb::route::route::Action::Redirect(redirect::action(to, inputs.port)));
        }
        HttpAction::DirectResponse(answer) => {
            headers::apply_to_answer(&mut route, rule);
            route.action = Some(pb::route::route::Action::DirectResponse(action::direct_response(
                answer,
            )));
        }
        // The plan replaces delegating rules by those of the delegate; one that is left has none.
        HttpAction::Delegate(_) => {}
    }
    route
}

/// The object and the rule; of a delegate's rule both objects, the root's rule, and the place in the delegate.
fn provenance(inputs: &RuleInputs) -> pb::protobuf::Struct {
    let root = Provenance::of("VirtualService", &inputs.policy.meta);
    let Some(origin) = &inputs.rule().origin else {
        return wire::provenance(&root, Some(inputs.rule));
    };
    let Some((meta, nth)) = &origin.delegate else {
        return wire::provenance(&root, Some(origin.rule));
    };
    let leaf = Provenance::of("VirtualService", meta);
    let both = Provenance {
        object: format!("{} → {}", root.object, leaf.object),
        generation: format!("{}+{}", root.generation, leaf.generation),
    };
    let mut fields = wire::provenance(&both, Some(origin.rule));
    // Exact: rules of one object are far fewer than 2^53.
    let nth = wire::number(*nth as f64);
    fields.fields.insert("delegate_rule".to_owned(), nth);
    fields
}

fn host_route(target: &TargetInputs, provenance: &Provenance, default_retries: Option<&HttpRetry>) -> pb::route::Route {
    let mut forward = action::plain(&target.cluster);
    forward.hash_policy = action::hash_policies(std::slice::from_ref(target));
    forward.retry_policy = retry::policy(default_retries, target.hash.is_some());
    pb::route::Route {
        name: "default".to_owned(),
        r#match: Some(conditions::everything()),
        metadata: Some(wire::metadata([("weft", wire::provenance(provenance, None))])),
        action: Some(pb::route::route::Action::Route(forward)),
        ..Default::default()
    }
}

/// Name of the rule, then a dot and the name of the match (istio `route.go: TranslateRoute`).
fn name(rule: &HttpRoute, matched: Option<&str>) -> String {
    let rule = rule.name.as_deref().unwrap_or_default();
    match matched {
        Some(matched) if !matched.is_empty() => format!("{rule}.{matched}"),
        _ => rule.to_owned(),
    }
}

fn balances_by_hash(targets: &[TargetInputs]) -> bool {
    targets.iter().any(|target| target.hash.is_some())
}
