use weft_proxy_core::chain::{Direction, Network, RouteSource};
use weft_proxy_core::cluster::{Balance, ClusterKind, Health, UpstreamProtocol};
use weft_proxy_core::route::{Action, Bindings, ClusterChoice, HostRewrite, PathRewrite, Route, RouteTable, SplitKey};
use weft_xds::{pack, pb};

use super::*;

fn route(action: pb::route::route::Action) -> pb::route::Route {
    pb::route::Route {
        name: "r".to_owned(),
        r#match: Some(pb::route::RouteMatch {
            path_specifier: Some(pb::route::route_match::PathSpecifier::Prefix("/".to_owned())),
            ..Default::default()
        }),
        action: Some(action),
        ..Default::default()
    }
}

fn forward(cluster: &str) -> pb::route::RouteAction {
    use pb::route::route_action::ClusterSpecifier;
    pb::route::RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        ..Default::default()
    }
}

fn weighted(clusters: &[(&str, u32)]) -> pb::route::RouteAction {
    use pb::route::route_action::ClusterSpecifier;
    let clusters = clusters
        .iter()
        .map(|(name, weight)| pb::route::weighted_cluster::ClusterWeight {
            name: (*name).to_owned(),
            weight: Some(pb::protobuf::UInt32Value { value: *weight }),
            ..Default::default()
        });
    pb::route::RouteAction {
        cluster_specifier: Some(ClusterSpecifier::WeightedClusters(pb::route::WeightedCluster {
            clusters: clusters.collect(),
            ..Default::default()
        })),
        ..Default::default()
    }
}

