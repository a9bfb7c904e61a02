//! Never more than the limit, and nearly always as much.

use std::time::Duration;

use tokio::{task::JoinSet, time::Instant};
use weft_testkit::{Behaviour, Client, Counts, Mesh, Upstream, eventually, mesh::RULES};

use crate::load::{Load, Statuses, TURN, all_to_it, breaker, figure, mesh, metric, service_at};

/// How long an upstream takes, so that not the machine is the limit but the limit.
const ANSWER: Duration = Duration::from_millis(50);

/// The same where thousands of callers share the machine with it: a dial that has to wait for the processor is short
/// beside a turn of four answers.
const SLOW_ANSWER: Duration = Duration::from_millis(500);

/// How long a load lasts once it has settled.
const LOAD: Duration = Duration::from_millis(700);
/// The same at slow answers: every connection has come to the end of a turn.
const LONG_LOAD: Duration = Duration::from_millis(2500);

/// The least share of the limit that is in use at saturation.
const USED_MIN: f64 = 0.95;

fn upstream(ports: usize) -> Upstream {
    Upstream::group(ports, |_| Behaviour::ok("fine").after(ANSWER))
}

/// The mean of open connections while a load lasts.
async fn mean_open(upstream: &Upstream, load: Duration) -> f64 {
    let (before, start) = (upstream.ledger().open_time(), Instant::now());
    tokio::time::sleep(load).await;
    let open_time = upstream.ledger().open_time() - before;
    open_time.as_secs_f64() / start.elapsed().as_secs_f64()
}

async fn check(limit: usize, workers: usize, endpoints: usize, callers: usize) {
    let _turn = TURN.lock().await;
    let case = format!("{limit} connections, {workers} workers, {endpoints} endpoints, {callers} callers");
    let crowded = callers > 1000;
    let (answer, time) = if crowded {
        (SLOW_ANSWER, LONG_LOAD)
    } else {
        (ANSWER, LOAD)
    };
    let upstream = Upstream::group(endpoints, move |_| Behaviour::ok("fine").after(answer));
    let mesh = mesh(&upstream, &format!("{{tcp: {{maxConnections: {limit}}}}}"), workers).await;
    let load = Load::start(mesh.address(), callers);
    eventually("the limit is in use", async || {
        (upstream.ledger().counts().open >= limit).then_some(())
    })
    .await;
    if crowded {
        eventually("all others wait", async || {
            let waiting = metric(&mesh, "envoy_cluster_upstream_rq_pending_active").await;
            (waiting >= (callers - limit) as f64 * USED_MIN).then_some(())
        })
        .await;
    }
    let open = mean_open(&upstream, time).await;
    // Before they leave: what is closed amid an answer is open to an upstream that does not listen, beside what follows it.
    let Counts { open_max, .. } = upstream.ledger().counts();
    let statuses = if crowded { load.leave().await } else { load.stop().await };
    assert!(open_max <= limit, "{open_max} open: {case}");
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200], "{case}");
    assert!(open >= limit as f64 * USED_MIN, "{open} open in the mean: {case}");
    assert!(
        figure(&mesh, "default_priority::high_water_connections").await <= limit as u64,
        "{case}"
    );
}

#[tokio::test]
async fn one_connection_is_one_connection() {
    for (workers, endpoints, overload) in [(1, 1, 2), (1, 3, 50), (4, 1, 50), (4, 3, 2)] {
        check(1, workers, endpoints, overload).await;
    }
}

#[tokio::test]
async fn eight_connections_are_eight_connections() {
    for (workers, endpoints, overload) in [(1, 1, 50), (1, 3, 2), (4, 1, 2), (4, 3, 50)] {
        check(8, workers, endpoints, 8 * overload).await;
    }
}

#[tokio::test]
async fn a_hundred_connections_are_a_hundred_connections() {
    for (workers, endpoints, overload) in [(1, 1, 2), (1, 3, 3), (4, 1, 10), (4, 3, 4)] {
        check(100, workers, endpoints, 100 * overload).await;
    }
}

#[tokio::test]
async fn a_hundred_connections_are_a_hundred_connections_for_five_thousand_callers() {
    check(100, 4, 3, 5000).await;
}

#[tokio::test]
async fn as_many_callers_as_there_are_places_are_never_refused() {
    for (limit, pending, workers) in [(1, 1, 4), (1, 1, 1), (4, 2, 4)] {
        let _turn = TURN.lock().await;
        let upstream = Upstream::group(1, |_| Behaviour::ok("fine"));
        let pool = format!("{{tcp: {{maxConnections: {limit}}}, http: {{http1MaxPendingRequests: {pending}}}}}");
        let mesh = mesh(&upstream, &pool, workers).await;
        // While a connection is being opened, its request is pending too.
        let opening = Load::start(mesh.address(), limit);
        eventually("all connections are open", async || {
            (upstream.ledger().counts().open == limit).then_some(())
        })
        .await;
        opening.stop().await;
        let load = Load::start(mesh.address(), limit + pending);
        tokio::time::sleep(LOAD).await;
        let statuses = load.stop().await;
        let case = format!("{limit} connections, {pending} pending, {workers} workers");
        assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200], "{statuses:?}: {case}");
        assert!(upstream.ledger().counts().open_max <= limit, "{case}");
        assert!(
            figure(&mesh, "default_priority::high_water_pending_requests").await <= pending as u64,
            "{case}"
        );
    }
}

