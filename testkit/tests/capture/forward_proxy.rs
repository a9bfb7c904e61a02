//! A forward proxy: requests in absolute form, and tunnels by CONNECT.

use http::{Method, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weft_testkit::{
    Client, Http2Client, TcpUpstream, Upstream,
    eventually::{eventually, in_time},
    tcp::Script,
};
use weft_xds::pb::cluster::Cluster;

use crate::stage::{Stage, always, capture, cluster, http, limited, unbound};

const PROXY: [u8; 4] = [127, 0, 0, 5];
const CONNECT: &str = "CONNECT tunnel.test:7 HTTP/1.1\r\nhost: tunnel.test:7\r\n\r\n";

async fn stage(cluster: Cluster) -> Stage {
    Stage::start(&[cluster], |port| {
        vec![
            unbound(PROXY, port, vec![http("far", always())]),
            capture(port, Vec::new()),
        ]
    })
    .await
}

#[tokio::test]
async fn the_authority_of_an_absolute_target_wins_and_the_upstream_sees_a_path() {
    let far = Upstream::named("far");
    let stage = stage(cluster("far", &[far.address()])).await;
    let mut client = Client::connect(stage.at(PROXY)).await;
    for (target, path) in [("http://a.test:8080/x/y?z=1", "/x/y?z=1"), ("http://a.test:8080", "/")] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: other.test\r\nproxy-connection: keep-alive\r\n\r\n");
        assert_eq!(client.ask(request).await.expect("a reply").status, 200);
        let seen = far.ledger().seen().last().expect("a request").clone();
        assert_eq!(seen.head.word(1), path);
        assert_eq!(seen.head.field("host"), Some("a.test:8080"));
        assert_eq!(seen.head.field("proxy-connection"), None);
    }
}

#[tokio::test]
async fn connect_opens_a_tunnel_whose_directions_end_by_themselves() {
    let far = TcpUpstream::start(Script::ReplyAtEnd(b"answer".to_vec())).await;
    let stage = stage(cluster("far", &[far.address()])).await;
    let mut stream = stage.connect(PROXY).await;
    // What is sent before the answer belongs to the tunnel.
    stream
        .write_all(&[CONNECT.as_bytes(), b"\x00early\n"].concat())
        .await
        .expect("the proxy reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(in_time("a byte of the head", stream.read_u8()).await.expect("a reply"));
    }
    let head = String::from_utf8(head).expect("a head is text");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(!head.to_ascii_lowercase().contains("content-length"), "{head}");
    stream.write_all(b"late").await.expect("the tunnel is open");
    stream.shutdown().await.expect("the tunnel is open");
    let mut answer = Vec::new();
    in_time("the answer", stream.read_to_end(&mut answer))
        .await
        .expect("an orderly end");
    assert_eq!(answer, b"answer");
    assert_eq!(far.conversations()[0].received, b"\x00early\nlate");
    eventually("the tunnel is counted as one request", async || {
        let count = stage
            .metric(
                "istio_requests_total",
                &["response_code=\"200\"", "response_flags=\"-\""],
            )
            .await;
        (count == Some(1.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn connect_opens_a_tunnel_in_a_stream_of_http_2() {
    let far = TcpUpstream::start(Script::ReplyAtEnd(b"answer".to_vec())).await;
    let stage = stage(cluster("far", &[far.address()])).await;
    let (client, _connection) = Http2Client::connect(stage.at(PROXY)).await.expect("a connection");
    let request = Request::builder().method(Method::CONNECT).uri("tunnel.test:7");
    let reply = client.send(request.body(()).expect("a legal target"), b"question", None);
    let reply = in_time("the answer", reply).await.expect("a reply");
    assert_eq!((reply.status.as_u16(), reply.body.as_slice()), (200, &b"answer"[..]));
    assert_eq!(far.conversations()[0].received, b"question");
}

#[tokio::test]
async fn a_tunnel_keeps_to_the_limit_of_its_cluster_and_reaches_only_what_a_route_names() {
    let far = TcpUpstream::start(Script::Echo).await;
    let stage = stage(limited(1, cluster("far", &[far.address()]))).await;
    let mut open = Client::connect(stage.at(PROXY)).await;
    open.send(CONNECT).await.expect("the proxy reads");
    eventually("the tunnel is open", async || (far.counts().1 == 1).then_some(())).await;
    let status = async |request: &str| {
        let mut client = Client::connect(stage.at(PROXY)).await;
        client.ask(request).await.expect("a reply").status
    };
    assert_eq!(status(CONNECT).await, 503, "over the limit");
    for (request, expected) in [
        (
            "CONNECT elsewhere.test:7 HTTP/1.1\r\nhost: elsewhere.test:7\r\n\r\n",
            404,
        ),
        ("CONNECT tunnel.test HTTP/1.1\r\nhost: tunnel.test\r\n\r\n", 400),
        (
            "CONNECT tunnel.test:7 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
            400,
        ),
        ("GET / HTTP/1.1\r\nhost: tunnel.test:7\r\n\r\n", 404),
    ] {
        assert_eq!(status(request).await, expected, "{request}");
    }
    drop(open);
    eventually("the permit is free again", async || (far.counts().1 == 0).then_some(())).await;
    assert_eq!(far.counts().2, 1, "never two at a time");
}
