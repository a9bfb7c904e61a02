//! HTTP/2 with prior knowledge on either side of the gateway.

use std::time::Duration;

use h2::Reason;
use http::{HeaderMap, HeaderValue, Request};
use weft_testkit::{
    Behaviour, Client, Http2Behaviour, Http2Client, Http2Reply, Http2Upstream, Mesh, Upstream, eventually,
    objects::{NAMESPACE, file, rules, service},
};

/// A gateway in front of one service `web`, whose port is declared as `protocol`, and what a DestinationRule says of it.
async fn mesh(address: std::net::SocketAddr, protocol: &str, policy: &str, workers: usize) -> Mesh {
    let web = service("web", &[("v1", address)]).replace("{name: http,", &format!("{{name: {protocol},"));
    let mut objects = vec![rules("web", "    - route: [{destination: {host: web}}]\n")];
    if !policy.is_empty() {
        objects.push(format!(
            "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: web, namespace: {NAMESPACE}}}
spec:
  host: web
  trafficPolicy: {policy}
"
        ));
    }
    let mesh = Mesh::start(&[web], &file(&objects), workers).await;
    eventually("the route is live", async || {
        (mesh.get("/ready", &[]).await.status != 404).then_some(())
    })
    .await;
    mesh
}

async fn client(mesh: &Mesh) -> Http2Client {
    Http2Client::connect(mesh.address())
        .await
        .expect("the gateway listens")
        .0
}

