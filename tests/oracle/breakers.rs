//! Limits under Envoy and under us: the same callers are served, wait and are refused, and the same is said about it.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weft_testkit::{
    Behaviour, Client, TcpUpstream, Upstream,
    client::request,
    eventually,
    eventually::in_time,
    objects::{NAMESPACE, service},
    tcp::Script,
};

use crate::stage::{BOTH, HOST, Side, Stage, Who, all_to_it, overflow, policy};

/// How long the upstream takes: far longer than all callers need to get in line.
const ANSWER: Duration = Duration::from_millis(1500);

/// What becomes of callers that come one by one while nobody is answered yet.
#[derive(Debug, Clone, Copy)]
struct Line {
    /// The first are served at once.
    served: usize,
    /// The next wait for a connection.
    waiting: usize,
    /// All others are refused.
    refused: usize,
}

/// What is seen of it.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// Status, `x-envoy-overloaded` and, where the proxy speaks for itself, the text; of each caller.
    replies: Vec<(u16, Option<String>, String)>,
    /// The proxy's own count of what it refused.
    overflow: u64,
    /// Most connections that the upstream had at once.
    open_max: usize,
}

async fn line_up(stage: &Stage, side: &Side, upstream: &Upstream, line: Line) -> Outcome {
    upstream.ledger().clear();
    let callers = line.served + line.waiting + line.refused;
    let mut clients = Vec::new();
    for number in 1..=callers {
        let mut client = Client::connect(stage.address()).await;
        client
            .send(request("GET", "shop.test", "/", &[]))
            .await
            .expect("the gateway takes a request");
        clients.push(client);
        let served = number.min(line.served);
        let waiting = (number - served).min(line.waiting);
        let wanted = (served, waiting as u64, (number - served - waiting) as u64);
        eventually(
            &format!("{wanted:?} are served, wait, are refused by {side}"),
            async || {
                let waiting = side.figure("upstream_rq_pending_active").await;
                let refused = overflow(side).await;
                let found = (upstream.ledger().counts().active, waiting, refused);
                (found == wanted).then_some(())
            },
        )
        .await;
    }
    let mut replies = Vec::new();
    for mut client in clients {
        let reply = client.reply(false).await.expect("a reply");
        let overloaded = reply.field("x-envoy-overloaded").map(str::to_owned);
        replies.push((reply.status, overloaded, reply.text()));
    }
    Outcome {
        replies,
        overflow: overflow(side).await,
        open_max: upstream.ledger().counts().open_max,
    }
}

/// What the rules say about a line.
fn expected(line: Line, open_max: usize) -> Outcome {
    let served = (200, None, "fine".to_owned());
    let text = "upstream connect error or disconnect/reset before headers. reset reason: overflow";
    let refused = (503, Some("true".to_owned()), text.to_owned());
    let mut replies = vec![served; line.served + line.waiting];
    replies.resize(replies.len() + line.refused, refused);
    Outcome {
        replies,
        overflow: line.refused as u64,
        open_max,
    }
}

fn slow(ports: usize) -> Upstream {
    Upstream::group(ports, |_| Behaviour::ok("fine").after(ANSWER))
}

fn stage(upstream: &Upstream, traffic: &str) -> Stage {
    let pods: Vec<_> = upstream.addresses().iter().map(|address| ("v1", *address)).collect();
    Stage::new(
        "HTTP",
        &[service(HOST, &pods), all_to_it("{attempts: 0}"), policy(traffic)],
    )
}

/// One endpoint: the connections that are open are the callers that are served.
async fn both_alike(traffic: &str, line: Line) {
    let upstream = slow(1);
    let stage = stage(&upstream, traffic);
    for who in BOTH {
        let side = stage.enter(who).await;
        let outcome = line_up(&stage, &side, &upstream, line).await;
        assert_eq!(outcome, expected(line, line.served), "{who:?}: {traffic}");
    }
}

