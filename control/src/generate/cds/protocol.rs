//! Which HTTP version an upstream is spoken to in, and how long its connections live.

use std::collections::BTreeSet;

use weft_policies::defaults;
use weft_policies::kind::connection_pool::{H2UpgradePolicy, HttpSettings, TcpSettings};
use weft_policies::kind::destination_rule::OutlierDetection;
use weft_xds::{pack, pb};

use crate::generate::wire;
use crate::plan::inputs::ClusterInputs;
use pb::common_matcher::match_predicate::{MatchSet, Rule};
use pb::common_matcher::{HttpHeadersMatch, MatchPredicate};
use pb::upstream_http::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig, explicit_http_config::ProtocolConfig,
};
use weft_policies::kind::protocol::Protocol;

/// Key of the options within a cluster.
const HTTP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The version spoken upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
    AsDownstream,
}

/// Sets the options of HTTP upstreams; opaque ports have none.
pub(super) fn apply(cluster: &mut pb::cluster::Cluster, inputs: &ClusterInputs) {
    // What is forwarded as dialled may be anything.
    let protocol = inputs.host.as_ref().map_or(Protocol::Detect, |host| host.protocol);
    if !protocol.is_http() && protocol != Protocol::Detect {
        return;
    }
    let pool = inputs.policy.connection_pool.as_ref();
    let http = pool.and_then(|pool| pool.http.as_ref());
    let tcp = pool.and_then(|pool| pool.tcp.as_ref());
    let options = pb::upstream_http::HttpProtocolOptions {
        common_http_protocol_options: common(http, tcp),
        upstream_protocol_options: Some(match version(protocol, http, inputs.mesh.h2_upgrade) {
            Version::Http1 => explicit(ProtocolConfig::HttpProtocolOptions(Default::default())),
            Version::Http2 => explicit(ProtocolConfig::Http2ProtocolOptions(http2(http))),
            Version::AsDownstream => UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
                http_protocol_options: Some(Default::default()),
                http2_protocol_options: Some(http2(http)),
                ..Default::default()
            }),
        }),
        outlier_detection: inputs.policy.outlier_detection.as_ref().and_then(errors),
        ..Default::default()
    };
    cluster
        .typed_extension_protocol_options
        .insert(HTTP_PROTOCOL_OPTIONS.to_owned(), pack(&options));
}

/// Istio `cluster_builder.go: shouldH2Upgrade`: the client's version if asked for, then what the port declares,
/// then the upgrade.
fn version(protocol: Protocol, http: Option<&HttpSettings>, mesh_upgrades: bool) -> Version {
    if http.is_some_and(|http| http.use_client_protocol) {
        return Version::AsDownstream;
    }
    if protocol.is_http2() {
        return Version::Http2;
    }
    match http.map(|http| http.h2_upgrade_policy).unwrap_or_default() {
        H2UpgradePolicy::Upgrade => Version::Http2,
        H2UpgradePolicy::Default if mesh_upgrades && protocol == Protocol::Http => Version::Http2,
        H2UpgradePolicy::Default | H2UpgradePolicy::DoNotUpgrade if protocol == Protocol::Detect => {
            Version::AsDownstream
        }
        H2UpgradePolicy::Default | H2UpgradePolicy::DoNotUpgrade => Version::Http1,
    }
}

fn explicit(config: ProtocolConfig) -> UpstreamProtocolOptions {
    UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
        protocol_config: Some(config),
    })
}

fn http2(http: Option<&HttpSettings>) -> pb::core::Http2ProtocolOptions {
    let streams = http
        .and_then(|http| http.max_concurrent_streams)
        .filter(|streams| *streams > 0);
    pb::core::Http2ProtocolOptions {
        max_concurrent_streams: Some(wire::u32_value(streams.unwrap_or(defaults::MAX_CONCURRENT_STREAMS))),
        connection_keepalive: http.and_then(|http| http.http2_keep_alive.as_ref()).map(|keepalive| {
            pb::core::KeepaliveSettings {
                interval: Some(wire::duration(keepalive.interval)),
                timeout: Some(wire::duration(keepalive.timeout)),
                ..Default::default()
            }
        }),
        ..Default::default()
    }
}

