//! What a connection may carry, how many there are, and when one is given up.

use std::time::Duration;

use h2::Reason;
use http::Request;
use weft_testkit::{
    Behaviour, Http2Behaviour, Http2Client, Http2Upstream, Mesh, Upstream, eventually,
    eventually::in_time,
    mesh::RULES,
    objects::{file, rules, service},
};

use crate::{client, counted, futures, mesh, post, rule_file};

#[tokio::test]
async fn an_upstream_that_answers_no_ping_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    // Says hello, then nothing more; its sockets stay open.
    let silent = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (stream, _) = listener.accept().await.expect("a client");
            held.push(h2::server::handshake(stream).await);
        }
    });
    let policy = "{connectionPool: {http: {http2KeepAlive: {interval: 0.05s, timeout: 0.05s}}}}";
    let mesh = mesh(address, "http2", policy, 1).await;
    let reply = mesh.get("/", &[]).await;
    assert_eq!(reply.status, 503);
    counted(&mesh, &["response_code=\"503\"", "response_flags=\"UC\""]).await;
    silent.abort();
}

#[tokio::test]
async fn streams_share_one_connection_of_a_worker() {
    let upstream = Http2Upstream::start(None, |_| Http2Behaviour::ok("two"));
    let mesh = mesh(upstream.address(), "http2", "", 1).await;
    let client = client(&mesh).await;
    let replies = (0..50).map(|_| client.get("/"));
    for reply in futures(replies).await {
        assert_eq!(reply.expect("a reply").status, 200);
    }
    assert_eq!(upstream.counts().accepts, 1, "{:?}", upstream.counts());
}

#[tokio::test]
async fn a_peers_limit_on_streams_is_never_exceeded_and_more_connections_are_opened() {
    let upstream = Http2Upstream::start(Some(3), |_| Http2Behaviour::Answer {
        delay: Duration::from_millis(50),
        fields: Vec::new(),
        body: Some("slow"),
        trailers: Vec::new(),
    });
    let mesh = mesh(upstream.address(), "http2", "", 1).await;
    let client = client(&mesh).await;
    for reply in futures((0..12).map(|_| client.get("/"))).await {
        assert_eq!(reply.expect("a reply").status, 200);
    }
    let counts = upstream.counts();
    assert_eq!((counts.streams_max, counts.open_max), (3, 4), "{counts:?}");
}

#[tokio::test]
async fn a_connection_is_given_up_after_its_number_of_requests() {
    let upstream = Http2Upstream::start(None, |_| Http2Behaviour::ok("two"));
    let policy = "{connectionPool: {http: {maxRequestsPerConnection: 5}}}";
    let mesh = mesh(upstream.address(), "http2", policy, 1).await;
    let client = client(&mesh).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.expect("a reply").status, 200);
    }
    let calls = upstream.calls();
    for connection in 0..upstream.counts().accepts {
        let of_it = calls.iter().filter(|call| call.connection == connection).count();
        assert!(of_it <= 5, "connection {connection}: {of_it}");
    }
    assert!(upstream.counts().accepts >= 4);
}

#[tokio::test]
async fn what_a_stream_does_wrong_costs_that_stream_alone() {
    let upstream = Upstream::start(|_| Behaviour::ok("one"));
    let mesh = mesh(upstream.address(), "http", "", 1).await;
    let client = client(&mesh).await;
    let large = "x".repeat(61 * 1024);
    for (request, status) in [
        (post("/", &[("x-large", &large)]), 431),
        (Request::connect("shop.test:80").body(()).expect("a legal head"), 405),
        (post("/", &[("host", "a b")]), 200),
    ] {
        let reply = client.send(request, b"", None).await.expect("a reply");
        assert_eq!(reply.status, status);
    }
    counted(&mesh, &["response_code=\"431\"", "response_flags=\"DPE\""]).await;
    assert_eq!(client.get("/").await.expect("a reply").status, 200);
}

