//! Upstreams that speak HTTP/2, behind Envoy and behind us.

use std::time::Duration;

use weft_testkit::{Client, Http2Behaviour, Http2Upstream, client::request, eventually, objects::service};

use crate::stage::{BOTH, HOST, Stage, all_to_it, overflow, policy};

/// How long the upstream takes: far longer than all callers need to get in line.
const ANSWER: Duration = Duration::from_millis(1500);

fn slow() -> Http2Upstream {
    Http2Upstream::start(None, |call| match call.path.as_str() {
        "/slow" => Http2Behaviour::Answer {
            delay: ANSWER,
            fields: Vec::new(),
            body: Some("slow"),
            trailers: Vec::new(),
        },
        "/refused" => Http2Behaviour::Refuse,
        "/reset" => Http2Behaviour::Reset,
        _ => Http2Behaviour::ok("fine"),
    })
}

fn stage(upstream: &Http2Upstream, pool: &str) -> Stage {
    let traffic = format!("{{connectionPool: {{http: {{h2UpgradePolicy: UPGRADE{pool}}}}}}}");
    Stage::new(
        "HTTP",
        &[
            service(HOST, &[("v1", upstream.address())]),
            all_to_it("{attempts: 0}"),
            policy(&traffic),
        ],
    )
}

#[tokio::test]
async fn requests_reach_an_http2_upstream_on_one_connection_through_both() {
    let upstream = slow();
    let stage = stage(&upstream, "");
    for who in BOTH {
        let before = upstream.counts();
        let _side = stage.enter(who).await;
        let mut client = Client::connect(stage.address()).await;
        for (path, status, text) in [
            ("/", 200, Some("fine")),
            ("/refused", 503, None),
            ("/reset", 503, None),
            ("/again", 200, Some("fine")),
        ] {
            let reply = client.get("shop.test", path, &[]).await.expect("a reply");
            assert_eq!(reply.status, status, "{who:?}: {path}");
            if let Some(text) = text {
                assert_eq!(reply.text(), text, "{who:?}: {path}");
            }
        }
        let after = upstream.counts();
        assert_eq!(after.requests - before.requests, 4, "{who:?}");
        assert_eq!(after.accepts - before.accepts, 1, "{who:?}");
    }
}

#[tokio::test]
async fn requests_in_flight_over_http2_are_limited_alike() {
    let upstream = slow();
    let stage = stage(&upstream, ", http2MaxRequests: 2");
    for who in BOTH {
        let before = upstream.counts().requests;
        let side = stage.enter(who).await;
        let mut served = Vec::new();
        for number in 1..=2 {
            let mut client = Client::connect(stage.address()).await;
            let sent = client.send(request("GET", "shop.test", "/slow", &[])).await;
            sent.expect("the gateway takes a request");
            eventually("it is in flight", async || {
                (upstream.counts().requests == before + number).then_some(())
            })
            .await;
            served.push(client);
        }
        for refused in 1..=2 {
            let reply = stage.get("/slow").await;
            let found = (reply.status, reply.field("x-envoy-overloaded"));
            assert_eq!(found, (503, Some("true")), "{who:?}");
            assert_eq!(overflow(&side).await, refused, "{who:?}");
        }
        for client in &mut served {
            assert_eq!(client.reply(false).await.expect("a reply").status, 200, "{who:?}");
        }
        assert_eq!(upstream.counts().requests, before + 2, "{who:?}");
    }
}
