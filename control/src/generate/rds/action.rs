//! What becomes of a matched request.

use std::time::Duration;

use weft_policies::kind::destination_rule::HashKey;
use weft_policies::kind::virtual_service::{DirectResponse, HttpRoute, HttpRouteDestination, UriRewrite};
use weft_xds::pb;

use super::headers;
use crate::generate::wire;
use crate::plan::inputs::{RuleInputs, TargetInputs};
use pb::route::route_action::hash_policy::{self, PolicySpecifier};
use pb::route::route_action::{ClusterSpecifier, HashPolicy, HostRewriteSpecifier, RequestMirrorPolicy};

/// Forwarding to one cluster with no limit of time.
pub(super) fn plain(cluster: &str) -> pb::route::RouteAction {
    let mut action = pb::route::RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        ..Default::default()
    };
    limit(&mut action, Duration::ZERO);
    action
}

/// The end of a tunnel: what a CONNECT request carries goes to the cluster as it is.
pub(super) fn connect(cluster: &str) -> pb::route::RouteAction {
    use pb::route::route_action::{UpgradeConfig, upgrade_config::ConnectConfig};
    pb::route::RouteAction {
        upgrade_configs: vec![UpgradeConfig {
            upgrade_type: wire::CONNECT.to_owned(),
            connect_config: Some(ConnectConfig::default()),
            ..Default::default()
        }],
        ..plain(cluster)
    }
}

/// Limits the whole exchange; zero is no limit. A gRPC client's own deadline is honoured up to it.
pub(super) fn limit(action: &mut pb::route::RouteAction, timeout: Duration) {
    action.timeout = Some(wire::duration(timeout));
    #[allow(deprecated)] // Its successor resets the stream instead of answering 504.
    {
        action.max_grpc_timeout = Some(wire::duration(timeout));
    }
}

/// Forwarding by a rule: destinations with their weights, rewrites, mirrors and hash keys.
pub(super) fn forward(
    rule: &HttpRoute,
    destinations: &[HttpRouteDestination],
    inputs: &RuleInputs,
) -> pb::route::RouteAction {
    let chosen = eligible(destinations);
    let authority = headers::authority_of_rule(rule).or_else(|| match chosen.as_slice() {
        &[only] => headers::authority_of(&destinations[only].headers),
        _ => None,
    });
    let mut action = pb::route::RouteAction {
        cluster_specifier: Some(cluster_specifier(rule, destinations, &chosen, &inputs.targets)),
        host_rewrite_specifier: authority.map(HostRewriteSpecifier::HostRewriteLiteral),
        request_mirror_policies: mirrors(rule, &inputs.mirrors),
        hash_policy: hash_policies(&inputs.targets),
        ..Default::default()
    };
    match rule.rewrite.as_ref().and_then(|rewrite| rewrite.uri.as_ref()) {
        // Envoy replaces the matched prefix, and the whole path of an exact or regex match.
        Some(UriRewrite::Literal(path)) => action.prefix_rewrite.clone_from(path),
        Some(UriRewrite::Regex { pattern, substitution }) => {
            action.regex_rewrite = Some(pb::matcher::RegexMatchAndSubstitute {
                pattern: Some(wire::regex(pattern)),
                substitution: substitution.clone(),
            });
        }
        None => {}
    }
    action
}

/// Indexes of the destinations that get traffic: the only one whatever its weight, else those with a weight.
pub(super) fn eligible(destinations: &[HttpRouteDestination]) -> Vec<usize> {
    if destinations.len() == 1 {
        return vec![0];
    }
    let weighted = destinations
        .iter()
        .enumerate()
        .filter(|(_, destination)| destination.weight > 0);
    weighted.map(|(index, _)| index).collect()
}

fn cluster_specifier(
    rule: &HttpRoute,
    destinations: &[HttpRouteDestination],
    chosen: &[usize],
    targets: &[TargetInputs],
) -> ClusterSpecifier {
    if let &[only] = chosen {
        return ClusterSpecifier::Cluster(targets[only].cluster.clone());
    }
    let rule_sets_authority = headers::authority_of_rule(rule).is_some();
    let clusters = chosen.iter().map(|&index| {
        let destination = &destinations[index];
        let mut weight = pb::route::weighted_cluster::ClusterWeight {
            name: targets[index].cluster.clone(),
            weight: Some(wire::u32_value(destination.weight)),
            ..Default::default()
        };
        headers::apply_to_destination(&mut weight, rule, destination);
        if !rule_sets_authority {
            weight.host_rewrite_specifier = headers::authority_of(&destination.headers)
                .map(pb::route::weighted_cluster::cluster_weight::HostRewriteSpecifier::HostRewriteLiteral);
        }
        weight
    });
    ClusterSpecifier::WeightedClusters(pb::route::WeightedCluster {
        clusters: clusters.collect(),
        ..Default::default()
    })
}

fn mirrors(rule: &HttpRoute, clusters: &[String]) -> Vec<RequestMirrorPolicy> {
    let mirrors = rule.effective_mirrors();
    let pairs = mirrors.iter().zip(clusters);
    pairs
        .map(|(mirror, cluster)| RequestMirrorPolicy {
            cluster: cluster.clone(),
            runtime_fraction: Some(wire::fixed_share(mirror.percentage)),
            trace_sampled: Some(wire::bool_value(false)),
            disable_shadow_host_suffix_append: true,
            ..Default::default()
        })
        .collect()
}

/// The keys by which destinations choose an endpoint, each once.
pub(super) fn hash_policies(targets: &[TargetInputs]) -> Vec<HashPolicy> {
    let mut keys: Vec<&HashKey> = Vec::new();
    for key in targets.iter().filter_map(|target| target.hash.as_ref()) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.into_iter().map(hash_policy).collect()
}

fn hash_policy(key: &HashKey) -> HashPolicy {
    let specifier = match key {
        HashKey::Header(name) => PolicySpecifier::Header(hash_policy::Header {
            header_name: name.clone(),
            ..Default::default()
        }),
        HashKey::Cookie(cookie) => {
            let attributes = cookie.attributes.iter().map(|attribute| hash_policy::CookieAttribute {
                name: attribute.name.clone(),
                value: attribute.value.clone(),
            });
            PolicySpecifier::Cookie(hash_policy::Cookie {
                name: cookie.name.clone(),
                ttl: cookie.ttl.map(wire::duration),
                path: cookie.path.clone().unwrap_or_default(),
                attributes: attributes.collect(),
            })
        }
        HashKey::SourceIp => {
            PolicySpecifier::ConnectionProperties(hash_policy::ConnectionProperties { source_ip: true })
        }
        HashKey::QueryParameter(name) => {
            PolicySpecifier::QueryParameter(hash_policy::QueryParameter { name: name.clone() })
        }
    };
    HashPolicy {
        policy_specifier: Some(specifier),
        ..Default::default()
    }
}

/// An answer of our own.
pub(super) fn direct_response(answer: &DirectResponse) -> pb::route::DirectResponseAction {
    use pb::core::data_source::Specifier;
    let body = (!answer.body.is_empty()).then(|| pb::core::DataSource {
        specifier: Some(match std::str::from_utf8(&answer.body) {
            Ok(text) => Specifier::InlineString(text.to_owned()),
            Err(_) => Specifier::InlineBytes(answer.body.clone()),
        }),
        ..Default::default()
    });
    pb::route::DirectResponseAction {
        status: answer.status.into(),
        body,
        ..Default::default()
    }
}
