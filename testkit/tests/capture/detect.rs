//! What a connection speaks decides who gets it, and nobody loses a byte.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weft_testkit::{
    Client, Http2Client, TcpUpstream, Upstream,
    eventually::{eventually, in_time},
    tcp::Script,
};
use weft_xds::pb::{
    listener::{FilterChainMatch, Listener},
    protobuf::Duration as Time,
};

use crate::stage::{Stage, always, ask, capture, cluster, detecting, http, if_http, send_in_bytes, tcp, unbound};

const HERE: [u8; 4] = [127, 0, 0, 5];
const STRICT: [u8; 4] = [127, 0, 0, 6];

/// The first message of a TLS client: this server name, nothing else, cut into two records.
fn hello(name: &str) -> Vec<u8> {
    let list = |content: &[u8]| [&(content.len() as u16).to_be_bytes()[..], content].concat();
    let names = list(&[&[0][..], &list(name.as_bytes())].concat());
    let extensions = list(&[&[0, 0][..], &list(&names)].concat());
    let content = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0], &extensions].concat();
    let message = [&[1, 0][..], &list(&content)].concat();
    let record = |part: &[u8]| [&[22, 3, 1][..], &list(part)].concat();
    let (one, two) = message.split_at(message.len() / 2);
    [record(one), record(two)].concat()
}

fn if_tls(names: &[&str]) -> FilterChainMatch {
    FilterChainMatch {
        transport_protocol: "tls".to_owned(),
        server_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..always()
    }
}

#[tokio::test]
async fn tls_goes_by_its_server_name_http_to_http_and_all_else_is_copied_byte_for_byte() {
    let web = Upstream::named("web");
    let raw = TcpUpstream::start(Script::ReplyAtEnd(b"raw".to_vec())).await;
    let exact = TcpUpstream::start(Script::ReplyAtEnd(b"exact".to_vec())).await;
    let suffix = TcpUpstream::start(Script::ReplyAtEnd(b"suffix".to_vec())).await;
    let clusters = [
        cluster("web", &[web.address()]),
        cluster("raw", &[raw.address()]),
        cluster("exact", &[exact.address()]),
        cluster("suffix", &[suffix.address()]),
    ];
    let stage = Stage::start(&clusters, |port| {
        let chains = vec![
            http("web", if_http()),
            tcp("exact", if_tls(&["a.test"])),
            tcp("suffix", if_tls(&["*.test"])),
        ];
        vec![
            detecting(unbound(HERE, port, chains), tcp("raw", always())),
            capture(port, Vec::new()),
        ]
    })
    .await;
    let known = async |bytes: &[u8], expected: &[u8], upstream: &TcpUpstream| {
        for cut in [false, true] {
            let mut stream = stage.connect(HERE).await;
            if cut {
                send_in_bytes(&mut stream, bytes).await;
            } else {
                stream.write_all(bytes).await.expect("the proxy reads");
            }
            assert_eq!(ask(stream, b"more").await, expected, "{bytes:?}");
            let conversations = upstream.conversations();
            let last = conversations.last().expect("a conversation");
            assert_eq!(
                last.received,
                [bytes, b"more"].concat(),
                "what was looked at is not consumed"
            );
        }
    };
    known(&hello("A.test"), b"exact", &exact).await;
    known(&hello("b.test"), b"suffix", &suffix).await;
    known(&hello("other.example"), b"raw", &raw).await;
    known(b"\x00\x01binary", b"raw", &raw).await;
    known(b"*1\r\n$4\r\nPING\r\n", b"raw", &raw).await;
    known(b"GET /without-version\r\n", b"raw", &raw).await;
    known(b"GET", b"raw", &raw).await;

    let mut client = Client::connect(stage.at(HERE)).await;
    for byte in b"GET /one HTTP/1.1\r\nhost: a\r\n\r\n" {
        client.send([*byte]).await.expect("the proxy reads");
        tokio::task::yield_now().await;
    }
    assert_eq!(client.reply(false).await.expect("a reply").text(), "web");
    let again = client
        .ask("GET /two HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .expect("a reply");
    assert_eq!(again.text(), "web", "the connection goes on as any other");

    let (h2, _connection) = Http2Client::connect(stage.at(HERE)).await.expect("a connection");
    assert_eq!(h2.get("/three").await.expect("a reply").status, 200);
}

#[tokio::test]
async fn what_is_no_http_gets_400_where_nothing_else_is_spoken() {
    let web = Upstream::named("web");
    let stage = Stage::start(&[cluster("web", &[web.address()])], |port| {
        vec![
            unbound(STRICT, port, vec![http("web", always())]),
            capture(port, Vec::new()),
        ]
    })
    .await;
    let reply = ask(stage.connect(STRICT).await, b"\x00\x01binary\r\n\r\n").await;
    assert!(
        reply.starts_with(b"HTTP/1.1 400 "),
        "{}",
        String::from_utf8_lossy(&reply)
    );
    eventually("it is counted", async || {
        stage
            .metric(
                "istio_requests_total",
                &["response_code=\"400\"", "response_flags=\"DPE\""],
            )
            .await
    })
    .await;
}

#[tokio::test]
async fn a_limit_of_time_leads_on_without_a_protocol_or_ends_the_connection() {
    let raw = TcpUpstream::start(Script::Greet(b"hello".to_vec())).await;
    let web = Upstream::named("web");
    let clusters = [cluster("raw", &[raw.address()]), cluster("web", &[web.address()])];
    let limited = |listener: Listener, goes_on| Listener {
        listener_filters_timeout: Some(Time {
            seconds: 0,
            nanos: 50_000_000,
        }),
        continue_on_listener_filters_timeout: goes_on,
        ..detecting(listener, tcp("raw", always()))
    };
    let chains = || vec![http("web", if_http())];
    let stage = Stage::start(&clusters, |port| {
        vec![
            limited(unbound(HERE, port, chains()), true),
            limited(unbound(STRICT, port, chains()), false),
            capture(port, Vec::new()),
        ]
    })
    .await;
    // Enough for neither protocol.
    let mut goes_on = stage.connect(HERE).await;
    goes_on.write_all(b"GET").await.expect("the proxy reads");
    let mut greeting = [0; 5];
    in_time("the greeting", goes_on.read_exact(&mut greeting))
        .await
        .expect("a greeting");
    assert_eq!(&greeting, b"hello");
    goes_on.write_all(b" more").await.expect("it is copied");
    eventually("nothing is lost", async || {
        raw.conversations()
            .iter()
            .any(|one| one.received == b"GET more")
            .then_some(())
    })
    .await;
    let mut ends = stage.connect(STRICT).await;
    let read = in_time("the end", ends.read(&mut [0; 8])).await;
    assert!(matches!(read, Ok(0)), "{read:?}");
}
