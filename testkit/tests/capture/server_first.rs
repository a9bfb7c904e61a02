//! Servers that speak first behind a listener that wants to know what the client speaks.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weft_testkit::{
    TcpUpstream, Upstream,
    eventually::{eventually, in_time},
    tcp::{Script, reset},
};
use weft_xds::pb::cluster::Cluster;

use crate::stage::{Stage, always, capture, cluster, detecting, http, if_http, limited, tcp, unbound};

const HERE: [u8; 4] = [127, 0, 0, 5];
/// The beginning of what a MariaDB server says, its length first.
const GREETING: &[u8] = b"\x4a\x00\x00\x00\x0a11.4.2-MariaDB\x00";

async fn stage(raw: Cluster, web: &Upstream) -> Stage {
    Stage::start(&[raw, cluster("web", &[web.address()])], |port| {
        let chains = vec![http("web", if_http())];
        vec![
            detecting(unbound(HERE, port, chains), tcp("raw", always())),
            capture(port, Vec::new()),
        ]
    })
    .await
}

async fn greeted(stream: &mut TcpStream) {
    let mut greeting = [0; GREETING.len()];
    in_time("the greeting", stream.read_exact(&mut greeting))
        .await
        .expect("the server's words");
    assert_eq!(greeting, GREETING);
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard_and_the_connection_is_copied() {
    let raw = TcpUpstream::start(Script::Greet(GREETING.to_vec())).await;
    let stage = stage(cluster("raw", &[raw.address()]), &Upstream::named("web")).await;
    let mut stream = stage.connect(HERE).await;
    greeted(&mut stream).await;
    // What looks like HTTP afterwards is none.
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("it is copied");
    stream.shutdown().await.expect("it is copied");
    let mut rest = Vec::new();
    in_time("the end", stream.read_to_end(&mut rest))
        .await
        .expect("an orderly end");
    assert_eq!(rest, b"");
    eventually("the server has all of it", async || {
        (raw.conversations()[0].received == b"GET / HTTP/1.1\r\n\r\n").then_some(())
    })
    .await;
    eventually("one connection is counted", async || {
        let closed = stage
            .metric("istio_tcp_connections_closed_total", &["response_flags=\"-\""])
            .await;
        (closed == Some(1.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_connection_opened_in_advance_speaks_http_when_it_likes_and_the_guess_leaves_no_trace() {
    let (raw, web) = (TcpUpstream::start(Script::Silence).await, Upstream::named("web"));
    let stage = stage(limited(1, cluster("raw", &[raw.address()])), &web).await;
    let mut stream = stage.connect(HERE).await;
    eventually("the opaque cluster is dialled", async || {
        (raw.counts().1 == 1).then_some(())
    })
    .await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .expect("the proxy reads");
    let mut reply = String::new();
    in_time("the reply", stream.read_to_string(&mut reply))
        .await
        .expect("a reply");
    assert!(reply.starts_with("HTTP/1.1 200") && reply.ends_with("web"), "{reply}");
    eventually("the guess is closed", async || (raw.counts().1 == 0).then_some(())).await;
    // The one permit is free again.
    let mut opaque = stage.connect(HERE).await;
    opaque.write_all(b"\x00opaque").await.expect("the proxy reads");
    eventually("an opaque connection gets the permit", async || {
        raw.conversations()
            .iter()
            .any(|one| one.received == b"\x00opaque")
            .then_some(())
    })
    .await;
    drop(opaque);
    eventually("one connection is counted", async || {
        let closed = stage.metric("istio_tcp_connections_closed_total", &[""]).await;
        (closed == Some(1.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_guess_never_goes_over_the_limit_and_is_made_again() {
    let (raw, web) = (
        TcpUpstream::start(Script::Greet(GREETING.to_vec())).await,
        Upstream::named("web"),
    );
    let stage = stage(limited(1, cluster("raw", &[raw.address()])), &web).await;
    let mut first = stage.connect(HERE).await;
    greeted(&mut first).await;
    let mut second = stage.connect(HERE).await;
    let mut third = stage.connect(HERE).await;
    third
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .expect("the proxy reads");
    let mut reply = String::new();
    in_time("the reply", third.read_to_string(&mut reply))
        .await
        .expect("a reply");
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    drop(first);
    greeted(&mut second).await;
    assert_eq!(raw.counts().2, 1, "never two at a time");
}

#[tokio::test]
async fn a_client_that_leaves_while_it_is_silent_or_dialled_for_holds_nothing() {
    let (raw, web) = (TcpUpstream::start(Script::Silence).await, Upstream::named("web"));
    let stage = stage(limited(1, cluster("raw", &[raw.address()])), &web).await;
    let stream = stage.connect(HERE).await;
    eventually("the opaque cluster is dialled", async || {
        (raw.counts().1 == 1).then_some(())
    })
    .await;
    drop(stream);
    eventually("the guess is closed", async || (raw.counts().1 == 0).then_some(())).await;
    let stream = stage.connect(HERE).await;
    eventually("it is dialled again", async || (raw.counts().1 == 1).then_some(())).await;
    reset(stream);
    eventually("the guess is closed", async || (raw.counts().1 == 0).then_some(())).await;
}
