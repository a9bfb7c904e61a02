//! Retries under Envoy and under us: how often the upstream is asked, and what the client gets in the end.

use std::net::SocketAddr;

use weft_testkit::{
    Behaviour, Client, Http2Behaviour, Http2Upstream, Upstream, client::request, eventually, mesh::free_address,
    objects::service,
};

use crate::stage::{BOTH, HOST, Stage, Who, all_to_it, policy};

/// `retries`, what the upstream does with every request, how often it is asked, the client's status.
type Case = (&'static str, Behaviour, usize, u16);

fn cases() -> Vec<Case> {
    let status = |status| Behaviour::status(status, "so it is");
    vec![
        ("{attempts: 2, retryOn: 5xx}", status(503), 3, 503),
        ("{attempts: 2, retryOn: 5xx}", status(500), 3, 500),
        ("{attempts: 2, retryOn: 5xx}", status(404), 1, 404),
        ("{attempts: 2, retryOn: 5xx}", Behaviour::Close, 3, 503),
        ("{attempts: 2, retryOn: gateway-error}", status(500), 1, 500),
        ("{attempts: 2, retryOn: gateway-error}", status(504), 3, 504),
        ("{attempts: 2, retryOn: retriable-4xx}", status(409), 3, 409),
        ("{attempts: 2, retryOn: retriable-4xx}", status(429), 1, 429),
        ("{attempts: 2, retryOn: '429,418'}", status(429), 3, 429),
        ("{attempts: 2, retryOn: '503'}", Behaviour::Reset, 1, 503),
        ("{attempts: 2, retryOn: reset}", Behaviour::Reset, 3, 503),
        ("{attempts: 2, retryOn: reset}", status(503), 1, 503),
        ("{attempts: 2, retryOn: connect-failure}", Behaviour::Close, 1, 503),
        ("{attempts: 4, retryOn: 5xx, backoff: 1ms}", status(500), 5, 500),
        (
            "{attempts: 1, perTryTimeout: 300ms, retryOn: gateway-error}",
            Behaviour::Silence,
            2,
            504,
        ),
        ("{attempts: 1, perTryTimeout: 300ms}", Behaviour::Silence, 1, 504),
        ("{attempts: 2}", status(503), 1, 503),
        ("{attempts: 0}", Behaviour::Reset, 1, 503),
    ]
}

fn stage(address: SocketAddr, retries: &str, traffic: &str) -> Stage {
    Stage::new(
        "HTTP",
        &[service(HOST, &[("v1", address)]), all_to_it(retries), policy(traffic)],
    )
}

#[tokio::test]
async fn both_ask_as_often_and_end_with_the_same() {
    for (retries, behaviour, asked, status) in cases() {
        let done = behaviour.clone();
        let upstream = Upstream::start(move |_| done.clone());
        let stage = stage(upstream.address(), retries, "{}");
        for who in BOTH {
            upstream.ledger().clear();
            let _side = stage.enter(who).await;
            let reply = stage.get("/").await;
            let found = (upstream.ledger().counts().requests, reply.status);
            assert_eq!(found, (asked, status), "{who:?}: {retries}: {behaviour:?}");
        }
    }
}

/// A difference: under `5xx` we try again what the breaker refused, as the rules have it; Envoy never does.
#[tokio::test]
async fn a_refusal_of_the_breaker_is_retried_under_5xx_by_us_alone() {
    let upstream = Upstream::start(|_| Behaviour::Silence);
    for (words, by_us) in [("5xx", 2), ("connect-failure,refused-stream", 0)] {
        let retries = format!("{{attempts: 2, retryOn: '{words}'}}");
        let traffic = "{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}}";
        let stage = stage(upstream.address(), &retries, traffic);
        for who in BOTH {
            let side = stage.enter(who).await;
            let mut held = Vec::new();
            for waiting in [0, 1] {
                let mut client = Client::connect(stage.address()).await;
                let sent = client.send(request("GET", "shop.test", "/", &[])).await;
                sent.expect("the gateway takes a request");
                held.push(client);
                eventually("it is at the upstream, or waits", async || {
                    let found = side.figure("upstream_rq_pending_active").await;
                    (found == waiting && upstream.ledger().counts().active == 1).then_some(())
                })
                .await;
            }
            assert_eq!(stage.get("/").await.status, 503, "{who:?}: {words}");
            let expected = match who {
                Who::Envoy => 0,
                Who::Weft => by_us,
            };
            assert_eq!(side.figure("upstream_rq_retry").await, expected, "{who:?}: {words}");
        }
    }
}

#[tokio::test]
async fn both_retry_by_default_what_an_http2_upstream_has_refused() {
    let upstream = Http2Upstream::start(None, |_| Http2Behaviour::Refuse);
    let traffic = "{connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}";
    for (retries, asked) in [("{attempts: 2}", 3), ("{attempts: 2, retryOn: connect-failure}", 1)] {
        let stage = stage(upstream.address(), retries, traffic);
        for who in BOTH {
            let before = upstream.counts().requests;
            let _side = stage.enter(who).await;
            let reply = stage.get("/").await;
            let found = (upstream.counts().requests - before, reply.status);
            assert_eq!(found, (asked, 503), "{who:?}: {retries}");
        }
    }
}

#[tokio::test]
async fn both_count_the_retries_of_a_connection_that_nobody_takes() {
    let stage = stage(free_address(), "{attempts: 2, retryOn: connect-failure}", "{}");
    for who in BOTH {
        let side = stage.enter(who).await;
        assert_eq!(stage.get("/").await.status, 503, "{who:?}");
        assert_eq!(side.figure("upstream_rq_retry").await, 2, "{who:?}");
        assert_eq!(side.figure("upstream_rq_retry_limit_exceeded").await, 1, "{who:?}");
    }
}
