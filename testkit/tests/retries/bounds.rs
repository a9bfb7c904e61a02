//! What stops retries, and what they cost.

use std::time::Duration;

use tokio::task::JoinSet;
use weft_testkit::{
    Behaviour, Client, Upstream,
    client::{self, request},
    eventually,
};

use crate::stage::{failing, mesh, metric, policy, try_of, with_flags};

#[tokio::test]
async fn a_dead_leaf_gets_its_load_times_the_tries() {
    let upstream = Upstream::start(|_| Behaviour::status(503, "dead"));
    let mesh = mesh(upstream.addresses(), "retries: {attempts: 2, retryOn: 5xx}", &[]).await;
    for _ in 0..30 {
        let reply = mesh.get("/", &[]).await;
        assert_eq!((reply.status, reply.text().as_str()), (503, "dead"));
    }
    assert_eq!(upstream.ledger().counts().requests, 90);
    assert_eq!(with_flags(&mesh, "URX").await, 30.0);
    assert_eq!(metric(&mesh, "envoy_cluster_upstream_rq_retry").await, 60.0);
    assert_eq!(
        metric(&mesh, "envoy_cluster_upstream_rq_retry_limit_exceeded").await,
        30.0
    );
}

#[tokio::test]
async fn retries_of_two_hops_multiply() {
    let upstream = Upstream::start(|_| Behaviour::status(503, "dead"));
    let rule = "retries: {attempts: 2, retryOn: 5xx}";
    let second = mesh(upstream.addresses(), rule, &[]).await;
    let first = mesh(&[second.address()], rule, &[]).await;
    for _ in 0..5 {
        assert_eq!(first.get("/", &[]).await.status, 503);
    }
    assert_eq!(upstream.ledger().counts().requests, 5 * 3 * 3);
}

#[tokio::test]
async fn the_connection_of_a_response_that_made_way_is_used_again() {
    let upstream = failing(1, 1, Behaviour::status(503, vec![b'x'; 10_000]));
    let mesh = mesh(upstream.addresses(), "retries: {attempts: 1, retryOn: 5xx}", &[]).await;
    for _ in 0..20 {
        assert_eq!(mesh.get("/", &[]).await.text(), "fine");
    }
    let counts = upstream.ledger().counts();
    assert_eq!(counts.requests, 40);
    assert!(counts.accepts <= 5, "{} connections", counts.accepts);
}

#[tokio::test]
async fn a_long_response_that_made_way_is_not_read_to_its_end() {
    let upstream = failing(1, 1, Behaviour::status(503, vec![b'x'; 8 << 20]));
    let mesh = mesh(upstream.addresses(), "retries: {attempts: 1, retryOn: 5xx}", &[]).await;
    assert_eq!(mesh.get("/", &[]).await.text(), "fine");
    eventually("the connection is closed", async || {
        (upstream.ledger().counts().open == 1).then_some(())
    })
    .await;
}

/// Many retries are wanted at once where one may be under way.
async fn overflow(limit: &str) {
    const CALLERS: usize = 6;
    // The first tries fail together; the one retry that may be under way lasts until they all have.
    let upstream = Upstream::start(|seen| match try_of(seen) {
        1 => Behaviour::status(503, "first").after(Duration::from_millis(100)),
        _ => Behaviour::ok("fine").after(Duration::from_millis(500)),
    });
    let limit = policy(limit);
    let mesh = mesh(upstream.addresses(), "retries: {attempts: 1, retryOn: 5xx}", &[limit]).await;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let address = mesh.address();
        callers.spawn(async move { client::get(address, "shop.test", "/", &[]).await.expect("a reply") });
    }
    let replies = callers.join_all().await;
    let fine = replies.iter().filter(|reply| reply.text() == "fine").count();
    let first = replies.iter().filter(|reply| reply.text() == "first").count();
    assert_eq!(fine + first, CALLERS);
    assert!(fine >= 1 && first >= 1, "{fine} retries");
    assert_eq!(
        metric(&mesh, "envoy_cluster_upstream_rq_retry_overflow").await,
        first as f64
    );
    assert_eq!(metric(&mesh, "envoy_cluster_upstream_rq_retry").await, fine as f64);
    assert_eq!(with_flags(&mesh, "UO").await, first as f64);
    assert_eq!(upstream.ledger().counts().requests, CALLERS + fine);
    // Whoever fails because of the limit is told what the upstream said, and nothing about overload.
    let told = replies
        .iter()
        .filter(|reply| reply.field("x-envoy-overloaded").is_some());
    assert_eq!(told.count(), 0);
}

#[tokio::test]
async fn over_the_limit_of_retries_the_failure_is_the_answer() {
    overflow("{connectionPool: {http: {maxRetries: 1}}}").await;
}

#[tokio::test]
async fn a_budget_takes_the_place_of_the_limit_of_retries() {
    overflow("{connectionPool: {http: {maxRetries: 100}}, retryBudget: {percent: 1, minRetryConcurrency: 1}}").await;
}

#[tokio::test]
async fn a_limit_of_one_retry_is_enough_for_one_request_to_be_retried_often() {
    let upstream = failing(1, 4, Behaviour::status(503, "no"));
    let limit = policy("{connectionPool: {http: {maxRetries: 1}}}");
    let mesh = mesh(upstream.addresses(), "retries: {attempts: 4, retryOn: 5xx}", &[limit]).await;
    assert_eq!(mesh.get("/", &[]).await.text(), "fine");
    assert_eq!(upstream.ledger().counts().requests, 5);
    assert_eq!(
        metric(&mesh, "envoy_cluster_circuit_breakers_default_remaining_retries").await,
        1.0
    );
}

#[tokio::test]
async fn a_request_with_a_body_waits_for_a_connection_no_longer_than_its_limit() {
    let pool = policy("{connectionPool: {tcp: {maxConnections: 1}}}");
    let retries = "retries: {attempts: 1, retryOn: 5xx, perTryTimeout: 200ms}";
    for rule in ["timeout: 300ms", retries] {
        let upstream = Upstream::named("one");
        let mesh = mesh(upstream.addresses(), rule, std::slice::from_ref(&pool)).await;
        // The limit of a request begins at its end: this one keeps the connection.
        let mut busy = Client::connect(mesh.address()).await;
        let post = request("POST", "shop.test", "/", &[("content-length", "5")]);
        busy.send(&post).await.expect("room");
        eventually("the connection is in use", async || {
            (upstream.ledger().counts().open == 1).then_some(())
        })
        .await;
        let mut waits = Client::connect(mesh.address()).await;
        waits.send([&post[..], b"hello"].concat()).await.expect("room");
        let reply = tokio::time::timeout(Duration::from_secs(5), waits.reply(false)).await;
        let reply = reply.expect("not later than its limit").expect("a reply");
        assert_eq!(reply.status, 504, "{rule}");
        assert_eq!(
            with_flags(&mesh, if rule == retries { "UT,URX" } else { "UT" }).await,
            1.0
        );
    }
}
