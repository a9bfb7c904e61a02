//! Opaque connections through a gateway: where they go, that every byte arrives, how they end, what is counted.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weft_testkit::{
    Mesh, TcpUpstream,
    eventually::{eventually, in_time},
    mesh::{RULES, free_address},
    objects::{NAMESPACE, file, policy, service, subsets},
    tcp::{End, Script, reset},
};

/// Connections that a window of the split is judged by.
const WINDOW: usize = 100;

/// A write that has not gone on for so long meets full buffers.
const FULL_AFTER: Duration = Duration::from_millis(300);

/// A mesh with one more server on the gateway, for opaque connections.
struct Opaque {
    mesh: Mesh,
    address: SocketAddr,
}

/// A VirtualService whose list of rules for opaque connections is `tcp`.
fn opaque_rules(tcp: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: db, namespace: {NAMESPACE}}}
spec:
  hosts: [\"*\"]
  gateways: [raw]
  tcp: {tcp}
"
    )
}

fn limits(settings: &str) -> String {
    policy("db", &format!("{{connectionPool: {{tcp: {settings}}}}}"))
}

const TO_DB: &str = "[{route: [{destination: {host: db}}]}]";

impl Opaque {
    async fn start(pods: &[(&str, SocketAddr)], rules: &str, workers: usize) -> Self {
        let address = free_address();
        let gateway = format!(
            "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: raw, namespace: {NAMESPACE}}}
spec:
  selector: {{role: edge}}
  servers: [{{port: {{number: {}, name: tcp, protocol: TCP}}, hosts: [\"*\"]}}]
",
            address.port()
        );
        let mesh = Mesh::start(&[service("db", pods), gateway], rules, workers).await;
        eventually("the TCP server listens", async || {
            TcpStream::connect(address).await.ok()
        })
        .await;
        Self { mesh, address }
    }

    async fn connect(&self) -> TcpStream {
        let stream = in_time("connect", TcpStream::connect(self.address))
            .await
            .expect("it listens");
        stream.set_nodelay(true).expect("an open socket");
        stream
    }

    /// Sum of a family's series that have this label, and how many they are.
    async fn metric(&self, family: &str, label: &str) -> (f64, usize) {
        let text = self.mesh.admin("/stats/prometheus").await.text();
        let values: Vec<f64> = text
            .lines()
            .filter(|line| line.starts_with(&format!("{family}{{")) && line.contains(label))
            .map(|line| {
                line.rsplit(' ')
                    .next()
                    .and_then(|value| value.parse().ok())
                    .expect("a number")
            })
            .collect();
        (values.iter().sum(), values.len())
    }
}

/// All that comes until the end of the connection; the error is a reset.
async fn rest(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    in_time("the end of the connection", stream.read_to_end(&mut bytes)).await?;
    Ok(bytes)
}

/// Bytes that differ by place, so that none can be lost or doubled unseen.
fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test]
async fn any_hundred_connections_are_within_one_of_their_shares() {
    let (one, two) = (
        TcpUpstream::start(Script::Greet(b"v1".to_vec())).await,
        TcpUpstream::start(Script::Greet(b"v2".to_vec())).await,
    );
    let rules = opaque_rules(
        "[{route: [{destination: {host: db, subset: v1}, weight: 70}, {destination: {host: db, subset: v2}, weight: 30}]}]",
    );
    let pods = [("v1", one.address()), ("v2", two.address())];
    let opaque = Opaque::start(&pods, &file(&[rules, subsets("db", &["v1", "v2"])]), 3).await;
    let mut order = Vec::new();
    for _ in 0..3 * WINDOW {
        let mut stream = opaque.connect().await;
        order.push(rest(&mut stream).await.expect("a greeting"));
    }
    for (start, window) in order.windows(WINDOW).enumerate() {
        let first = window.iter().filter(|name| **name == b"v1").count();
        assert!(
            (69..=71).contains(&first),
            "{first} of 70 in connections {start}..{}",
            start + WINDOW
        );
        assert!(window.iter().all(|name| *name == b"v1" || *name == b"v2"));
    }
}

#[tokio::test]
async fn every_byte_comes_back_and_each_direction_ends_by_itself() {
    let upstream = TcpUpstream::start(Script::Echo).await;
    let opaque = Opaque::start(&[("v1", upstream.address())], &opaque_rules(TO_DB), 1).await;
    let sent = pattern(5_000_000);
    let (mut read, mut write) = opaque.connect().await.into_split();
    let bytes = sent.clone();
    let writer = tokio::spawn(async move {
        write.write_all(&bytes).await.expect("the gateway takes it");
        write.shutdown().await.expect("the gateway takes the end");
        write
    });
    let mut received = Vec::new();
    in_time("the echo", read.read_to_end(&mut received))
        .await
        .expect("no reset");
    assert!(
        received == sent,
        "{} of {} bytes, or others",
        received.len(),
        sent.len()
    );
    drop(writer.await.expect("the writer ends"));
    let conversation = eventually("the upstream has seen the end", async || {
        upstream
            .conversations()
            .into_iter()
            .rfind(|one| !one.received.is_empty() && one.end.is_some())
    })
    .await;
    assert_eq!(conversation.end, Some(End::Closed));
    assert!(conversation.received == sent);
}

#[tokio::test]
async fn a_client_that_has_ended_its_direction_still_gets_the_answer() {
    let upstream = TcpUpstream::start(Script::ReplyAtEnd(b"that was all".to_vec())).await;
    let opaque = Opaque::start(&[("v1", upstream.address())], &opaque_rules(TO_DB), 1).await;
    let mut stream = opaque.connect().await;
    stream.write_all(b"question").await.expect("it takes bytes");
    stream.shutdown().await.expect("it takes the end");
    assert_eq!(rest(&mut stream).await.expect("no reset"), b"that was all");
    let heard = upstream
        .conversations()
        .into_iter()
        .rfind(|one| !one.received.is_empty());
    assert_eq!(heard.expect("it was heard").received, b"question");
}

#[tokio::test]
async fn an_upstream_that_has_ended_its_direction_still_gets_what_is_sent() {
    let upstream = TcpUpstream::start(Script::Greet(b"go on".to_vec())).await;
    let opaque = Opaque::start(&[("v1", upstream.address())], &opaque_rules(TO_DB), 1).await;
    let mut stream = opaque.connect().await;
    assert_eq!(rest(&mut stream).await.expect("no reset"), b"go on");
    stream
        .write_all(b"late, but complete")
        .await
        .expect("the other direction is open");
    stream.shutdown().await.expect("it takes the end");
    let heard = eventually("the upstream has heard it", async || {
        upstream
            .conversations()
            .into_iter()
            .find(|one| one.received == b"late, but complete" && one.end.is_some())
    })
    .await;
    assert_eq!(heard.end, Some(End::Closed));
}

#[tokio::test]
async fn a_reset_of_either_side_reaches_the_other_as_a_reset() {
    let upstream = TcpUpstream::start(Script::ResetAfter(4, Vec::new())).await;
    let opaque = Opaque::start(&[("v1", upstream.address())], &opaque_rules(TO_DB), 1).await;
    let mut stream = opaque.connect().await;
    stream.write_all(b"ping").await.expect("it takes bytes");
    let error = rest(&mut stream).await.expect_err("not taken for an end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

    let upstream = TcpUpstream::start(Script::Silence).await;
    let opaque = Opaque::start(&[("v1", upstream.address())], &opaque_rules(TO_DB), 1).await;
    let mut stream = opaque.connect().await;
    stream.write_all(b"half of it").await.expect("it takes bytes");
    eventually("the upstream has heard it", async || {
        upstream
            .conversations()
            .into_iter()
            .find(|one| one.received == b"half of it")
    })
    .await;
    reset(stream);
    let heard = eventually("the upstream sees the end", async || {
        upstream
            .conversations()
            .into_iter()
            .find(|one| one.received == b"half of it" && one.end.is_some())
    })
    .await;
    assert_eq!(heard.end, Some(End::Reset));
}

#[tokio::test]
async fn a_reset_is_seen_while_the_upstream_takes_nothing() {
    // It accepts nobody: what is sent to it fills buffers.
    let upstream = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = upstream.local_addr().expect("an address");
    let opaque = Opaque::start(&[("v1", address)], &opaque_rules(TO_DB), 1).await;
    let mut stream = opaque.connect().await;
    let piece = vec![0; 1 << 20];
    while tokio::time::timeout(FULL_AFTER, stream.write_all(&piece)).await.is_ok() {}
    reset(stream);
    let db = "destination_service=\"db.shop.svc.cluster.local\"";
    eventually("the connection has ended", async || {
        (opaque.metric("istio_tcp_connections_closed_total", db).await.0 == 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_thousand_connections_are_open_at_once_and_none_is_mixed_up() {
    const MANY: usize = 1000;
    let upstream = TcpUpstream::start(Script::Echo).await;
    let opaque = Opaque::start(&[("v1", upstream.address())], &opaque_rules(TO_DB), 2).await;
    let mut streams = Vec::new();
    for _ in 0..MANY {
        streams.push(opaque.connect().await);
    }
    for (index, stream) in streams.iter_mut().enumerate() {
        stream
            .write_all(format!("{index:08}").as_bytes())
            .await
            .expect("it takes bytes");
    }
    for (index, stream) in streams.iter_mut().enumerate() {
        let mut echo = [0; 8];
        in_time("an echo", stream.read_exact(&mut echo))
            .await
            .expect("its bytes come back");
        assert_eq!(echo, *format!("{index:08}").as_bytes());
    }
    assert!(upstream.counts().2 >= MANY);
    drop(streams);
    eventually("all are closed", async || (upstream.counts().1 == 0).then_some(())).await;
    eventually("all are counted", async || {
        let (received, series) = opaque
            .metric("istio_tcp_received_bytes_total", "response_flags=\"-\"")
            .await;
        (received == (8 * MANY) as f64 && series == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_connection_over_the_limit_is_closed_at_once_and_counted() {
    let upstream = TcpUpstream::start(Script::Echo).await;
    let rules = file(&[opaque_rules(TO_DB), limits("{maxConnections: 2}")]);
    let opaque = Opaque::start(&[("v1", upstream.address())], &rules, 2).await;
    eventually("the probe of the start has gone", async || {
        (upstream.counts().1 == 0).then_some(())
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..2 {
        // What was closed at the upstream may have to be noticed at the gateway first.
        held.push(
            eventually("a connection below the limit", async || {
                let mut stream = opaque.connect().await;
                stream.write_all(b"x").await.ok()?;
                (stream.read(&mut [0]).await.ok()? == 1).then_some(stream)
            })
            .await,
        );
    }
    let refused_before = opaque
        .metric("istio_tcp_connections_closed_total", "response_flags=\"UO\"")
        .await
        .0;
    for _ in 0..5 {
        let mut stream = opaque.connect().await;
        assert!(rest(&mut stream).await.unwrap_or_default().is_empty());
    }
    let (refused, _) = opaque
        .metric("istio_tcp_connections_closed_total", "response_flags=\"UO\"")
        .await;
    assert_eq!(refused - refused_before, 5.0);
    assert!(upstream.counts().2 <= 2, "the upstream never saw more than the limit");
    drop(held.pop());
    eventually("a place is free again", async || {
        let mut stream = opaque.connect().await;
        stream.write_all(b"y").await.ok()?;
        (stream.read(&mut [0]).await.ok()? == 1).then_some(())
    })
    .await;
    assert!(upstream.counts().2 <= 2);
}

#[tokio::test]
async fn silence_and_age_end_a_connection_as_the_rule_of_the_destination_says() {
    let upstream = TcpUpstream::start(Script::Echo).await;
    let rules = |settings: &str| file(&[opaque_rules(TO_DB), limits(settings)]);
    let opaque = Opaque::start(&[("v1", upstream.address())], &rules("{idleTimeout: 1s}"), 1).await;
    let mut silent = opaque.connect().await;
    assert_eq!(rest(&mut silent).await.expect("an end, no reset"), b"");

    opaque
        .mesh
        .control
        .replace(RULES, &rules("{maxConnectionDuration: 1s}"));
    // Connections of before live on for the time of the drain, which is no matter of age.
    eventually("age ends a connection that is never silent", async || {
        let mut busy = opaque.connect().await;
        let end = tokio::time::Instant::now() + Duration::from_secs(3);
        while busy.write_all(b"z").await.is_ok() && matches!(busy.read(&mut [0]).await, Ok(1)) {
            if tokio::time::Instant::now() > end {
                return None;
            }
        }
        let (closed, _) = opaque
            .metric("istio_tcp_connections_closed_total", "response_flags=\"DT\"")
            .await;
        (closed >= 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn metrics_tell_both_directions_while_a_connection_lives_and_failures_by_flag() {
    let upstream = TcpUpstream::start(Script::Greet(b"12345".to_vec())).await;
    let opaque = Opaque::start(&[("v1", upstream.address())], &opaque_rules(TO_DB), 1).await;
    let mut stream = opaque.connect().await;
    assert_eq!(rest(&mut stream).await.expect("no reset"), b"12345");
    stream.write_all(b"123").await.expect("the other direction is open");
    let db = "destination_service=\"db.shop.svc.cluster.local\"";
    eventually("bytes are counted before the end", async || {
        (opaque.metric("istio_tcp_received_bytes_total", db).await.0 == 3.0).then_some(())
    })
    .await;
    let opened = opaque.metric("istio_tcp_connections_opened_total", db).await.0;
    let closed = opaque.metric("istio_tcp_connections_closed_total", db).await.0;
    assert_eq!(opened - closed, 1.0);
    let address = upstream.address();
    drop((stream, upstream));
    eventually("nobody listens", async || TcpStream::connect(address).await.err()).await;
    let mut refused = opaque.connect().await;
    assert!(rest(&mut refused).await.unwrap_or_default().is_empty());
    let (failed, series) = opaque
        .metric("istio_tcp_connections_closed_total", "response_flags=\"UF\"")
        .await;
    assert_eq!((failed, series), (1.0, 1));
    assert_eq!(
        opaque.metric("weft_request_failures_total", "upstream.connect").await.0,
        1.0
    );
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_connected_to_is_ejected() {
    const CONNECTIONS: usize = 20;
    let upstream = TcpUpstream::start(Script::Greet(b"here".to_vec())).await;
    let rule = policy(
        "db",
        "{loadBalancer: {simple: ROUND_ROBIN},
    outlierDetection: {consecutive5xxErrors: 2, interval: 60s, baseEjectionTime: 60s, maxEjectionPercent: 100}}",
    );
    let pods = [("v1", upstream.address()), ("v2", free_address())];
    let opaque = Opaque::start(&pods, &file(&[opaque_rules(TO_DB), rule]), 1).await;
    let mut lost = 0;
    for _ in 0..CONNECTIONS {
        let mut stream = opaque.connect().await;
        lost += usize::from(rest(&mut stream).await.unwrap_or_default() != b"here");
    }
    // The probe of the start may have been the first of the two.
    assert!((1..=2).contains(&lost), "{lost} of {CONNECTIONS}");
}

#[tokio::test]
async fn a_server_without_a_rule_closes() {
    let upstream = TcpUpstream::start(Script::Echo).await;
    let rules = opaque_rules("[{match: [{port: 1}], route: [{destination: {host: db}}]}]");
    let opaque = Opaque::start(&[("v1", upstream.address())], &rules, 1).await;
    let mut stream = opaque.connect().await;
    assert!(rest(&mut stream).await.unwrap_or_default().is_empty());
    assert_eq!(upstream.counts().0, 0);
}