#[tokio::test]
async fn a_breaker_of_one_everything_refuses_the_third_caller_of_both() {
    let traffic = "{connectionPool: {tcp: {maxConnections: 1},
      http: {http1MaxPendingRequests: 1, maxRequestsPerConnection: 1}},
      outlierDetection: {consecutiveErrors: 1, interval: 1s, baseEjectionTime: 3m, maxEjectionPercent: 100}}";
    let line = Line {
        served: 1,
        waiting: 1,
        refused: 2,
    };
    both_alike(traffic, line).await;
}

#[tokio::test]
async fn connections_and_those_who_wait_for_them_are_limited_alike() {
    let traffic = "{connectionPool: {tcp: {maxConnections: 3}, http: {http1MaxPendingRequests: 2}}}";
    let line = Line {
        served: 3,
        waiting: 2,
        refused: 3,
    };
    both_alike(traffic, line).await;
}

/// The known difference: Envoy opens a connection for a caller before it finds that it is one too many; we find it first.
#[tokio::test]
async fn requests_in_flight_are_limited_alike() {
    let upstream = slow(1);
    let stage = stage(&upstream, "{connectionPool: {http: {http2MaxRequests: 2}}}");
    let line = Line {
        served: 2,
        waiting: 0,
        refused: 2,
    };
    for who in BOTH {
        let side = stage.enter(who).await;
        let open_max = match who {
            Who::Envoy => line.served + 1,
            Who::Weft => line.served,
        };
        let outcome = line_up(&stage, &side, &upstream, line).await;
        assert_eq!(outcome, expected(line, open_max), "{who:?}");
    }
}

#[tokio::test]
async fn who_waits_is_not_yet_in_flight_with_either() {
    let traffic =
        "{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 2, http2MaxRequests: 1}}}";
    let line = Line {
        served: 1,
        waiting: 2,
        refused: 1,
    };
    both_alike(traffic, line).await;
}

/// The known difference: where the endpoint that was picked has no connection, Envoy opens one beyond the limit; we never
/// do. The caller that Envoy serves there waits with us, and the one that waits there is refused.
#[tokio::test]
async fn known_difference_envoy_opens_one_connection_for_each_endpoint_beyond_the_limit() {
    let upstream = slow(2);
    let traffic = "{loadBalancer: {simple: ROUND_ROBIN},
      connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}}";
    let stage = stage(&upstream, traffic);
    for who in BOTH {
        let side = stage.enter(who).await;
        let served = match who {
            Who::Envoy => 2,
            Who::Weft => 1,
        };
        let line = Line {
            served,
            waiting: 1,
            refused: 3 - served,
        };
        let outcome = line_up(&stage, &side, &upstream, line).await;
        assert_eq!(outcome, expected(line, served), "{who:?}");
    }
}

#[tokio::test]
async fn an_opaque_connection_beyond_the_limit_is_closed_and_counted_by_both() {
    let upstream = TcpUpstream::start(Script::Echo).await;
    let rules = format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {HOST}, namespace: {NAMESPACE}}}
spec:
  hosts: [\"*\"]
  gateways: [edge]
  tcp: [{{route: [{{destination: {{host: {HOST}}}}}]}}]
"
    );
    let limit = policy("{connectionPool: {tcp: {maxConnections: 2}}}");
    let stage = Stage::new("TCP", &[service(HOST, &[("v1", upstream.address())]), rules, limit]);
    for who in BOTH {
        let side = stage.enter(who).await;
        eventually("the connection that looked whether it listens is gone", async || {
            let active = side.figure("upstream_cx_active").await;
            (active == 0).then_some(())
        })
        .await;
        let mut open = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(stage.address()).await.expect("it listens");
            stream.write_all(b"here").await.expect("an open connection");
            let mut echo = [0; 4];
            in_time("the echo", stream.read_exact(&mut echo))
                .await
                .expect("an open connection");
            assert_eq!(&echo, b"here", "{who:?}");
            open.push(stream);
        }
        for _ in 0..3 {
            let mut stream = TcpStream::connect(stage.address()).await.expect("it listens");
            let end = in_time("the end", stream.read(&mut [0; 1])).await;
            assert!(matches!(end, Ok(0) | Err(_)), "{who:?}: {end:?}");
        }
        assert_eq!(side.figure("upstream_cx_overflow").await, 3, "{who:?}");
    }
}
