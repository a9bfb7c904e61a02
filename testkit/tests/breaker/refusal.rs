//! What is over a limit is refused at once, says so, and is counted once.

use std::time::Duration;

use weft_testkit::{Behaviour, Client, Mesh, Reply, Upstream, client::request, eventually, objects::NAMESPACE};

use crate::load::{Load, all_to_it, figure, mesh, metric, service_at};

const OVERFLOW: &str = "upstream connect error or disconnect/reset before headers. reset reason: overflow";

fn assert_overflow(reply: &Reply) {
    let found = (reply.status, reply.field("x-envoy-overloaded"), reply.text());
    assert_eq!(found, (503, Some("true"), OVERFLOW.to_owned()));
}

fn slow(time: Duration) -> Upstream {
    Upstream::start(move |seen| match seen.path() {
        "/slow" => Behaviour::ok("slow").after(time),
        _ => Behaviour::ok("fast"),
    })
}

/// A client that has asked for something slow.
async fn ask_slowly(mesh: &Mesh) -> Client {
    let mut client = Client::connect(mesh.address()).await;
    client
        .send(request("GET", "shop.test", "/slow", &[]))
        .await
        .expect("room");
    client
}

#[tokio::test]
async fn of_three_slow_requests_one_is_served_one_waits_and_one_is_refused() {
    let upstream = slow(Duration::from_millis(300));
    let pool = "{tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}";
    let mesh = mesh(&upstream, pool, 2).await;
    assert_eq!(mesh.get("/up", &[]).await.status, 200, "the first connection is up");
    let mut served = ask_slowly(&mesh).await;
    eventually("the first is on its way", async || {
        (upstream.ledger().counts().active == 1).then_some(())
    })
    .await;
    let mut queued = ask_slowly(&mesh).await;
    eventually("the second waits", async || {
        (figure(&mesh, "waiters").await == 1).then_some(())
    })
    .await;
    assert_eq!(metric(&mesh, "envoy_cluster_upstream_rq_pending_active").await, 1.0);
    assert_eq!(
        metric(&mesh, "envoy_cluster_circuit_breakers_default_cx_open").await,
        1.0
    );
    assert_eq!(
        metric(&mesh, "envoy_cluster_circuit_breakers_default_remaining_pending").await,
        0.0
    );
    assert_overflow(&mesh.get("/slow", &[]).await);
    for client in [&mut served, &mut queued] {
        assert_eq!(client.reply(false).await.expect("a reply").status, 200);
    }
    assert_eq!(metric(&mesh, "envoy_cluster_upstream_rq_pending_overflow").await, 1.0);
    let page = mesh.admin("/stats/prometheus").await.text();
    let told = page
        .lines()
        .find(|line| line.starts_with("istio_requests_total") && line.contains("response_flags=\"UO\""));
    assert!(told.is_some_and(|line| line.ends_with(" 1")), "{told:?}");
    let failures = page.lines().find(|line| line.contains("local.admit.pending"));
    assert!(failures.is_some_and(|line| line.ends_with(" 1")), "{failures:?}");
    assert_eq!(figure(&mesh, "rq_error").await, 0, "no endpoint is to blame");
}

#[tokio::test]
async fn a_third_request_is_refused_where_two_may_be_in_flight() {
    let upstream = slow(Duration::from_millis(300));
    let mesh = mesh(&upstream, "{http: {http2MaxRequests: 2}}", 2).await;
    let mut both = [ask_slowly(&mesh).await, ask_slowly(&mesh).await];
    eventually("both are in flight", async || {
        (upstream.ledger().counts().active == 2).then_some(())
    })
    .await;
    assert_overflow(&mesh.get("/slow", &[]).await);
    for client in &mut both {
        assert_eq!(client.reply(false).await.expect("a reply").status, 200);
    }
    assert_eq!(mesh.get("/", &[]).await.status, 200);
    assert_eq!(upstream.ledger().counts().active_max, 2);
    assert_eq!(metric(&mesh, "envoy_cluster_upstream_rq_pending_overflow").await, 1.0);
}

#[tokio::test]
async fn requests_in_flight_are_never_more_than_the_limit() {
    let upstream = Upstream::start(|_| Behaviour::ok("fine").after(Duration::from_millis(5)));
    let mesh = mesh(&upstream, "{http: {http2MaxRequests: 7}}", 4).await;
    let load = Load::start(mesh.address(), 50);
    eventually("many were served", async || {
        (upstream.ledger().counts().requests > 500).then_some(())
    })
    .await;
    let statuses = load.stop().await;
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200, &503]);
    assert!(upstream.ledger().counts().active_max <= 7);
    let overflow = metric(&mesh, "envoy_cluster_upstream_rq_pending_overflow").await;
    assert_eq!(overflow, statuses[&503] as f64);
}

#[tokio::test]
async fn a_breaker_of_one_everything_trips_with_three_callers() {
    let upstream = Upstream::start(|_| Behaviour::ok("fine").after(Duration::from_millis(5)));
    let rule = format!(
        "apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata: {{name: web, namespace: {NAMESPACE}}}
spec:
  host: web
  trafficPolicy:
    connectionPool:
      tcp: {{maxConnections: 1}}
      http: {{http1MaxPendingRequests: 1, maxRequestsPerConnection: 1}}
    outlierDetection: {{consecutiveErrors: 1, interval: 1s, baseEjectionTime: 3m, maxEjectionPercent: 100}}
"
    );
    let mesh = Mesh::start(&[service_at(upstream.addresses())], &all_to_it(&[rule]), 2).await;
    let load = Load::start(mesh.address(), 3);
    eventually("many were served", async || {
        (upstream.ledger().counts().requests > 50).then_some(())
    })
    .await;
    let statuses = load.stop().await;
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200, &503]);
    let counts = upstream.ledger().counts();
    assert_eq!((counts.open_max, counts.accepts), (1, counts.requests));
    assert_eq!(counts.requests, statuses[&200]);
    let overflow = metric(&mesh, "envoy_cluster_upstream_rq_pending_overflow").await;
    assert_eq!(overflow, statuses[&503] as f64);
}
