//! What counts against an endpoint.

use std::time::Duration;

use tokio::task::JoinSet;
use weft_testkit::{
    Behaviour, Client, Http2Behaviour, Http2Upstream, Mesh, Upstream, client, eventually,
    mesh::free_address,
    objects::{file, rules},
};

use crate::stage::{HOST, LONG, all_to_it, ejected, figure, mesh, metric, obedient, policy, service_at};

/// Settings; statuses that an only endpoint answers with, one after another; why it is ejected then, if it is.
const CASES: [(&str, &[u16], Option<&str>); 15] = [
    ("", &[500, 501, 502, 503], None),
    ("", &[500, 501, 502, 503, 504], Some("consecutive_5xx")),
    ("consecutive5xxErrors: 3", &[500, 500, 200, 500, 500], None),
    ("consecutive5xxErrors: 3", &[500, 500, 404, 500, 500], None),
    ("consecutive5xxErrors: 3", &[500, 599, 505], Some("consecutive_5xx")),
    ("consecutive5xxErrors: 0", &[500, 500, 500, 500, 500, 500], None),
    (
        "consecutiveGatewayErrors: 2, consecutive5xxErrors: 0",
        &[503, 500, 503],
        None,
    ),
    (
        "consecutiveGatewayErrors: 2, consecutive5xxErrors: 0",
        &[502, 504],
        Some("consecutive_gateway_failure"),
    ),
    (
        "consecutiveGatewayErrors: 2, consecutive5xxErrors: 3",
        &[502, 500, 500],
        Some("consecutive_5xx"),
    ),
    (
        "consecutive5xxErrors: 3, outlierDetectionHttpErrorCodes: [429, 503]",
        &[429, 503, 429],
        Some("consecutive_5xx"),
    ),
    (
        "consecutive5xxErrors: 2, outlierDetectionHttpErrorCodes: [429, 503]",
        &[429, 500, 429, 502, 502],
        None,
    ),
    (
        "consecutive5xxErrors: 2, outlierDetectionHttpErrorCodes: [404]",
        &[500, 500, 404, 404],
        Some("consecutive_5xx"),
    ),
    ("consecutiveErrors: 2", &[500, 500, 500], None),
    ("consecutiveErrors: 2", &[503, 503], Some("consecutive_gateway_failure")),
    (
        "splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 1, consecutive5xxErrors: 2",
        &[503, 503],
        Some("consecutive_5xx"),
    ),
];

#[tokio::test]
async fn an_endpoint_is_ejected_for_what_the_rules_count() {
    for (settings, statuses, cause) in CASES {
        let upstream = obedient();
        let comma = if settings.is_empty() { "" } else { ", " };
        let detection = format!("{settings}{comma}{LONG}, maxEjectionPercent: 100");
        let mesh = mesh(upstream.addresses(), &detection, 1).await;
        for status in statuses {
            let reply = mesh.get(&format!("/{status}"), &[]).await;
            assert_eq!(reply.status, *status, "{settings} {statuses:?}");
        }
        let found = figure(&mesh, upstream.address(), "ejection_cause").await;
        assert_eq!(found.as_deref(), cause, "{settings} {statuses:?}");
        let reply = mesh.get("/200", &[]).await;
        let expected = if cause.is_some() {
            (503, "no healthy upstream")
        } else {
            (200, "as told")
        };
        assert_eq!(
            (reply.status, reply.text().as_str()),
            expected,
            "{settings} {statuses:?}"
        );
    }
}

#[tokio::test]
async fn failures_that_are_no_answers_count_as_the_rules_say() {
    // What the endpoint does; the settings; why it is ejected after two requests.
    let cases: [(Option<Behaviour>, &str, Option<&str>); 6] = [
        (
            None,
            "consecutiveGatewayErrors: 2, consecutive5xxErrors: 0",
            Some("consecutive_gateway_failure"),
        ),
        (
            Some(Behaviour::Close),
            "consecutive5xxErrors: 2",
            Some("consecutive_5xx"),
        ),
        (
            Some(Behaviour::Silence),
            "consecutiveGatewayErrors: 2, consecutive5xxErrors: 0",
            Some("consecutive_gateway_failure"),
        ),
        (
            None,
            "splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2, consecutive5xxErrors: 1",
            Some("consecutive_local_origin_failure"),
        ),
        (
            None,
            "splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 3, consecutive5xxErrors: 1",
            None,
        ),
        (
            Some(Behaviour::with_fields("", &[("grpc-status", "14")])),
            "consecutiveGatewayErrors: 2, consecutive5xxErrors: 0",
            Some("consecutive_gateway_failure"),
        ),
    ];
    for (behaviour, settings, cause) in cases {
        let upstream = behaviour
            .clone()
            .map(|behaviour| Upstream::start(move |_| behaviour.clone()));
        let address = upstream.as_ref().map_or_else(free_address, Upstream::address);
        let traffic = format!("{{outlierDetection: {{{settings}, {LONG}, maxEjectionPercent: 100}}}}");
        let route =
            format!("    - {{route: [{{destination: {{host: {HOST}}}}}], retries: {{attempts: 0}}, timeout: 100ms}}\n");
        let mesh = Mesh::start(
            &[service_at(&[address])],
            &file(&[rules(HOST, &route), policy(&traffic)]),
            1,
        )
        .await;
        for _ in 0..2 {
            mesh.get("/", &[("content-type", "application/grpc")]).await;
        }
        let found = figure(&mesh, address, "ejection_cause").await;
        assert_eq!(found.as_deref(), cause, "{behaviour:?} {settings}");
    }
}

