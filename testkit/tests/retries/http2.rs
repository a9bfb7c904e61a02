//! Retries on HTTP/2: refused streams, gRPC statuses, endpoints that are down.

use std::{net::SocketAddr, time::Duration};

use weft_testkit::{
    Client, Http2Behaviour, Http2Upstream, Mesh,
    mesh::free_address,
    objects::{rules, service},
};

/// A gateway before a service that speaks HTTP/2, without a word about retries.
async fn mesh(endpoints: &[SocketAddr]) -> Mesh {
    let pods: Vec<_> = endpoints.iter().map(|address| ("v1", *address)).collect();
    let web = service("web", &pods).replace("{name: http,", "{name: http2,");
    Mesh::start(&[web], &rules("web", "    - route: [{destination: {host: web}}]\n"), 1).await
}

/// An upstream that does this with first tries, and returns the body of the others.
fn upstream(first: Http2Behaviour) -> Http2Upstream {
    Http2Upstream::start(None, move |call| match &call.fields["x-envoy-attempt-count"] {
        count if count == "1" => first.clone(),
        _ => Http2Behaviour::Answer {
            delay: Duration::ZERO,
            fields: Vec::new(),
            body: None,
            trailers: Vec::new(),
        },
    })
}

#[tokio::test]
async fn a_refused_stream_is_tried_again_with_its_body() {
    let upstreams = [(); 2].map(|()| upstream(Http2Behaviour::Refuse));
    let mesh = mesh(&upstreams.each_ref().map(Http2Upstream::address)).await;
    let body: Vec<u8> = (0..200_000).map(|at| (at % 251) as u8).collect();
    let mut request = format!(
        "POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend(&body);
    let reply = Client::connect(mesh.address())
        .await
        .ask(request)
        .await
        .expect("a reply");
    assert_eq!(reply.status, 200);
    assert!(reply.body.bytes == body);
    let calls: usize = upstreams.iter().map(|upstream| upstream.calls().len()).sum();
    assert_eq!(calls, 2);
}

#[tokio::test]
async fn a_call_that_is_unavailable_at_once_is_tried_again() {
    for (status, again) in [("14", true), ("1", true), ("13", false)] {
        let first = Http2Behaviour::Answer {
            delay: Duration::ZERO,
            fields: vec![("content-type", "application/grpc"), ("grpc-status", status)],
            body: Some(""),
            trailers: Vec::new(),
        };
        let upstream = upstream(first);
        let mesh = mesh(&[upstream.address()]).await;
        let reply = mesh.get("/a.B/C", &[("content-type", "application/grpc")]).await;
        assert_eq!(reply.field("grpc-status").is_none(), again, "{status}");
        assert_eq!(upstream.calls().len(), 1 + usize::from(again), "{status}");
    }
}

#[tokio::test]
async fn another_endpoint_answers_for_one_that_is_down() {
    let live = Http2Upstream::start(None, |_| Http2Behaviour::ok("fine"));
    let mesh = mesh(&[free_address(), live.address()]).await;
    for _ in 0..30 {
        assert_eq!(mesh.get("/", &[]).await.text(), "fine");
    }
}