#[tokio::test]
async fn streams_that_are_opened_to_be_reset_end_their_connection() {
    let upstream = Upstream::start(|_| Behaviour::Silence);
    let mesh = mesh_of_silence(&upstream).await;
    let (client, connection) = Http2Client::connect(mesh.address()).await.expect("the gateway listens");
    for _ in 0..2000 {
        let mut attempts = Vec::new();
        for _ in 0..50 {
            // Dropped at once, which resets the stream.
            attempts.push(tokio::time::timeout(Duration::ZERO, client.get("/")).await);
        }
        if connection.is_finished() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let ended = weft_testkit::eventually::in_time("the connection ends", connection).await;
    let ended = ended.expect("its task does not panic");
    assert_eq!(ended.expect_err("an error").reason(), Some(Reason::ENHANCE_YOUR_CALM));
}

async fn mesh_of_silence(upstream: &Upstream) -> Mesh {
    let web = service("web", &[("v1", upstream.address())]);
    Mesh::start(
        &[web],
        &file(&[rules("web", "    - route: [{destination: {host: web}}]\n")]),
        1,
    )
    .await
}

#[tokio::test]
async fn a_limit_on_connections_holds_for_http_2_with_many_workers() {
    for (limit, workers) in [(1, 1), (1, 4), (3, 4)] {
        let upstream = Http2Upstream::start(Some(2), |_| Http2Behaviour::Answer {
            delay: Duration::from_millis(2),
            fields: Vec::new(),
            body: Some("two"),
            trailers: Vec::new(),
        });
        let policy = format!("{{connectionPool: {{tcp: {{maxConnections: {limit}}}}}}}");
        let mesh = mesh(upstream.address(), "http2", &policy, workers).await;
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(client(&mesh).await);
        }
        for round in 0..5 {
            let calls = clients.iter().flat_map(|client| (0..4).map(|_| client.get("/")));
            let replies = weft_testkit::eventually::in_time("all replies", futures(calls)).await;
            for reply in replies {
                assert_eq!(
                    reply.expect("a reply").status,
                    200,
                    "limit {limit}, {workers} workers, round {round}"
                );
            }
        }
        let counts = upstream.counts();
        assert!(counts.open_max <= limit, "limit {limit}, {workers} workers: {counts:?}");
        assert!(counts.streams_max <= 2, "{counts:?}");
    }
}

#[tokio::test]
async fn nobody_is_refused_while_a_stream_is_free_on_another_worker() {
    let upstream = Http2Upstream::start(None, |_| Http2Behaviour::ok("two"));
    let pool = "{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}}";
    let mesh = mesh(upstream.address(), "http2", pool, 4).await;
    let first = client(&mesh).await;
    assert_eq!(first.get("/").await.expect("a reply").status, 200);
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(client(&mesh).await);
    }
    for round in 0..100 {
        for reply in futures(clients.iter().map(|client| client.get("/"))).await {
            assert_eq!(reply.expect("a reply").status, 200, "round {round}");
        }
    }
    assert_eq!(upstream.counts().open_max, 1);
}

#[tokio::test]
async fn one_connection_carries_the_streams_of_four_workers() {
    let upstream = Http2Upstream::start(None, |_| Http2Behaviour::ok("two"));
    let mesh = mesh(
        upstream.address(),
        "http2",
        "{connectionPool: {tcp: {maxConnections: 1}}}",
        4,
    )
    .await;
    for number in 0..40 {
        let reply = client(&mesh).await.get("/").await.expect("a reply");
        assert_eq!(reply.status, 200, "client {number}");
    }
    let counts = upstream.counts();
    assert_eq!((counts.accepts, counts.open_max), (1, 1), "{counts:?}");
}

