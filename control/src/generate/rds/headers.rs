//! Header operations of a rule and of its destinations.
//!
//! The order is the same wherever they apply: removals, then `set`, then `add`, each sorted by name; of two `set`
//! for one header the destination's wins. Envoy removes before it adds, so one level of it holds both lists.

use std::collections::{BTreeMap, BTreeSet};

use weft_policies::kind::virtual_service::{HeaderOperations, Headers, HttpRoute, HttpRouteDestination};
use weft_xds::pb;

use super::action::eligible;
use pb::core::header_value_option::HeaderAppendAction;

/// Puts the operations of a forwarding rule on its route: with a single destination, those of that as well.
pub(super) fn apply_to_route(route: &mut pb::route::Route, rule: &HttpRoute, destinations: &[HttpRouteDestination]) {
    let mut levels = vec![&rule.headers];
    if let &[only] = eligible(destinations).as_slice() {
        levels.push(&destinations[only].headers);
    }
    let request: Vec<_> = levels.iter().map(|level| &level.request).collect();
    let response: Vec<_> = levels.iter().map(|level| &level.response).collect();
    (route.request_headers_to_add, route.request_headers_to_remove) = operations(&request);
    (route.response_headers_to_add, route.response_headers_to_remove) = operations(&response);
}

/// Puts the response operations of a rule that answers by itself on its route.
pub(super) fn apply_to_answer(route: &mut pb::route::Route, rule: &HttpRoute) {
    (route.response_headers_to_add, route.response_headers_to_remove) = operations(&[&rule.headers.response]);
}

/// Puts the operations of one of several destinations on its share. They apply after those of the rule; a removal
/// of what the rule sets would then take away more than it should, so it is left out.
pub(super) fn apply_to_destination(
    weight: &mut pb::route::weighted_cluster::ClusterWeight,
    rule: &HttpRoute,
    destination: &HttpRouteDestination,
) {
    let request = beneath(&rule.headers.request, &destination.headers.request);
    let response = beneath(&rule.headers.response, &destination.headers.response);
    (weight.request_headers_to_add, weight.request_headers_to_remove) = operations(&[&request]);
    (weight.response_headers_to_add, weight.response_headers_to_remove) = operations(&[&response]);
}

/// The authority that a rule asks for: by its rewrite, else by setting the header.
pub(super) fn authority_of_rule(rule: &HttpRoute) -> Option<String> {
    let rewrite = rule.rewrite.as_ref().and_then(|rewrite| rewrite.authority.clone());
    rewrite
        .filter(|authority| !authority.is_empty())
        .or_else(|| authority_of(&rule.headers))
}

/// The authority that header operations set: a Host is rewritten, never added.
pub(super) fn authority_of(headers: &Headers) -> Option<String> {
    let named = |operations: &BTreeMap<String, String>| {
        operations
            .iter()
            .find(|(name, _)| is_authority(name))
            .map(|(_, value)| value.clone())
    };
    named(&headers.request.set).or_else(|| named(&headers.request.add))
}

fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}

fn beneath(rule: &HeaderOperations, destination: &HeaderOperations) -> HeaderOperations {
    let given = |name: &str| {
        rule.set
            .keys()
            .chain(rule.add.keys())
            .any(|given| given.eq_ignore_ascii_case(name))
    };
    let remove = destination.remove.iter().filter(|name| !given(name)).cloned().collect();
    HeaderOperations {
        remove,
        ..destination.clone()
    }
}

/// Operations of one or two levels, the more specific last, as one: of several `set` for a header the last stays,
/// every `add` stays.
fn operations(levels: &[&HeaderOperations]) -> (Vec<pb::core::HeaderValueOption>, Vec<String>) {
    let plain = |(name, _): &(&String, &String)| !is_authority(name) && !name.starts_with(':');
    let mut set: BTreeMap<String, &String> = BTreeMap::new();
    for (name, value) in levels.iter().flat_map(|level| &level.set).filter(plain) {
        set.insert(name.to_ascii_lowercase(), value);
    }
    let set = set
        .iter()
        .map(|(name, value)| option(name, value, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let add = levels.iter().flat_map(|level| &level.add).filter(plain);
    let add = add.map(|(name, value)| option(name, value, HeaderAppendAction::AppendIfExistsOrAdd));
    let remove = levels
        .iter()
        .flat_map(|level| &level.remove)
        .filter(|name| !is_authority(name));
    let remove: BTreeSet<_> = remove.cloned().collect();
    (set.chain(add).collect(), remove.into_iter().collect())
}

fn option(name: &str, value: &str, action: HeaderAppendAction) -> pb::core::HeaderValueOption {
    pb::core::HeaderValueOption {
        header: Some(pb::core::HeaderValue {
            key: name.to_ascii_lowercase(),
            value: value.to_owned(),
            ..Default::default()
        }),
        append_action: action.into(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations_of(set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]) -> HeaderOperations {
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        HeaderOperations {
            set: map(set),
            add: map(add),
            remove: remove.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn written(levels: &[&HeaderOperations]) -> (Vec<String>, Vec<String>) {
        let (add, remove) = super::operations(levels);
        let add = add.into_iter().map(|option| {
            let sign = if option.append_action == i32::from(HeaderAppendAction::AppendIfExistsOrAdd) {
                "+"
            } else {
                "="
            };
            let header = option.header.unwrap();
            format!("{}{sign}{}", header.key, header.value)
        });
        (add.collect(), remove)
    }

    #[test]
    fn removals_then_set_then_add_and_the_destination_wins() {
        let rule = operations_of(&[("x", "rule"), ("y", "1")], &[("a", "1")], &["r"]);
        let destination = operations_of(&[("x", "destination")], &[("a", "2")], &["d"]);
        let (add, remove) = written(&[&rule, &destination]);
        assert_eq!(add, ["x=destination", "y=1", "a+1", "a+2"]);
        assert_eq!(remove, ["d", "r"]);
    }

    #[test]
    fn a_destination_does_not_remove_what_its_rule_sets() {
        let rule = operations_of(&[("x-stage", "live")], &[], &[]);
        let destination = operations_of(&[], &[], &["X-Stage", "other"]);
        assert_eq!(beneath(&rule, &destination).remove, ["other"]);
    }

    #[test]
    fn the_host_is_rewritten_and_never_added() {
        let request = operations_of(&[("Host", "a.test"), ("x", "1")], &[], &["host"]);
        assert_eq!(written(&[&request]), (vec!["x=1".to_owned()], vec![]));
        assert_eq!(
            authority_of(&Headers {
                request,
                ..Default::default()
            })
            .as_deref(),
            Some("a.test")
        );
    }
}
