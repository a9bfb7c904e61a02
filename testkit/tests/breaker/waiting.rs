//! Who waits is served, wherever the connection is; who leaves frees its place.

use std::time::Duration;

use weft_testkit::{Behaviour, Client, Upstream, client::request, eventually};

use crate::load::{Load, all_to_it, breaker, figure, mesh, metric};

#[tokio::test]
async fn one_connection_serves_fifty_new_clients_of_four_workers() {
    let upstream = Upstream::named("one");
    let pool = "{tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1000}}";
    let mesh = mesh(&upstream, pool, 4).await;
    for number in 0..50 {
        assert_eq!(mesh.get("/", &[]).await.status, 200, "client {number}");
    }
    let counts = upstream.ledger().counts();
    assert_eq!((counts.open_max, counts.requests), (1, 50));
    assert_eq!(counts.accepts, 1, "it is handed over rather than closed");
    assert!(figure(&mesh, "cx_lent").await > 0, "no client met another worker");
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_frees_its_place() {
    let upstream = Upstream::start(|seen| match seen.path() {
        "/slow" => Behaviour::ok("slow").after(Duration::from_secs(2)),
        _ => Behaviour::ok("fast"),
    });
    let pool = "{tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}";
    let mesh = mesh(&upstream, pool, 2).await;
    let mut busy = Client::connect(mesh.address()).await;
    busy.send(request("GET", "shop.test", "/slow", &[]))
        .await
        .expect("room");
    eventually("the upstream is busy", async || {
        (upstream.ledger().counts().active == 1).then_some(())
    })
    .await;
    for _ in 0..3 {
        let mut waits = Client::connect(mesh.address()).await;
        waits
            .send(request("GET", "shop.test", "/left", &[]))
            .await
            .expect("room");
        eventually("it waits", async || (figure(&mesh, "waiters").await == 1).then_some(())).await;
        assert_eq!(mesh.get("/", &[]).await.status, 503, "its place is taken");
        drop(waits);
        eventually("its place is free", async || {
            let pending = figure(&mesh, "default_priority::active_pending_requests").await;
            (figure(&mesh, "waiters").await == 0 && pending == 0).then_some(())
        })
        .await;
    }
    let served = mesh.get("/stays", &[]).await;
    assert_eq!((served.status, served.text().as_str()), (200, "fast"));
    assert_eq!(busy.reply(false).await.expect("a reply").status, 200);
    assert_eq!(upstream.ledger().requests_to("/left"), 0, "who left was not sent");
    assert_eq!(upstream.ledger().counts().open_max, 1);
}

#[tokio::test]
async fn a_connection_that_its_upstream_closes_makes_room_for_who_waits() {
    let upstream = Upstream::start(|_| {
        let text = b"HTTP/1.1 200 Scripted\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
        Behaviour::RawThenClose(text.to_vec()).after(Duration::from_millis(2))
    });
    let mesh = mesh(&upstream, "{tcp: {maxConnections: 1}}", 4).await;
    let load = crate::load::Load::start(mesh.address(), 8);
    eventually("many were served", async || {
        (upstream.ledger().counts().requests > 200).then_some(())
    })
    .await;
    assert_eq!(load.stop().await.keys().collect::<Vec<_>>(), [&200]);
    assert_eq!(upstream.ledger().counts().open_max, 1);
}

#[tokio::test]
async fn connections_are_used_as_often_as_they_may() {
    for (most, expected) in [(1, 10), (3, 4)] {
        let upstream = Upstream::named("one");
        let mesh = mesh(
            &upstream,
            &format!("{{tcp: {{maxConnections: 2}}, http: {{maxRequestsPerConnection: {most}}}}}"),
            1,
        )
        .await;
        for _ in 0..10 {
            assert_eq!(mesh.get("/", &[]).await.status, 200);
        }
        assert_eq!(upstream.ledger().counts().accepts, expected, "at most {most} each");
    }
}

#[tokio::test]
async fn connections_end_by_idleness_and_by_age() {
    for pool in ["{http: {idleTimeout: 300ms}}", "{tcp: {maxConnectionDuration: 300ms}}"] {
        let upstream = Upstream::named("one");
        let mesh = mesh(&upstream, pool, 1).await;
        assert_eq!(mesh.get("/", &[]).await.status, 200);
        assert_eq!(upstream.ledger().counts().open, 1);
        eventually("the connection is closed", async || {
            (upstream.ledger().counts().open == 0).then_some(())
        })
        .await;
        assert_eq!(mesh.get("/", &[]).await.status, 200, "{pool}");
        assert_eq!(metric(&mesh, "envoy_cluster_upstream_cx_active").await, 1.0);
    }
}

#[tokio::test]
async fn a_subset_has_the_policy_that_it_names_and_no_other() {
    let upstream = Upstream::named("one");
    let mesh = mesh(&upstream, "{http: {http1MaxPendingRequests: 1}}", 1).await;
    let subset = breaker("{http: {http1MaxPendingRequests: 1}}")
        + "  subsets: [{name: v2, labels: {version: v1}, trafficPolicy: {connectionPool: {tcp: {maxConnections: 5}}}}]\n";
    mesh.control.replace(weft_testkit::mesh::RULES, &all_to_it(&[subset]));
    let limits = ["max_connections::5", "max_pending_requests::4294967295"];
    eventually("the subset has its own limits", async || {
        let page = mesh.admin("/clusters").await.text();
        let has = |limit| page.lines().any(|line| line.contains("|v2|") && line.ends_with(limit));
        limits.into_iter().all(has).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_gets_the_connection_finds_the_place_of_the_request_before_it_free() {
    let upstream = Upstream::named("fine");
    let pool = "{tcp: {maxConnections: 1}, http: {http2MaxRequests: 1}}";
    let mesh = mesh(&upstream, pool, 4).await;
    let load = Load::start(mesh.address(), 16);
    eventually("many were served", async || {
        (upstream.ledger().counts().requests > 500).then_some(())
    })
    .await;
    let statuses = load.stop().await;
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200], "{statuses:?}");
    assert_eq!(upstream.ledger().counts().active_max, 1);
}
