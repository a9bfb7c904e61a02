//! gRPC calls.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use weft_testkit::{
    Client, Http2Behaviour, Http2Reply, Http2Upstream, Mesh, eventually,
    objects::{file, rules, service},
};

use crate::{client, counted, mesh, post};

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
    counted(&mesh, &["grpc_response_status=\"14\"", "response_flags=\"UF,URX\""]).await;
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
