//! The scripted peers against each other: what the proxy is judged by must itself be right.

use std::time::Duration;

use weft_testkit::{Behaviour, Client, Upstream, client::request, eventually};

#[tokio::test]
async fn an_upstream_does_what_its_script_says() {
    let upstream = Upstream::start(|seen| match seen.path() {
        "/ok" => Behaviour::with_fields("fine", &[("x-of", "script")]),
        "/slow" => Behaviour::SlowBody {
            pieces: 3,
            bytes: 5,
            pause: Duration::from_millis(1),
        },
        "/short" => Behaviour::CloseInBody { promised: 10, sent: 4 },
        "/silent-close" => Behaviour::Close,
        "/reset" => Behaviour::Reset,
        "/garbage" => Behaviour::RawThenClose(b"\x00\x01 what\r\n\r\n".to_vec()),
        _ => Behaviour::status(404, ""),
    });
    type Expected = Option<(u16, usize, bool)>;
    let cases: [(&str, Expected); 7] = [
        ("/ok", Some((200, 4, true))),
        ("/slow", Some((200, 15, true))),
        ("/short", Some((200, 4, false))),
        ("/other", Some((404, 0, true))),
        ("/silent-close", None),
        ("/reset", None),
        ("/garbage", None),
    ];
    for (path, expected) in cases {
        let reply = Client::connect(upstream.address()).await.get("a.test", path, &[]).await;
        let found = reply.ok().map(|r| (r.status, r.body.bytes.len(), r.body.complete));
        assert_eq!(found, expected, "{path}");
        assert_eq!(upstream.ledger().requests_to(path), 1, "{path}");
    }
}

#[tokio::test]
async fn a_ledger_keeps_requests_as_they_came() {
    let upstream = Upstream::start(|_| Behaviour::Echo);
    let mut client = Client::connect(upstream.address()).await;
    let first = client
        .ask("POST /a HTTP/1.1\r\nHost: a\r\nX-Odd:  y \r\ncontent-length: 3\r\n\r\nabc")
        .await
        .unwrap();
    let second = client
        .ask("POST /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nt: 1\r\n\r\n")
        .await
        .unwrap();
    assert_eq!((first.text().as_str(), second.text().as_str()), ("abc", "hi"));
    assert_eq!(second.body.trailers, [("t".to_owned(), "1".to_owned())]);
    let seen = upstream.ledger().seen();
    assert_eq!(seen.len(), 2);
    assert!(
        seen[0]
            .head
            .raw
            .starts_with(b"POST /a HTTP/1.1\r\nHost: a\r\nX-Odd:  y \r\n")
    );
    assert_eq!((seen[0].connection, seen[1].connection), (0, 0));
    assert_eq!(seen[1].body.bytes, b"hi");
}

#[tokio::test]
async fn a_closed_connection_is_not_counted_beside_its_successor() {
    let upstream = Upstream::named("one");
    for _ in 0..50 {
        let mut client = Client::connect(upstream.address()).await;
        assert_eq!(client.get("a", "/", &[]).await.unwrap().status, 200);
        drop(client);
    }
    let counts = upstream.ledger().counts();
    assert_eq!(
        (counts.accepts, counts.open_max, counts.active_max),
        (50, 1, 1),
        "{counts:?}"
    );
}

#[tokio::test]
async fn connections_that_are_open_together_are_counted_together() {
    let upstream = Upstream::start(|_| Behaviour::Silence);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(upstream.address()).await;
        client.send(request("GET", "a", "/", &[])).await.unwrap();
        clients.push(client);
    }
    let counts = eventually("three active requests", async || {
        let counts = upstream.ledger().counts();
        (counts.active == 3).then_some(counts)
    });
    assert_eq!(counts.await.open_max, 3);
    drop(clients);
    eventually("all ended", async || {
        (upstream.ledger().counts().open == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_upgraded_connection_returns_its_bytes() {
    let upstream = Upstream::start(|_| Behaviour::Upgrade("echo".into()));
    let mut client = Client::connect(upstream.address()).await;
    let reply = client
        .get("a", "/", &[("connection", "upgrade"), ("upgrade", "echo")])
        .await
        .unwrap();
    assert_eq!((reply.status, reply.field("upgrade")), (101, Some("echo")));
    client.send("ping").await.unwrap();
    assert_eq!(client.raw(4).await, b"ping");
}
