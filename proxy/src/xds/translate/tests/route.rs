use weft_proxy_core::cluster::{Balance, UpstreamProtocol};
use weft_proxy_core::route::{Action, ClusterChoice, HostRewrite, PathRewrite, SplitKey};

use super::*;

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
#[expect(clippy::too_many_lines, reason = "a table of cases")]
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