#[tokio::test]
async fn who_waits_for_a_stream_gets_it_in_the_order_of_arrival_whichever_worker_it_came_to() {
    let upstream = Http2Upstream::start(Some(1), |call| Http2Behaviour::Answer {
        delay: Duration::from_millis(if call.path == "/first" { 2000 } else { 0 }),
        fields: Vec::new(),
        body: Some("two"),
        trailers: Vec::new(),
    });
    let policy = "{connectionPool: {tcp: {maxConnections: 1}}}";
    let mesh = mesh(upstream.address(), "http2", policy, 4).await;
    let before = upstream.calls().len();
    let mut callers = tokio::task::JoinSet::new();
    let paths = ["/first", "/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8"];
    for (waiting, path) in paths.into_iter().enumerate() {
        let client = client(&mesh).await;
        callers.spawn(async move { client.get(path).await.expect("a reply").status.as_u16() });
        eventually("it waits, or is at the upstream", async || {
            let page = mesh.admin("/stats/prometheus").await.text();
            let mut lines = page
                .lines()
                .filter(|line| line.starts_with("envoy_cluster_upstream_rq_pending_active"));
            let waits = lines.any(|line| line.ends_with(&format!(" {waiting}")));
            (waits && upstream.calls().len() > before).then_some(())
        })
        .await;
    }
    let statuses = in_time("all replies", callers.join_all()).await;
    assert_eq!(statuses, [200; 9]);
    let calls: Vec<String> = upstream.calls()[before..]
        .iter()
        .map(|call| call.path.clone())
        .collect();
    assert_eq!(calls, paths);
}

#[tokio::test]
async fn a_raised_limit_lets_in_who_waits_beside_an_endless_stream() {
    let upstream = Http2Upstream::start(Some(1), |call| Http2Behaviour::Answer {
        delay: Duration::from_secs(if call.path == "/endless" { 3600 } else { 0 }),
        fields: Vec::new(),
        body: Some("two"),
        trailers: Vec::new(),
    });
    let policy = |limit: u32| format!("{{connectionPool: {{tcp: {{maxConnections: {limit}}}}}}}");
    let mesh = mesh(upstream.address(), "http2", &policy(1), 1).await;
    let (endless, waiting) = (client(&mesh).await, client(&mesh).await);
    let raise = async {
        eventually("one waits", async || {
            let page = mesh.admin("/stats/prometheus").await.text();
            let mut lines = page
                .lines()
                .filter(|line| line.starts_with("envoy_cluster_upstream_rq_pending_active"));
            lines.any(|line| line.ends_with(" 1")).then_some(())
        })
        .await;
        mesh.control.replace(RULES, &rule_file(&policy(2)));
    };
    let second = async {
        eventually("the stream is taken", async || {
            upstream
                .calls()
                .iter()
                .any(|call| call.path == "/endless")
                .then_some(())
        })
        .await;
        let (reply, ()) = tokio::join!(waiting.get("/"), raise);
        reply.expect("a reply").status
    };
    // The endless one is dropped with the test.
    let status = tokio::select! {
        _ = Box::pin(endless.get("/endless")) => panic!("an endless stream has ended"),
        status = in_time("the waiting request is answered", Box::pin(second)) => status,
    };
    assert_eq!(status, 200);
}

#[tokio::test]
async fn requests_over_the_limits_are_turned_away_and_counted() {
    let upstream = Http2Upstream::start(None, |_| Http2Behaviour::Answer {
        delay: Duration::from_millis(300),
        fields: Vec::new(),
        body: Some("two"),
        trailers: Vec::new(),
    });
    let policy = "{connectionPool: {http: {http2MaxRequests: 3}}}";
    let mesh = mesh(upstream.address(), "http2", policy, 2).await;
    let client = client(&mesh).await;
    let mut statuses: Vec<u16> = futures((0..10).map(|_| client.get("/")))
        .await
        .into_iter()
        .map(|reply| reply.expect("a reply").status.as_u16())
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 503, 503, 503, 503, 503, 503, 503]);
    counted(&mesh, &["response_code=\"503\"", "response_flags=\"UO\""]).await;
}
