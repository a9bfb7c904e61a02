use weft_proxy_core::cluster::{ClusterKind, Health, Transport};
use weft_xds::pack;

use super::*;

#[test]
fn clusters_name_their_service() {
    let labels = |name: &str, metadata: Option<pb::core::Metadata>| {
        let source = pb::cluster::Cluster {
            name: name.to_owned(),
            metadata,
            ..Default::default()
        };
        let labels = cluster(&source, &mut Bindings::new(0)).unwrap().value.destination;
        [labels.service, labels.service_name, labels.service_namespace].map(|label| label.to_string())
    };
    let reviews = "outbound|9080|v1|reviews.prod.svc.cluster.local";
    assert_eq!(
        labels(reviews, None),
        ["reviews.prod.svc.cluster.local", "reviews", "prod"]
    );
    assert_eq!(
        labels("outbound|443||api.partner.io", None),
        ["api.partner.io", "api", "unknown"]
    );
    assert_eq!(
        labels("PassthroughCluster", None),
        ["PassthroughCluster", "PassthroughCluster", "unknown"]
    );
    let service = structure(&[("host", text("h")), ("name", text("n")), ("namespace", text("ns"))]);
    let service = pb::protobuf::Value {
        kind: Some(pb::protobuf::value::Kind::StructValue(service)),
    };
    let list = pb::protobuf::value::Kind::ListValue(pb::protobuf::ListValue { values: vec![service] });
    let istio = metadata("istio", &[("services", pb::protobuf::Value { kind: Some(list) })]);
    assert_eq!(labels(reviews, Some(istio)), ["h", "n", "ns"]);
}

#[test]
fn encryption_that_cannot_be_had_is_refused() {
    let tls = pb::core::TransportSocket {
        name: "tls".to_owned(),
        config_type: Some(pb::core::transport_socket::ConfigType::TypedConfig(pack(
            &pb::tls::UpstreamTlsContext {
                sni: "b.test".to_owned(),
                ..Default::default()
            },
        ))),
    };
    let source = pb::cluster::Cluster {
        name: "a".to_owned(),
        transport_socket: Some(tls.clone()),
        ..Default::default()
    };
    let meant = cluster(&source, &mut Bindings::new(0)).unwrap().value;
    assert_eq!(
        meant.transport,
        Transport::Tls {
            sni: Some("b.test".into())
        }
    );
    let refusal = can_connect(&meant).unwrap_err().to_string();
    assert_eq!(refusal, "a: transport_socket: is not supported: only plain text");
    let chain = pb::listener::FilterChain {
        transport_socket: Some(tls),
        ..Default::default()
    };
    let refusal = listener(&bound(vec![chain]), &mut Bindings::new(0))
        .unwrap_err()
        .to_string();
    assert_eq!(
        refusal,
        "l: filter_chains[0].transport_socket: is not supported: only plain text"
    );
}

#[test]
fn endpoints_carry_health_and_workload() {
    use pb::core::HealthStatus;
    let list = vec![
        lb_endpoint("10.0.0.1", HealthStatus::Unknown),
        lb_endpoint("10.0.0.2", HealthStatus::Unhealthy),
    ];
    let set = endpoints(&assignment(list), &mut Bindings::new(0)).unwrap().value;
    let healths: Vec<Health> = set.endpoints().iter().map(|endpoint| endpoint.health).collect();
    assert_eq!(healths, [Health::Healthy, Health::Unhealthy]);
    let workload = set.endpoints()[0].workload.as_ref().unwrap();
    assert_eq!(
        (&*workload.name, &*workload.namespace, &*workload.canonical_name),
        ("web-v1", "shop", "web")
    );
    assert_eq!(
        (&*workload.canonical_revision, &*workload.cluster),
        ("v1", "Kubernetes")
    );
    let named = assignment(vec![lb_endpoint("not.an.ip", HealthStatus::Unknown)]);
    let refusal = endpoints(&named, &mut Bindings::new(0)).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "a: endpoints[0].lb_endpoints[0].endpoint.address: \"not.an.ip\" is not an IP address"
    );
}