/// Which responses are errors to outlier detection; `None` is all 5xx.
fn errors(detection: &OutlierDetection) -> Option<pb::upstream_http::http_protocol_options::OutlierDetection> {
    let codes: BTreeSet<u16> = detection.http_error_codes.iter().copied().collect();
    let mut rules: Vec<MatchPredicate> = codes.into_iter().map(has_status).collect();
    let one = rules.pop()?;
    let error_matcher = if rules.is_empty() {
        // Envoy refuses a set of one.
        one
    } else {
        rules.push(one);
        MatchPredicate {
            rule: Some(Rule::OrMatch(MatchSet { rules })),
        }
    };
    Some(pb::upstream_http::http_protocol_options::OutlierDetection {
        error_matcher: Some(error_matcher),
    })
}

fn has_status(code: u16) -> MatchPredicate {
    let exact = pb::matcher::StringMatcher {
        match_pattern: Some(pb::matcher::string_matcher::MatchPattern::Exact(code.to_string())),
        ..Default::default()
    };
    let header = pb::route::HeaderMatcher {
        name: ":status".to_owned(),
        header_match_specifier: Some(pb::route::header_matcher::HeaderMatchSpecifier::StringMatch(exact)),
        ..Default::default()
    };
    MatchPredicate {
        rule: Some(Rule::HttpResponseHeadersMatch(HttpHeadersMatch {
            headers: vec![header],
        })),
    }
}

/// Life time of connections; `None` leaves the protocol's own defaults (idle for an hour, no other limit).
fn common(http: Option<&HttpSettings>, tcp: Option<&TcpSettings>) -> Option<pb::core::HttpProtocolOptions> {
    let idle = http
        .and_then(|http| http.idle_timeout)
        .or_else(|| tcp.and_then(|tcp| tcp.idle_timeout));
    let requests = http
        .and_then(|http| http.max_requests_per_connection)
        .filter(|requests| *requests > 0);
    let age = tcp.and_then(|tcp| tcp.max_connection_duration);
    let options = pb::core::HttpProtocolOptions {
        idle_timeout: idle.map(wire::duration),
        max_connection_duration: age.map(wire::duration),
        max_requests_per_connection: requests.map(wire::u32_value),
        ..Default::default()
    };
    (options != pb::core::HttpProtocolOptions::default()).then_some(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_error_code_is_a_condition_and_more_are_a_set_of_them() {
        let of = |codes: &[u16]| {
            let detection = OutlierDetection {
                http_error_codes: codes.to_vec(),
                ..Default::default()
            };
            errors(&detection).and_then(|errors| errors.error_matcher?.rule)
        };
        assert_eq!(of(&[]), None);
        for codes in [&[429][..], &[429, 429]] {
            assert_eq!(of(codes), has_status(429).rule);
        }
        let rules = vec![has_status(429), has_status(500)];
        assert_eq!(of(&[500, 429]), Some(Rule::OrMatch(MatchSet { rules })));
    }

    #[test]
    fn the_version_follows_the_port_unless_a_policy_says_otherwise() {
        let settings = |policy, use_client_protocol| HttpSettings {
            h2_upgrade_policy: policy,
            use_client_protocol,
            ..Default::default()
        };
        let upgrade = settings(H2UpgradePolicy::Upgrade, false);
        let stay = settings(H2UpgradePolicy::DoNotUpgrade, false);
        let client = settings(H2UpgradePolicy::Upgrade, true);
        let cases = [
            (Protocol::Http, None, false, Version::Http1),
            (Protocol::Http, None, true, Version::Http2),
            (Protocol::Http, Some(&upgrade), false, Version::Http2),
            (Protocol::Http, Some(&stay), true, Version::Http1),
            (Protocol::Http, Some(&client), true, Version::AsDownstream),
            (Protocol::Grpc, None, false, Version::Http2),
            (Protocol::Grpc, Some(&stay), false, Version::Http2),
            (Protocol::Detect, None, true, Version::AsDownstream),
            (Protocol::Detect, Some(&upgrade), false, Version::Http2),
        ];
        for (protocol, http, mesh, expected) in cases {
            assert_eq!(version(protocol, http, mesh), expected, "{protocol:?} {http:?} {mesh}");
        }
    }
}
