//! Requests as streams, from and to either version.

use std::time::Duration;

use http::{HeaderValue, Request};
use weft_testkit::{Behaviour, Http2Behaviour, Http2Client, Http2Reply, Http2Upstream, Upstream, eventually};

use crate::{client, counted, futures, mesh, post};

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
async fn the_answer_to_head_has_a_length_and_no_body() {
    let mesh = mesh(weft_testkit::mesh::free_address(), "http2", "", 1).await;
    let head = Request::head("http://shop.test/").body(()).expect("a legal head");
    // The client checks that nothing follows.
    let reply = client(&mesh).await.send(head, b"", None).await.expect("a reply");
    assert_eq!((reply.status.as_u16(), reply.body.len()), (503, 0));
    assert!(reply.fields.contains_key("content-length"));
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