#[test]
fn an_eds_cluster_names_its_resource() {
    use pb::cluster::cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig};
    let named = |service: &str| {
        let source = pb::cluster::Cluster {
            name: "a".to_owned(),
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
            eds_cluster_config: Some(EdsClusterConfig {
                service_name: service.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        match cluster(&source, &mut Bindings::new(0)).unwrap().value.kind {
            ClusterKind::Eds(name) => name.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((named("").as_str(), named("b").as_str()), ("a", "b"));
}

#[test]
fn a_cluster_that_follows_its_clients_is_told_nothing_by_them() {
    use pb::cluster::cluster::{ClusterDiscoveryType, DiscoveryType, LbConfig, LbPolicy, OriginalDstLbConfig};
    let compile = |policy: LbPolicy, config: OriginalDstLbConfig| {
        let source = pb::cluster::Cluster {
            name: "a".to_owned(),
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into())),
            lb_policy: policy.into(),
            lb_config: Some(LbConfig::OriginalDstLbConfig(config)),
            ..Default::default()
        };
        cluster(&source, &mut Bindings::new(0))
            .map(|done| match done.value.kind {
                ClusterKind::OriginalDst(kind) => (kind.port, kind.cleanup_interval.as_secs()),
                other => panic!("{other:?}"),
            })
            .map_err(|error| error.to_string())
    };
    let config = OriginalDstLbConfig::default;
    assert_eq!(compile(LbPolicy::ClusterProvided, config()), Ok((None, 5)));
    let other_port = OriginalDstLbConfig {
        upstream_port_override: Some(pb::protobuf::UInt32Value { value: 8443 }),
        ..config()
    };
    assert_eq!(compile(LbPolicy::ClusterProvided, other_port), Ok((Some(8443), 5)));
    let by_header = OriginalDstLbConfig {
        use_http_header: true,
        ..config()
    };
    for refused in [
        compile(LbPolicy::RoundRobin, config()),
        compile(LbPolicy::ClusterProvided, by_header),
    ] {
        assert!(refused.is_err(), "{refused:?}");
    }
}

#[test]
fn connections_come_from_the_addresses_that_the_cluster_names() {
    use pb::core::{BindConfig, ExtraSourceAddress, SocketAddress};
    let address = |text: &str| SocketAddress {
        address: text.to_owned(),
        ..Default::default()
    };
    let source = pb::cluster::Cluster {
        name: "a".to_owned(),
        upstream_bind_config: Some(BindConfig {
            source_address: Some(address("127.0.0.6")),
            extra_source_addresses: vec![ExtraSourceAddress {
                address: Some(address("::6")),
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..Default::default()
    };
    let sources = cluster(&source, &mut Bindings::new(0)).unwrap().value.sources;
    for (target, expected) in [("127.0.0.1:80", "127.0.0.6:0"), ("[::1]:80", "[::6]:0")] {
        assert_eq!(sources.of(target.parse().unwrap()), Some(expected.parse().unwrap()));
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn errors_of_outlier_detection_are_what_the_matcher_says_of_a_status() {
    use pb::common_matcher::match_predicate::{MatchSet, Rule};
    use pb::common_matcher::{HttpHeadersMatch, MatchPredicate};
    use pb::route::header_matcher::HeaderMatchSpecifier as Specifier;
    let of = |rule| MatchPredicate { rule: Some(rule) };
    let set = |rules: &[Rule]| MatchSet {
        rules: rules.iter().cloned().map(of).collect(),
    };
    let headers = |name: &str, specifier: Specifier, invert_match| HttpHeadersMatch {
        headers: vec![pb::route::HeaderMatcher {
            name: name.to_owned(),
            header_match_specifier: Some(specifier),
            invert_match,
            ..Default::default()
        }],
    };
    let status = |specifier: Specifier| Rule::HttpResponseHeadersMatch(headers(":status", specifier, false));
    let exact = |code: &str| Specifier::ExactMatch(code.to_owned());
    let (start, end) = (500, 504);
    let some = status(Specifier::RangeMatch(pb::percent::Int64Range { start, end }));
    let not = |rule| Rule::NotMatch(Box::new(of(rule)));
    let read = |rule| {
        let options = pb::upstream_http::HttpProtocolOptions {
            outlier_detection: Some(pb::upstream_http::http_protocol_options::OutlierDetection {
                error_matcher: Some(of(rule)),
            }),
            ..Default::default()
        };
        let name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned();
        let source = pb::cluster::Cluster {
            name: "c".to_owned(),
            outlier_detection: Some(Default::default()),
            typed_extension_protocol_options: [(name, pack(&options))].into(),
            ..Default::default()
        };
        let cluster = cluster(&source, &mut Bindings::new(0)).map_err(|error| error.to_string())?;
        let errors = cluster.value.outlier.expect("a detection").errors;
        Ok::<_, String>((100..=599).filter(|code| errors.contains(*code)).collect::<Vec<_>>())
    };
    for (rule, expected) in [
        (status(exact("429")), vec![429]),
        (
            Rule::OrMatch(set(&[status(exact("503")), status(exact("404"))])),
            vec![404, 503],
        ),
        (some.clone(), vec![500, 501, 502, 503]),
        (
            Rule::AndMatch(set(&[some.clone(), not(status(exact("501")))])),
            vec![500, 502, 503],
        ),
        (
            Rule::AndMatch(set(&[
                some,
                Rule::HttpResponseHeadersMatch(headers(":status", exact("502"), true)),
            ])),
            vec![500, 501, 503],
        ),
        (Rule::AnyMatch(true), (100..=599).collect()),
        (not(Rule::AnyMatch(true)), vec![]),
    ] {
        assert_eq!(read(rule), Ok(expected));
    }
    for rule in [
        Rule::HttpResponseHeadersMatch(headers("x-error", exact("yes"), false)),
        Rule::OrMatch(set(&[
            Rule::HttpRequestHeadersMatch(Default::default()),
            status(exact("500")),
        ])),
    ] {
        let refused = read(rule).unwrap_err();
        assert!(refused.contains("not told by the status"), "{refused}");
    }
}

#[test]
fn an_endpoint_by_name_is_read_as_one_by_address() {
    use pb::cluster::cluster::{ClusterDiscoveryType, DiscoveryType};
    use pb::core::{Address, SocketAddress, address, socket_address};
    use pb::endpoint::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint};
    let assignment = |more: Vec<pb::endpoint::endpoint::AdditionalAddress>| {
        let endpoint = Endpoint {
            address: Some(Address {
                address: Some(address::Address::SocketAddress(SocketAddress {
                    address: "10.0.0.1".to_owned(),
                    port_specifier: Some(socket_address::PortSpecifier::PortValue(80)),
                    ..Default::default()
                })),
            }),
            hostname: "a.test".to_owned(),
            additional_addresses: more,
            ..Default::default()
        };
        ClusterLoadAssignment {
            cluster_name: "c".to_owned(),
            endpoints: vec![LocalityLbEndpoints {
                lb_endpoints: vec![LbEndpoint {
                    host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(endpoint)),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }
    };
    for kind in [
        DiscoveryType::Static,
        DiscoveryType::StrictDns,
        DiscoveryType::LogicalDns,
    ] {
        let of = |assignment| {
            let source = pb::cluster::Cluster {
                name: "c".to_owned(),
                cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind.into())),
                load_assignment: Some(assignment),
                ..Default::default()
            };
            cluster(&source, &mut Bindings::new(0)).map(|found| found.value)
        };
        let hostname = match &of(assignment(Vec::new())).unwrap().kind {
            ClusterKind::Static(set) => set.endpoints()[0].hostname.clone(),
            ClusterKind::Dns(names) => names.names[0].hostname.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(hostname.as_deref(), Some("a.test"), "{kind:?}");
        let refused = of(assignment(vec![Default::default()])).unwrap_err().to_string();
        assert!(refused.contains("endpoint.additional_addresses"), "{refused}");
    }
}
