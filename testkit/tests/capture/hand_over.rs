//! Who serves a captured connection.

use tokio::net::TcpStream;
use weft_testkit::{
    TcpUpstream,
    eventually::{eventually, in_time},
    tcp::Script,
};
use weft_xds::{
    TypeUrl,
    pb::{listener::FilterChainMatch, protobuf::UInt32Value},
};

use crate::stage::{Stage, always, ask, capture, cluster, tcp, unbound};

const HERE: [u8; 4] = [127, 0, 0, 5];
const ELSEWHERE: [u8; 4] = [127, 0, 0, 6];

async fn reply(words: &str) -> TcpUpstream {
    TcpUpstream::start(Script::ReplyAtEnd(words.into())).await
}

#[tokio::test]
async fn a_connection_goes_to_the_listener_of_the_address_that_was_dialled() {
    let (here, rest) = (reply("here").await, reply("rest").await);
    let clusters = [cluster("here", &[here.address()]), cluster("rest", &[rest.address()])];
    let own_port = |port: u16| FilterChainMatch {
        destination_port: Some(UInt32Value { value: port.into() }),
        ..always()
    };
    let stage = Stage::start(&clusters, |port| {
        vec![
            capture(port, vec![tcp("rest", own_port(port))]),
            unbound(HERE, port, vec![tcp("here", always())]),
        ]
    })
    .await;
    eventually("the listener of the address is there", async || {
        (ask(stage.connect(HERE).await, b"x").await == b"here").then_some(())
    })
    .await;
    assert_eq!(ask(stage.connect(ELSEWHERE).await, b"x").await, b"rest");
    let gone = format!("127.0.0.5_{}", stage.port);
    stage.stream.send(TypeUrl::Listener, "gone", &[], &[&gone]).await;
    eventually("nobody hands over to a listener that is gone", async || {
        (ask(stage.connect(HERE).await, b"x").await == b"rest").then_some(())
    })
    .await;
}

#[tokio::test]
async fn whoever_dials_the_capturing_listener_itself_is_dropped_and_reaches_nobody() {
    let rest = reply("rest").await;
    let stage = Stage::start(&[cluster("rest", &[rest.address()])], |port| {
        vec![capture(port, vec![tcp("rest", always())])]
    })
    .await;
    for _ in 0..3 {
        assert_eq!(ask(stage.connect(ELSEWHERE).await, b"x").await, b"");
    }
    assert_eq!(rest.counts().0, 0, "a loop would have come back to the listener");
}

#[tokio::test]
async fn connections_of_a_listener_without_a_socket_end_with_it() {
    let echo = TcpUpstream::start(Script::Echo).await;
    let stage = Stage::start(&[cluster("echo", &[echo.address()])], |port| {
        vec![
            capture(port, Vec::new()),
            unbound(HERE, port, vec![tcp("echo", always())]),
        ]
    })
    .await;
    eventually("the connection is served", async || {
        drop(stage.connect(HERE).await);
        (echo.counts().0 > 0).then_some(())
    })
    .await;
    let mut held = stage.connect(HERE).await;
    tokio::io::AsyncWriteExt::write_all(&mut held, b"e")
        .await
        .expect("it is served");
    in_time("an echo", tokio::io::AsyncReadExt::read_exact(&mut held, &mut [0]))
        .await
        .expect("it is served");
    let gone = format!("127.0.0.5_{}", stage.port);
    stage.stream.send(TypeUrl::Listener, "gone", &[], &[&gone]).await;
    let end = in_time(
        "the end of the drain",
        tokio::io::AsyncReadExt::read(&mut held, &mut [0]),
    )
    .await;
    assert!(matches!(end, Ok(0)), "{end:?}");
}

#[tokio::test]
async fn ten_thousand_listeners_without_sockets_cost_none() {
    const MANY: usize = 10_000;
    let here = reply("here").await;
    let stage = Stage::start(&[cluster("here", &[here.address()])], |port| {
        let hosts = (0..MANY).map(|n| [127, 1, (n >> 8) as u8, n as u8]);
        let mut all: Vec<_> = hosts
            .map(|host| unbound(host, port, vec![tcp("here", always())]))
            .collect();
        all.push(capture(port, Vec::new()));
        all
    })
    .await;
    let last = [127, 1, ((MANY - 1) >> 8) as u8, (MANY - 1) as u8];
    assert_eq!(ask(stage.connect(last).await, b"x").await, b"here");
    let sockets = std::fs::read_dir("/proc/self/fd")
        .expect("the system shows descriptors")
        .count();
    assert!(sockets < MANY / 10, "{sockets} descriptors are open");
    let elsewhere = unbound(HERE, stage.port ^ 1, vec![tcp("here", always())]);
    stage.listen(&[elsewhere]).await;
    assert!(
        TcpStream::connect((std::net::Ipv4Addr::from(HERE), stage.port ^ 1))
            .await
            .is_err()
    );
}