#[tokio::test]
async fn one_connection_changes_its_endpoint_by_turns_and_not_by_requests() {
    let _turn = TURN.lock().await;
    let upstream = Upstream::group(3, |_| Behaviour::ok("fine"));
    let mesh = mesh(&upstream, "{tcp: {maxConnections: 1}}", 2).await;
    let mut callers = JoinSet::new();
    for _ in 0..15 {
        let address = mesh.address();
        callers.spawn(async move {
            let mut client = Client::connect(address).await;
            for _ in 0..15 {
                let reply = client.get("shop.test", "/", &[]).await.expect("a reply");
                assert_eq!(reply.status, 200);
            }
        });
    }
    callers.join_all().await;
    let counts = upstream.ledger().counts();
    assert_eq!((counts.requests, counts.open_max), (225, 1));
    assert!(counts.accepts <= 60, "{} dials for 225 requests", counts.accepts);
    assert_eq!(endpoints_asked(&mesh).await, 3);
}

/// How many endpoints have had a request.
async fn endpoints_asked(mesh: &Mesh) -> usize {
    let page = mesh.admin("/clusters").await.text();
    let asked = page
        .lines()
        .filter(|line| line.contains("rq_total") && !line.ends_with("::0"));
    asked.count()
}

#[tokio::test]
async fn every_endpoint_is_reached_through_one_connection() {
    let _turn = TURN.lock().await;
    let upstream = upstream(3);
    let mesh = mesh(&upstream, "{tcp: {maxConnections: 1}}", 2).await;
    let load = Load::start(mesh.address(), 6);
    eventually("requests have gone to all endpoints", async || {
        (endpoints_asked(&mesh).await == 3).then_some(())
    })
    .await;
    let statuses = load.stop().await;
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200]);
    assert_eq!(upstream.ledger().counts().open_max, 1);
}

/// Waits until the proxy has this limit and holds to it.
async fn in_force(mesh: &Mesh, upstream: &Upstream, limit: usize) {
    eventually("the new limit is in force", async || {
        let known = figure(mesh, "default_priority::max_connections").await == limit as u64;
        (known && upstream.ledger().counts().open <= limit).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_limit_that_is_raised_and_lowered_under_load_is_kept_each_time() {
    let _turn = TURN.lock().await;
    let upstream = upstream(2);
    let pool = |limit: usize| format!("{{tcp: {{maxConnections: {limit}}}}}");
    let mesh = mesh(&upstream, &pool(4), 4).await;
    let load = Load::start(mesh.address(), 60);
    for limit in [12, 3, 30, 1, 8] {
        mesh.control.replace(RULES, &all_to_it(&[breaker(&pool(limit))]));
        in_force(&mesh, &upstream, limit).await;
        upstream.ledger().clear();
        eventually("the new limit is in use", async || {
            (upstream.ledger().counts().open >= limit).then_some(())
        })
        .await;
        let open = mean_open(&upstream, LOAD).await;
        let Counts { open_max, .. } = upstream.ledger().counts();
        assert!(open_max <= limit, "{open_max} open of {limit}");
        assert!(open >= limit as f64 * USED_MIN, "{open} open of {limit} in the mean");
    }
    assert_eq!(load.stop().await.keys().collect::<Vec<_>>(), [&200]);
}

#[tokio::test]
async fn a_lowered_limit_closes_surplus_idle_connections() {
    let _turn = TURN.lock().await;
    let upstream = upstream(1);
    let mesh = mesh(&upstream, "{tcp: {maxConnections: 20}}", 4).await;
    let statuses: Statuses = {
        let load = Load::start(mesh.address(), 20);
        eventually("all connections are open", async || {
            (upstream.ledger().counts().open == 20).then_some(())
        })
        .await;
        load.stop().await
    };
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200]);
    mesh.control
        .replace(RULES, &all_to_it(&[breaker("{tcp: {maxConnections: 5}}")]));
    in_force(&mesh, &upstream, 5).await;
    assert_eq!(mesh.get("/", &[]).await.status, 200);
}

#[tokio::test]
async fn endpoints_that_come_and_go_under_load_take_no_connection_with_them() {
    let _turn = TURN.lock().await;
    let upstream = upstream(3);
    let limit = 6;
    let mesh = mesh(&upstream, "{tcp: {maxConnections: 6}}", 4).await;
    let load = Load::start(mesh.address(), 40);
    for round in 0..6 {
        let kept = &upstream.addresses()[round % 3..=round % 3];
        let kept = if round % 2 == 0 { kept } else { upstream.addresses() };
        mesh.control.replace("services.yaml", &service_at(kept));
        eventually("the endpoints are known", async || {
            let page = mesh.admin("/clusters").await.text();
            let known = page.lines().filter(|line| line.contains("::health_flags::")).count();
            (known == kept.len()).then_some(())
        })
        .await;
        let open = mean_open(&upstream, LOAD).await;
        assert!(open >= limit as f64 * 0.9, "{open} open in the mean, round {round}");
    }
    let statuses = load.stop().await;
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200], "{statuses:?}");
    assert!(upstream.ledger().counts().open_max <= limit);
}