fn post(path: &str, fields: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::post(format!("http://shop.test{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a legal head")
}

async fn counted(mesh: &Mesh, wanted: &[&str]) {
    eventually(&format!("a series with {wanted:?}"), async || {
        let text = mesh.admin("/stats/prometheus").await.text();
        let mut lines = text.lines().filter(|line| line.starts_with("istio_requests_total"));
        lines
            .any(|line| wanted.iter().all(|label| line.contains(label)))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_with_prior_knowledge_reaches_an_upstream_that_speaks_http_1() {
    let upstream = Upstream::start(|_| Behaviour::Echo);
    let mesh = mesh(upstream.address(), "http", "", 2).await;
    let client = client(&mesh).await;
    let mut request = post(
        "/a?b=c",
        &[("cookie", "x=1"), ("te", "trailers"), ("content-length", "4")],
    );
    request.headers_mut().append("cookie", HeaderValue::from_static("y=2"));
    let reply = client.send(request, b"body", None).await.expect("a reply");
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &b"body"[..]));
    assert_eq!(Http2Reply::text_of(&reply.fields, "connection"), None);
    let seen = upstream.ledger().seen().pop().expect("a request");
    assert_eq!((seen.method(), seen.path()), ("POST", "/a?b=c"));
    for (name, value) in [
        ("host", Some("shop.test")),
        ("content-length", Some("4")),
        ("cookie", Some("x=1; y=2")),
        ("te", Some("trailers")),
        ("connection", None),
    ] {
        assert_eq!(seen.field(name), value, "{name}");
    }
}

#[tokio::test]
async fn a_client_that_speaks_http_1_reaches_an_upstream_that_speaks_http_2() {
    let upstream = Http2Upstream::start(None, |_| Http2Behaviour::ok("two"));
    let mesh = mesh(upstream.address(), "http2", "", 1).await;
    let reply = mesh
        .get(
            "/x?y",
            &[
                ("connection", "x-mine, keep-alive"),
                ("x-mine", "1"),
                ("keep-alive", "5"),
            ],
        )
        .await;
    assert_eq!((reply.status, reply.text()), (200, "two".to_owned()));
    let call = upstream.calls().pop().expect("a request");
    assert_eq!(call.authority.as_deref(), Some("shop.test"));
    assert_eq!(call.path, "/x");
    for name in ["host", "connection", "keep-alive", "x-mine", "transfer-encoding"] {
        assert!(!call.fields.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn a_port_of_no_declared_protocol_is_spoken_to_as_the_client_speaks() {
    let two = Http2Upstream::start(None, |_| Http2Behaviour::ok("two"));
    let mesh_of_two = mesh(two.address(), "auto", "", 1).await;
    let reply = client(&mesh_of_two).await.get("/").await.expect("a reply");
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &b"two"[..]));
    let one = Upstream::named("one");
    let mesh_of_one = mesh(one.address(), "auto", "", 1).await;
    let reply = mesh_of_one.get("/", &[]).await;
    assert_eq!((reply.status, reply.text()), (200, "one".to_owned()));
    // It does not speak HTTP/2, and says so in HTTP/1.
    let reply = client(&mesh_of_one).await.get("/").await.expect("a reply");
    assert_eq!(reply.status, 502);
}

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
async fn a_request_that_was_refused_unseen_is_sent_again_and_one_that_was_reset_is_not() {
    let upstream = Http2Upstream::start(None, |call| match call.path.as_str() {
        "/refused-once" if call.number % 2 == 1 => Http2Behaviour::Refuse,
        "/reset" => Http2Behaviour::Reset,
        _ => Http2Behaviour::ok("two"),
    });
    let mesh = mesh(upstream.address(), "http2", "", 1).await;
    if upstream.counts().requests.is_multiple_of(2) {
        mesh.get("/", &[]).await;
    }
    assert_eq!(mesh.get("/refused-once", &[]).await.status, 200);
    let before = upstream.counts().requests;
    assert_eq!(mesh.get("/reset", &[]).await.status, 503);
    assert_eq!(upstream.counts().requests, before + 1);
    counted(&mesh, &["response_code=\"503\"", "response_flags=\"UR\""]).await;
}

#[tokio::test]
async fn an_upstream_that_goes_away_costs_no_request() {
    let upstream = Http2Upstream::start(None, |call| match call.number % 5 {
        4 => Http2Behaviour::AnswerAndGo("bye"),
        _ => Http2Behaviour::ok("two"),
    });
    let mesh = mesh(upstream.address(), "http2", "", 1).await;
    let client = client(&mesh).await;
    for round in 0..20 {
        for reply in futures((0..10).map(|_| client.get("/"))).await {
            assert_eq!(reply.expect("a reply").status, 200, "round {round}");
        }
    }
    assert!(upstream.counts().accepts > 5, "{:?}", upstream.counts());
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
async fn trailers_pass_in_both_directions_and_count_as_the_grpc_status() {
    let upstream = Http2Upstream::start(None, |call| match call.path.as_str() {
        "/t.T/Echo" => Http2Behaviour::Answer {
            delay: Duration::ZERO,
            fields: vec![("content-type", "application/grpc")],
            body: None,
            trailers: Vec::new(),
        },
        _ => Http2Behaviour::grpc("5"),
    });
    let mesh = mesh(upstream.address(), "grpc", "", 1).await;
    let client = client(&mesh).await;
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    let reply = client
        .send(post("/t.T/Get", &fields), b"\0\0\0\0\0", None)
        .await
        .expect("a reply");
    let trailers = reply.trailers.expect("trailers");
    assert_eq!(Http2Reply::text_of(&trailers, "grpc-status"), Some("5"));
    counted(
        &mesh,
        &[
            "request_protocol=\"grpc\"",
            "response_code=\"200\"",
            "grpc_response_status=\"5\"",
        ],
    )
    .await;
    let sent = HeaderMap::from_iter([("x-sum".parse().expect("a name"), HeaderValue::from_static("1"))]);
    let reply = client
        .send(post("/t.T/Echo", &fields), b"ab", Some(sent.clone()))
        .await
        .expect("a reply");
    assert_eq!((&reply.body[..], reply.trailers), (&b"ab"[..], Some(sent)));
}

#[tokio::test]
async fn a_call_that_fails_here_gets_a_reply_that_grpc_can_read() {
    let nobody = weft_testkit::mesh::free_address();
    let mesh = mesh(nobody, "grpc", "", 1).await;
    let client = client(&mesh).await;
    let request = post("/t.T/Get", &[("content-type", "application/grpc"), ("te", "trailers")]);
    let reply = client.send(request, b"\0\0\0\0\0", None).await.expect("a reply");
    assert_eq!(reply.status, 200);
    assert_eq!(
        Http2Reply::text_of(&reply.fields, "content-type"),
        Some("application/grpc")
    );
    assert_eq!(Http2Reply::text_of(&reply.fields, "grpc-status"), Some("14"));
    assert!(Http2Reply::text_of(&reply.fields, "grpc-message").is_some_and(|text| text.contains("connection failure")));
    assert!(reply.body.is_empty());
    counted(&mesh, &["grpc_response_status=\"14\"", "response_flags=\"UF\""]).await;
}

#[tokio::test]
async fn the_answer_to_head_has_a_length_and_no_body() {
    let mesh = mesh(weft_testkit::mesh::free_address(), "http2", "", 1).await;
    let head = Request::head("http://shop.test/").body(()).expect("a legal head");
    // The client checks that nothing follows.
    let reply = client(&mesh).await.send(head, b"", None).await.expect("a reply");
    assert_eq!((reply.status.as_u16(), reply.body.len()), (503, 0));
    assert!(reply.fields.contains_key("content-length"));
}

#[tokio::test]
async fn a_calls_own_time_limit_ends_it() {
    let upstream = Http2Upstream::start(None, |_| Http2Behaviour::Answer {
        delay: Duration::from_secs(60),
        fields: Vec::new(),
        body: Some("late"),
        trailers: Vec::new(),
    });
    let web = service("web", &[("v1", upstream.address())]).replace("{name: http,", "{name: grpc,");
    let mesh = Mesh::start(
        &[web],
        &file(&[rules("web", "    - route: [{destination: {host: web}}]\n")]),
        1,
    )
    .await;
    let client = client(&mesh).await;
    let fields = [("content-type", "application/grpc"), ("grpc-timeout", "50m")];
    let status = eventually("the route is live", async || {
        let reply = client
            .send(post("/t.T/Get", &fields), b"x", None)
            .await
            .expect("a reply");
        let status = Http2Reply::text_of(&reply.fields, "grpc-status")?.to_owned();
        (status != "12").then_some(status)
    })
    .await;
    assert_eq!(status, "4");
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
async fn a_gateway_that_ends_lets_streams_finish() {
    let upstream = Http2Upstream::start(None, |_| Http2Behaviour::Answer {
        delay: Duration::from_millis(300),
        fields: Vec::new(),
        body: Some("done"),
        trailers: Vec::new(),
    });
    let mesh = mesh(upstream.address(), "http2", "", 1).await;
    let (client, connection) = Http2Client::connect(mesh.address()).await.expect("the gateway listens");
    let before = upstream.counts().requests;
    let reply = tokio::spawn(async move { client.get("/").await });
    eventually("the request is under way", async || {
        (upstream.counts().requests > before).then_some(())
    })
    .await;
    tokio::task::spawn_blocking(move || drop(mesh)).await.expect("it ends");
    let reply = reply.await.expect("no panic").expect("a reply");
    assert_eq!(reply.body, b"done");
    let ended = connection.await.expect("its task does not panic");
    assert!(ended.is_ok(), "{ended:?}");
}

#[tokio::test]
async fn http_1_clients_see_trailers_of_a_call_only_if_they_ask() {
    let upstream = Http2Upstream::start(None, |_| Http2Behaviour::grpc("0"));
    let mesh = mesh(upstream.address(), "grpc", "", 1).await;
    for (te, expected) in [(Some("trailers"), true), (None, false)] {
        let mut client = Client::connect(mesh.address()).await;
        let te = te
            .map(|te| format!("te: {te}\r\nconnection: te\r\n"))
            .unwrap_or_default();
        let request = format!(
            "POST /t.T/Get HTTP/1.1\r\nhost: shop.test\r\ncontent-type: application/grpc\r\n{te}content-length: 5\r\n\r\n\0\0\0\0\0"
        );
        let reply = client.ask(request).await.expect("a reply");
        assert_eq!(reply.status, 200);
        let mut trailers = reply.body.trailers.iter();
        assert_eq!(
            trailers.any(|(name, value)| name == "grpc-status" && value == "0"),
            expected
        );
    }
}

/// All of them, beside one another on this task.
async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in all.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(cx)
            {
                *done = Some(output);
            }
        }
        match done.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done.into_iter().flatten().collect()
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