#[tokio::test]
async fn each_try_of_a_request_counts_for_itself() {
    let upstream = obedient();
    let traffic = format!("{{outlierDetection: {{consecutive5xxErrors: 3, {LONG}, maxEjectionPercent: 100}}}}");
    let route = format!(
        "    - {{route: [{{destination: {{host: {HOST}}}}}], retries: {{attempts: 2, retryOn: 5xx, backoff: 1ms}}}}\n"
    );
    let objects = file(&[rules(HOST, &route), policy(&traffic)]);
    let mesh = Mesh::start(&[service_at(upstream.addresses())], &objects, 1).await;
    assert_eq!(mesh.get("/500", &[]).await.status, 500);
    assert_eq!(ejected(&mesh).await, 1.0);
}

#[tokio::test]
async fn a_local_rejection_counts_against_nobody() {
    let upstream = Upstream::start(|_| Behaviour::ok("slow").after(Duration::from_millis(300)));
    let traffic = "{connectionPool: {http: {http2MaxRequests: 1}}, \
                   outlierDetection: {consecutive5xxErrors: 1, consecutiveGatewayErrors: 1, interval: 10ms, \
                   baseEjectionTime: 60s, maxEjectionPercent: 100}}";
    let mesh = Mesh::start(&[service_at(upstream.addresses())], &all_to_it(traffic), 1).await;
    let mut callers = JoinSet::new();
    for _ in 0..20 {
        let address = mesh.address();
        callers.spawn(async move {
            client::get(address, "shop.test", "/", &[])
                .await
                .expect("a reply")
                .status
        });
    }
    let statuses = callers.join_all().await;
    assert!(
        statuses.iter().filter(|status| **status == 503).count() >= 10,
        "{statuses:?}"
    );
    assert_eq!(ejected(&mesh).await, 0.0);
    assert_eq!(mesh.get("/", &[]).await.text(), "slow");
}

#[tokio::test]
async fn as_many_errors_are_needed_with_two_hundred_routes_as_with_one() {
    for routes in [1, 200] {
        let upstream = obedient();
        let traffic = format!("{{outlierDetection: {{consecutive5xxErrors: 5, {LONG}, maxEjectionPercent: 100}}}}");
        let http: String = (0..routes)
            .map(|route| {
                format!(
                    "    - {{match: [{{uri: {{prefix: /{route}/}}}}], route: [{{destination: {{host: {HOST}}}}}], retries: {{attempts: 0}}}}\n"
                )
            })
            .collect();
        let objects = file(&[rules(HOST, &http), policy(&traffic)]);
        let mesh = Mesh::start(&[service_at(upstream.addresses())], &objects, 4).await;
        for error in 0..5 {
            assert_eq!(ejected(&mesh).await, 0.0, "{routes} routes, {error} errors");
            let route = error * 39 % routes;
            assert_eq!(mesh.get(&format!("/{route}/500"), &[]).await.status, 500);
        }
        assert_eq!(ejected(&mesh).await, 1.0, "{routes} routes");
        // A change of routes is no reason to forget that.
        let http = http.replace("prefix: /0/", "prefix: /zero/");
        mesh.control.replace(
            weft_testkit::mesh::RULES,
            &file(&[rules(HOST, &http), policy(&traffic)]),
        );
        eventually("the new route is live", async || {
            (mesh.get("/zero/200", &[]).await.status == 503).then_some(())
        })
        .await;
        assert_eq!(ejected(&mesh).await, 1.0, "{routes} routes");
        assert_eq!(
            metric(&mesh, "envoy_cluster_outlier_detection_ejections_enforced_total").await,
            1.0
        );
    }
}

#[tokio::test]
async fn an_endpoint_is_not_blamed_for_the_wait_at_our_own_limit() {
    let upstream = Http2Upstream::start(Some(1), |_| Http2Behaviour::ok("two"));
    let service = service_at(&[upstream.address()]).replace("{name: http,", "{name: http2,");
    let route =
        format!("    - {{route: [{{destination: {{host: {HOST}}}}}], timeout: 200ms, retries: {{attempts: 0}}}}\n");
    let detection = format!("outlierDetection: {{consecutive5xxErrors: 1, maxEjectionPercent: 100, {LONG}}}");
    let traffic = policy(&format!(
        "{{connectionPool: {{tcp: {{maxConnections: 1}}}}, {detection}}}"
    ));
    let mesh = Mesh::start(&[service], &file(&[rules(HOST, &route), traffic]), 1).await;
    // It keeps the only stream of the only connection: its limit begins at its end.
    let mut busy = Client::connect(mesh.address()).await;
    let post = client::request("POST", "shop.test", "/", &[("content-length", "5")]);
    busy.send(&post).await.expect("room");
    eventually("the stream is in use", async || {
        (upstream.counts().streams_max == 1).then_some(())
    })
    .await;
    assert_eq!(mesh.get("/", &[]).await.status, 504);
    assert_eq!(ejected(&mesh).await, 0.0);
    busy.send("hello").await.expect("room");
    assert_eq!(busy.reply(false).await.expect("a reply").status, 200);
    assert_eq!(mesh.get("/", &[]).await.status, 200);
}