fn table(routes: Vec<pb::route::Route>) -> pb::route::RouteConfiguration {
    pb::route::RouteConfiguration {
        name: "http.80".to_owned(),
        virtual_hosts: vec![pb::route::VirtualHost {
            name: "shop:80".to_owned(),
            domains: vec!["*".to_owned()],
            routes,
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn compiled(source: &pb::route::RouteConfiguration) -> RouteTable {
    route_table(source, &mut Bindings::new(0)).unwrap().value
}

fn first(table: &RouteTable) -> &Route {
    &table.virtual_hosts()[0].routes[0]
}

fn refusal(source: &pb::route::RouteConfiguration) -> String {
    route_table(source, &mut Bindings::new(0)).unwrap_err().to_string()
}

fn text(value: &str) -> pb::protobuf::Value {
    pb::protobuf::Value {
        kind: Some(pb::protobuf::value::Kind::StringValue(value.to_owned())),
    }
}

fn structure(fields: &[(&str, pb::protobuf::Value)]) -> pb::protobuf::Struct {
    pb::protobuf::Struct {
        fields: fields
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
    }
}

fn metadata(section: &str, fields: &[(&str, pb::protobuf::Value)]) -> pb::core::Metadata {
    pb::core::Metadata {
        filter_metadata: [(section.to_owned(), structure(fields))].into(),
        ..Default::default()
    }
}

fn header(name: &str, value: &str, replace: bool) -> pb::core::HeaderValueOption {
    use pb::core::header_value_option::HeaderAppendAction as Append;
    let how = if replace {
        Append::OverwriteIfExistsOrAdd
    } else {
        Append::AppendIfExistsOrAdd
    };
    pb::core::HeaderValueOption {
        header: Some(pb::core::HeaderValue {
            key: name.to_owned(),
            value: value.to_owned(),
            ..Default::default()
        }),
        append_action: how.into(),
        ..Default::default()
    }
}

#[test]
fn what_is_absent_means_what_envoy_means() {
    let table = compiled(&table(vec![route(pb::route::route::Action::Route(forward("a")))]));
    let Action::Forward(forward) = &first(&table).action else {
        panic!("no forward")
    };
    assert_eq!(forward.timeout.map(|timeout| timeout.as_secs()), Some(15));
    assert_eq!((&forward.path, &forward.host), (&PathRewrite::Keep, &HostRewrite::Keep));
    assert_eq!(forward.cluster_not_found.as_u16(), 503);
    assert!(forward.retry.is_none() && forward.idle_timeout.is_none() && forward.grpc_timeout_max.is_none());

    let source = pb::cluster::Cluster {
        name: "a".to_owned(),
        ..Default::default()
    };
    let cluster = cluster(&source, &mut Bindings::new(0)).unwrap().value;
    let limits = cluster.limits;
    assert_eq!(
        (
            limits.connections_max,
            limits.pending_max,
            limits.requests_max,
            limits.retries_max
        ),
        (1024, 1024, 1024, 3)
    );
    assert_eq!(
        (cluster.connect_timeout.as_secs(), cluster.panic_threshold_percent),
        (5, 50.0)
    );
    assert_eq!(
        (&cluster.balance, cluster.http.protocol),
        (&Balance::RoundRobin, UpstreamProtocol::Http1)
    );
    assert_eq!(cluster.http.idle_timeout.map(|idle| idle.as_secs()), Some(3600));
}

#[test]
fn a_timeout_of_zero_is_none() {
    let zero = Some(pb::protobuf::Duration { seconds: 0, nanos: 0 });
    let action = pb::route::RouteAction {
        timeout: zero,
        ..forward("a")
    };
    let table = compiled(&table(vec![route(pb::route::route::Action::Route(action))]));
    assert!(matches!(&first(&table).action, Action::Forward(forward) if forward.timeout.is_none()));
}

#[test]
fn routes_of_a_rule_share_its_split_and_tables_share_slots() {
    let rule = pb::protobuf::Value {
        kind: Some(pb::protobuf::value::Kind::NumberValue(2.0)),
    };
    let weft = metadata(
        "weft",
        &[
            ("object", text("VirtualService/ns/shop")),
            ("rule", rule),
            ("generation", text("7")),
        ],
    );
    let split = || pb::route::Route {
        metadata: Some(weft.clone()),
        ..route(pb::route::route::Action::Route(weighted(&[
            ("a", 37),
            ("b", 0),
            ("c", 63),
        ])))
    };
    let mut bindings = Bindings::new(1);
    let older = route_table(&table(vec![split(), split()]), &mut bindings)
        .unwrap()
        .value;
    let newer = route_table(&table(vec![split()]), &mut bindings).unwrap().value;
    let chosen = |route: &Route| match &route.action {
        Action::Forward(forward) => match &forward.choice {
            ClusterChoice::Weighted(split) => {
                let names: Vec<String> = split
                    .destinations()
                    .iter()
                    .map(|one| one.cluster.name.to_string())
                    .collect();
                assert_eq!(names, ["a", "c"], "no weight, no place");
                (
                    split.key().clone(),
                    std::sync::Arc::as_ptr(split.state()),
                    split.destinations()[0].cluster.slot,
                )
            }
            ClusterChoice::One(_) => panic!("no split"),
        },
        _ => panic!("no forward"),
    };
    let routes = &older.virtual_hosts()[0].routes;
    let wanted = SplitKey::Rule {
        object: "VirtualService/ns/shop".into(),
        rule: 2,
    };
    assert_eq!(chosen(&routes[0]).0, wanted);
    assert_eq!(chosen(&routes[0]), chosen(&routes[1]));
    assert_eq!(chosen(&routes[0]), chosen(first(&newer)));
    let provenance = first(&newer).provenance.as_ref().unwrap();
    assert_eq!((&*provenance.generation, provenance.rule), ("7", Some(2)));
}

#[test]
fn the_destinations_header_wins_over_every_level() {
    for specific_wins in [false, true] {
        let mut action = weighted(&[("a", 1), ("b", 1)]);
        if let Some(pb::route::route_action::ClusterSpecifier::WeightedClusters(weighted)) =
            &mut action.cluster_specifier
        {
            weighted.clusters[0].request_headers_to_add = vec![header("x", "destination", true)];
        }
        let mut source = table(vec![pb::route::Route {
            request_headers_to_add: vec![header("x", "route", true), header("y", "route", true)],
            response_headers_to_remove: vec!["server".to_owned()],
            ..route(pb::route::route::Action::Route(action))
        }]);
        source.request_headers_to_add = vec![header("y", "table", true)];
        source.most_specific_header_mutations_wins = specific_wins;
        let table = compiled(&source);
        let Action::Forward(forward) = &first(&table).action else {
            panic!("no forward")
        };
        let destinations = forward.choice.destinations();
        let set = |index: usize, name: &str| {
            let ops = destinations[index].request_headers.set();
            ops.iter().find(|op| op.name == name).map(|op| op.text().to_owned())
        };
        assert_eq!(set(0, "x").as_deref(), Some("destination"));
        assert_eq!(set(1, "x").as_deref(), Some("route"));
        assert_eq!(
            set(0, "y").as_deref(),
            Some(if specific_wins { "route" } else { "table" })
        );
        assert_eq!(destinations[1].response_headers.removed(), ["server"]);
        assert_eq!(first(&table).response_headers.removed(), ["server"]);
    }
}

#[test]
fn what_cannot_be_honoured_is_refused_with_its_place() {
    use pb::route::route::Action as A;
    let with = |change: fn(&mut pb::route::RouteAction)| {
        let mut action = forward("a");
        change(&mut action);
        route(A::Route(action))
    };
    let on_match = |change: fn(&mut pb::route::RouteMatch)| {
        let mut route = route(A::Route(forward("a")));
        change(route.r#match.as_mut().unwrap());
        route
    };
    let guard = [("envoy.filters.http.rbac".to_owned(), weft_xds::Any::default())];
    let redirect = pb::route::RedirectAction {
        response_code: 9,
        ..Default::default()
    };
    let direct = pb::route::DirectResponseAction {
        status: 99,
        ..Default::default()
    };
    let cases = [
        (
            pb::route::Route {
                action: None,
                ..route(A::Route(forward("a")))
            },
            "action: is missing",
        ),
        (
            route(A::Route(pb::route::RouteAction::default())),
            "route.cluster_specifier: is missing",
        ),
        (route(A::Route(forward(""))), "route.cluster: is missing"),
        (
            route(A::Route(weighted(&[("a", 0)]))),
            "route.weighted_clusters: no destination has a weight above 0",
        ),
        (
            with(|action| action.metadata_match = Some(Default::default())),
            "route.metadata_match: is not supported",
        ),
        (
            on_match(|one| one.runtime_fraction = Some(Default::default())),
            "match.runtime_fraction: is not supported",
        ),
        (
            on_match(|one| one.dynamic_metadata = vec![Default::default()]),
            "match.dynamic_metadata: is not supported",
        ),
        (
            on_match(|one| one.path_specifier = None),
            "match.path_specifier: is missing",
        ),
        (
            on_match(|one| {
                let regex = pb::matcher::RegexMatcher {
                    regex: "(".to_owned(),
                    ..Default::default()
                };
                one.path_specifier = Some(pb::route::route_match::PathSpecifier::SafeRegex(regex));
            }),
            "match.path_specifier: regular expression \"(\"",
        ),
        (
            route(A::Redirect(redirect)),
            "redirect.response_code: \"9\" is not a redirect code",
        ),
        (
            route(A::DirectResponse(direct)),
            "direct_response.status: \"99\" is not a status from 200 to 599",
        ),
        (
            pb::route::Route {
                typed_per_filter_config: guard.into(),
                ..route(A::Route(forward("a")))
            },
            "typed_per_filter_config[envoy.filters.http.rbac]: is not supported",
        ),
        (
            pb::route::Route {
                request_headers_to_add: vec![header("x", "%NOPE%", true)],
                ..route(A::Route(forward("a")))
            },
            "request_headers_to_add[0]: the value of x: unknown operator %NOPE%",
        ),
    ];
    for (route, wanted) in cases {
        let place = "http.80: virtual_hosts[0].routes[1].";
        let refusal = refusal(&table(vec![self::route(A::Route(forward("ok"))), route]));
        assert!(
            refusal.starts_with(&format!("{place}{wanted}")),
            "{refusal}\nwanted {wanted}"
        );
    }
}

#[test]
fn what_is_passed_over_is_named_once() {
    let action = pb::route::RouteAction {
        internal_redirect_policy: Some(Default::default()),
        retry_policy: Some(pb::route::RetryPolicy {
            retry_on: "5xx,no-such-word".to_owned(),
            ..Default::default()
        }),
        ..forward("a")
    };
    let route = || route(pb::route::route::Action::Route(action.clone()));
    let translated = route_table(&table(vec![route(), route()]), &mut Bindings::new(0)).unwrap();
    assert_eq!(
        translated.ignored,
        ["internal_redirect_policy", "retry_on no-such-word"]
    );
}

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
            &pb::tls::UpstreamTlsContext::default(),
        ))),
    };
    let source = pb::cluster::Cluster {
        name: "a".to_owned(),
        transport_socket: Some(tls.clone()),
        ..Default::default()
    };
    let refusal = cluster(&source, &mut Bindings::new(0)).unwrap_err().to_string();
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

fn address(ip: &str, port: u32) -> Option<pb::core::Address> {
    Some(pb::core::Address {
        address: Some(pb::core::address::Address::SocketAddress(pb::core::SocketAddress {
            address: ip.to_owned(),
            port_specifier: Some(pb::core::socket_address::PortSpecifier::PortValue(port)),
            ..Default::default()
        })),
    })
}

fn bound(filter_chains: Vec<pb::listener::FilterChain>) -> pb::listener::Listener {
    pb::listener::Listener {
        name: "l".to_owned(),
        address: address("0.0.0.0", 80),
        filter_chains,
        ..Default::default()
    }
}

fn lb_endpoint(ip: &str, health: pb::core::HealthStatus) -> pb::endpoint::LbEndpoint {
    pb::endpoint::LbEndpoint {
        health_status: health.into(),
        metadata: Some(metadata(
            "istio",
            &[("workload", text("web-v1;shop;web;v1;Kubernetes"))],
        )),
        host_identifier: Some(pb::endpoint::lb_endpoint::HostIdentifier::Endpoint(
            pb::endpoint::Endpoint {
                address: address(ip, 80),
                ..Default::default()
            },
        )),
        ..Default::default()
    }
}

fn assignment(lb_endpoints: Vec<pb::endpoint::LbEndpoint>) -> pb::endpoint::ClusterLoadAssignment {
    pb::endpoint::ClusterLoadAssignment {
        cluster_name: "a".to_owned(),
        endpoints: vec![pb::endpoint::LocalityLbEndpoints {
            lb_endpoints,
            ..Default::default()
        }],
        ..Default::default()
    }
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
fn a_listener_knows_its_routes_and_guards_are_never_passed_over() {
    use pb::hcm::http_connection_manager::RouteSpecifier;
    let manager = |filters: Vec<weft_xds::Any>| {
        let filters = filters.into_iter().map(|any| pb::hcm::HttpFilter {
            name: "f".to_owned(),
            config_type: Some(pb::hcm::http_filter::ConfigType::TypedConfig(any)),
            ..Default::default()
        });
        let manager = pb::hcm::HttpConnectionManager {
            http_filters: filters.collect(),
            route_specifier: Some(RouteSpecifier::Rds(pb::hcm::Rds {
                route_config_name: "http.80".to_owned(),
                ..Default::default()
            })),
            ..Default::default()
        };
        bound(vec![pb::listener::FilterChain {
            filters: vec![pb::listener::Filter {
                name: "hcm".to_owned(),
                config_type: Some(pb::listener::filter::ConfigType::TypedConfig(pack(&manager))),
            }],
            ..Default::default()
        }])
    };
    let unknown = weft_xds::Any {
        type_url: "type.googleapis.com/stats.PluginConfig".to_owned(),
        ..Default::default()
    };
    let source = manager(vec![unknown, pack(&pb::router::Router::default())]);
    let translated = listener(&source, &mut Bindings::new(0)).unwrap();
    assert_eq!(translated.ignored, ["http filter f stats.PluginConfig"]);
    let compiled = translated.value;
    assert_eq!(
        (compiled.bind_to_port, compiled.direction),
        (true, Direction::Unspecified)
    );
    let Network::Http(http) = &compiled.chains[0].network else {
        panic!("no HTTP")
    };
    assert!(matches!(&http.route, RouteSource::Rds(name) if &**name == "http.80"));
    assert_eq!(
        (http.request_headers_bytes_max, http.request_headers_max),
        (60 * 1024, 100)
    );
    let refusal = listener(
        &manager(vec![pack(&pb::http_rbac::Rbac::default())]),
        &mut Bindings::new(0),
    );
    let refusal = refusal.unwrap_err().to_string();
    assert_eq!(
        refusal,
        "l: filter_chains[0].filters[0].http_filters[0]: is not supported: a filter that refuses requests"
    );
}
