//! Who wins.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::kind::connection_pool::{ConnectionPool, HttpSettings, TcpSettings};
use crate::kind::destination_rule::{
    DestinationRule, LbPolicy, LoadBalancer, OutlierDetection, PortTrafficPolicy, RetryBudget, Subset, TrafficPolicy,
};
use crate::kind::virtual_service::VirtualService;
use crate::mesh::{MeshConfig, MeshTrafficPolicy};
use crate::object::{Meta, Object, Origin};

fn meta(reference: &str, created: Option<i64>) -> Meta {
    let (namespace, name) = reference.split_once('/').unwrap();
    Meta {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        created,
        generation: 1,
        origin: Origin {
            file: Arc::from("test"),
            line: 1,
        },
    }
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn short_names_belong_to_the_namespace_of_the_object() {
    for (host, expected) in [
        ("reviews", "reviews.prod.svc.cluster.local"),
        ("Reviews", "reviews.prod.svc.cluster.local"),
        ("reviews.prod", "reviews.prod"),
        ("example.com", "example.com"),
        ("*", "*"),
        ("*.x.io", "*.x.io"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
    ] {
        assert_eq!(expand_host(host, "prod", "cluster.local"), expected);
    }
}

#[test]
fn wildcards_cover_by_suffix() {
    // (a, b, a is covered by b, b is covered by a)
    for (a, b, ab, ba) in [
        ("a.foo.com", "*.foo.com", true, false),
        ("a.b.foo.com", "*.foo.com", true, false),
        ("foo.com", "*.foo.com", false, false),
        ("*.b.foo.com", "*.foo.com", true, false),
        ("*.foo.com", "*", true, false),
        ("*", "*", true, true),
        ("xfoo.com", "*foo.com", true, false),
        ("a.com", "b.com", false, false),
        ("a.com", "a.com", true, true),
    ] {
        assert_eq!((subset_of(a, b), subset_of(b, a)), (ab, ba), "{a} {b}");
        assert_eq!((hosts_match(a, b), hosts_match(b, a)), (ab || ba, ab || ba), "{a} {b}");
    }
}

#[test]
fn the_most_specific_name_wins() {
    let rules = ["*", "*.com", "*.foo.com", "a.foo.com"];
    for (host, expected) in [
        ("a.foo.com", Some("a.foo.com")),
        ("b.foo.com", Some("*.foo.com")),
        ("b.com", Some("*.com")),
        ("b.org", Some("*")),
        ("*.foo.com", Some("*.foo.com")),
        ("*.a.foo.com", Some("*.foo.com")),
    ] {
        assert_eq!(most_specific(host, rules), expected, "{host}");
    }
    assert_eq!(most_specific("a.org", ["a.com"]), None);
}

#[test]
fn export_lists_say_how_an_object_reaches_a_namespace() {
    type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a str, Option<Reach>);
    let cases: [Case<'_>; 9] = [
        (&[], &["*"], "dev", Some(Reach::Public)),
        (&[], &["."], "dev", None),
        (&[], &["."], "prod", Some(Reach::Private)),
        (&["."], &["*"], "dev", None),
        (&["dev"], &["*"], "dev", Some(Reach::Named)),
        (&["dev"], &["*"], "prod", None),
        (&["prod", "dev"], &["*"], "prod", Some(Reach::Private)),
        (&["~"], &["*"], "prod", None),
        (&["dev", "*"], &["."], "ops", Some(Reach::Public)),
    ];
    for (stated, default, client, expected) in cases {
        assert_eq!(
            reach(&strings(stated), &strings(default), "prod", client),
            expected,
            "{stated:?} for {client}"
        );
    }
}

#[test]
fn gateway_references_resolve_to_one_object() {
    for (reference, expected) in [
        ("mesh", "mesh"),
        ("gw", "prod/gw"),
        ("./gw", "prod/gw"),
        ("edge/gw", "edge/gw"),
        ("gw.edge", "edge/gw"),
        ("gw.edge.svc.cluster.local", "edge/gw"),
    ] {
        assert_eq!(resolve_gateway(reference, "prod").to_string(), expected);
    }
}

#[test]
fn age_is_a_total_order() {
    let mut all = [
        ("b/x", Some(5)),
        ("a/x", None),
        ("a/y", None),
        ("b/w", Some(5)),
        ("a/z", Some(1)),
        ("b/x", None),
    ]
    .map(|(reference, created)| {
        Arc::new(Object {
            meta: meta(reference, created),
            spec: (),
        })
    });
    sort_by_age(&mut all);
    let order: Vec<_> = all
        .iter()
        .map(|o| format!("{}/{}", o.meta.namespace, o.meta.name))
        .collect();
    assert_eq!(order, ["a/x", "b/x", "a/y", "a/z", "b/w", "b/x"]);
}

#[test]
fn virtual_services_are_tried_private_then_named_then_public() {
    let vs = |reference: &str, created: i64, export_to: &[&str], hosts: &[&str]| {
        let spec = VirtualService {
            hosts: strings(hosts),
            export_to: strings(export_to),
            ..Default::default()
        };
        Arc::new(Object {
            meta: meta(reference, Some(created)),
            spec,
        })
    };
    let all = [
        vs("a/public", 1, &[], &["h"]),
        vs("a/named", 2, &["dev"], &["h"]),
        vs("dev/private", 9, &["."], &["h"]),
        vs("dev/open", 0, &["*"], &["h"]),
        vs("a/hidden", 0, &["ops"], &["h"]),
        vs("dev/delegate", 0, &["."], &[]),
    ];
    let seen = visible_virtual_services(&all, &strings(&["*"]), "dev");
    let names: Vec<_> = seen.iter().map(|o| o.meta.name.as_str()).collect();
    assert_eq!(names, ["private", "named", "open", "public"]);
}

fn rule(reference: &str, created: i64, host: &str, export_to: &[&str]) -> Arc<Object<DestinationRule>> {
    let spec = DestinationRule {
        host: host.to_owned(),
        export_to: strings(export_to),
        ..Default::default()
    };
    Arc::new(Object {
        meta: meta(reference, Some(created)),
        spec,
    })
}

fn found(rules: &[Arc<Object<DestinationRule>>], host: &str, service: &str, client: &str) -> String {
    let index = DestinationRules::new(rules, &MeshConfig::default());
    index
        .find(host, service, client, Some(&BTreeMap::new()))
        .map_or("-".to_owned(), |r| {
            format!("{}/{}", r.namespace, r.sources[0].meta.name)
        })
}

#[test]
fn rules_are_looked_up_in_three_levels_that_never_mix() {
    let host = "shop.prod.svc.cluster.local";
    let rules = [
        rule("dev/wide", 1, "*.svc.cluster.local", &[]),
        rule("prod/exact", 1, "shop", &["dev", "."]),
        rule("prod/wide", 1, "*.prod.svc.cluster.local", &["*"]),
        rule("istio-system/wide", 1, "*.svc.cluster.local", &["*"]),
        rule("istio-system/own", 1, host, &["."]),
    ];
    for (client, expected) in [
        ("dev", "dev/wide"),
        ("prod", "prod/exact"),
        // The specific rule is chosen before its visibility is asked, so prod's general one is not used.
        ("ops", "istio-system/wide"),
        ("istio-system", "istio-system/own"),
    ] {
        assert_eq!(found(&rules, host, "prod", client), expected, "{client}");
    }
    assert_eq!(found(&rules[..1], host, "prod", "ops"), "-");
    assert_eq!(
        found(&rules, "other.prod.svc.cluster.local", "prod", "ops"),
        "prod/wide"
    );
}

#[test]
fn rules_of_one_host_merge_subsets_and_keep_the_first_policy() {
    let with = |reference: &str, created, subsets: &[&str], policy: Option<LbPolicy>| {
        let mut object = (*rule(reference, created, "shop", &[])).clone();
        object.spec.subsets = subsets
            .iter()
            .map(|s| Subset {
                name: s.to_string(),
                labels: [("from".into(), reference.into())].into(),
                traffic_policy: None,
            })
            .collect();
        object.spec.traffic_policy = policy.map(|policy| TrafficPolicy {
            load_balancer: Some(LoadBalancer {
                policy,
                ..Default::default()
            }),
            ..Default::default()
        });
        Arc::new(object)
    };
    let rules = [
        with("prod/late", 3, &["v2", "v3"], Some(LbPolicy::Random)),
        with("prod/early", 1, &["v1", "v2"], None),
        with("prod/middle", 2, &[], Some(LbPolicy::RoundRobin)),
    ];
    let index = DestinationRules::new(&rules, &MeshConfig::default());
    let merged = index.find("shop.prod.svc.cluster.local", "prod", "prod", None).unwrap();
    let subsets: Vec<_> = merged
        .spec
        .subsets
        .iter()
        .map(|s| format!("{} {}", s.name, s.labels["from"]))
        .collect();
    assert_eq!(subsets, ["v1 prod/early", "v2 prod/early", "v3 prod/late"]);
    let policy = merged
        .spec
        .traffic_policy
        .as_ref()
        .and_then(|p| p.load_balancer.as_ref())
        .unwrap();
    assert_eq!(policy.policy, LbPolicy::RoundRobin);
    assert_eq!(merged.sources.len(), 3);
}

#[test]
fn a_rule_with_a_selector_beats_the_one_without_for_its_own_workloads_only() {
    let mut selected = (*rule("dev/selected", 9, "shop.prod.svc.cluster.local", &[])).clone();
    selected.spec.workload_selector = Some([("app".to_owned(), "web".to_owned())].into());
    let rules = [
        Arc::new(selected),
        rule("dev/plain", 1, "shop.prod.svc.cluster.local", &[]),
    ];
    let index = DestinationRules::new(&rules, &MeshConfig::default());
    let web: BTreeMap<String, String> = [("app".to_owned(), "web".to_owned())].into();
    let find = |client, labels| {
        index
            .find("shop.prod.svc.cluster.local", "prod", client, labels)
            .map(|r| r.sources[0].meta.name.clone())
    };
    assert_eq!(find("dev", Some(&web)).as_deref(), Some("selected"));
    let bare = BTreeMap::new();
    assert_eq!(find("dev", Some(&bare)).as_deref(), Some("plain"));
    assert_eq!(find("dev", None).as_deref(), Some("plain"));
    assert_eq!(find("prod", Some(&web)), None);
}

#[test]
#[expect(clippy::too_many_lines, reason = "the objects of one mesh, written out")]
fn blocks_override_whole_and_ports_inherit_nothing() {
    let pool = |tcp: Option<u32>, pending: Option<u32>| ConnectionPool {
        tcp: tcp.map(|n| TcpSettings {
            max_connections: Some(n),
            ..Default::default()
        }),
        http: pending.map(|n| HttpSettings {
            http1_max_pending_requests: Some(n),
            ..Default::default()
        }),
    };
    let rule = DestinationRule {
        traffic_policy: Some(TrafficPolicy {
            connection_pool: Some(pool(None, Some(1))),
            outlier_detection: Some(OutlierDetection::default()),
            retry_budget: Some(RetryBudget::default()),
            port_level_settings: vec![PortTrafficPolicy {
                port: 8080,
                load_balancer: Some(LoadBalancer {
                    policy: LbPolicy::Random,
                    ..Default::default()
                }),
                ..Default::default()
            }],
            ..Default::default()
        }),
        subsets: vec![
            Subset {
                name: "v2".to_owned(),
                traffic_policy: Some(TrafficPolicy {
                    connection_pool: Some(pool(Some(5), None)),
                    port_level_settings: vec![PortTrafficPolicy {
                        port: 7070,
                        outlier_detection: Some(OutlierDetection {
                            interval: Some(std::time::Duration::from_secs(1)),
                            ..Default::default()
                        }),
                        ..Default::default()
                    }],
                    ..Default::default()
                }),
                ..Default::default()
            },
            Subset {
                name: "v1".to_owned(),
                ..Default::default()
            },
        ],
        ..Default::default()
    };
    let none = MeshTrafficPolicy::default();
    // Istio's own examples: limits and ejection from the rule; a port entry hides both.
    let plain = effective_policy(Some(&rule), 9090, None, &none);
    assert!(plain.outlier_detection.is_some() && plain.load_balancer.is_none() && plain.retry_budget.is_some());
    let port = effective_policy(Some(&rule), 8080, None, &none);
    assert!(port.outlier_detection.is_none() && port.connection_pool.is_none() && port.retry_budget.is_none());
    assert_eq!(port.load_balancer.map(|l| &l.policy), Some(&LbPolicy::Random));
    // The subset's block replaces the inherited one, pending limit and all.
    let v2 = effective_policy(Some(&rule), 9090, Some("v2"), &none);
    assert_eq!(v2.connection_pool, Some(&pool(Some(5), None)));
    assert!(v2.outlier_detection.is_some());
    let v2_port = effective_policy(Some(&rule), 7070, Some("v2"), &none);
    assert!(v2_port.connection_pool.is_none() && v2_port.retry_budget.is_some());
    assert_eq!(
        v2_port.outlier_detection.and_then(|o| o.interval),
        Some(std::time::Duration::from_secs(1))
    );
    assert_eq!(effective_policy(Some(&rule), 9090, Some("v1"), &none), plain);
    // The mesh fills what nobody set.
    let mesh = MeshTrafficPolicy {
        connection_pool: Some(pool(Some(7), None)),
        outlier_detection: None,
    };
    assert_eq!(
        effective_policy(None, 80, None, &mesh).connection_pool,
        Some(&pool(Some(7), None))
    );
    assert_eq!(
        effective_policy(Some(&rule), 8080, None, &mesh).connection_pool,
        Some(&pool(Some(7), None))
    );
    assert_eq!(
        effective_policy(Some(&rule), 9090, None, &mesh).connection_pool,
        plain.connection_pool
    );
}
