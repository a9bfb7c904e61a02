//! Clients and upstreams that misbehave: one status, one reason, and nothing ambiguous ever reaches an upstream.

use std::time::Duration;

use weft_testkit::{
    Behaviour, Client, Mesh, Upstream,
    client::request,
    eventually,
    objects::{file, rules, service},
};

async fn mesh(upstream: &Upstream, rule: &str) -> Mesh {
    let web = service("web", &[("v1", upstream.address())]);
    let http = format!("    - route: [{{destination: {{host: web}}}}]\n{rule}");
    Mesh::start(&[web], &file(&[rules("web", &http)]), 1).await
}

/// What two readers could take for different requests, by name.
fn ambiguous() -> Vec<(&'static str, String)> {
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    vec![
        (
            "length and chunks",
            format!(
                "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
            ),
        ),
        (
            "two lengths",
            format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\ncontent-length: 5\r\n\r\n{smuggled}"),
        ),
        (
            "two lengths in one field",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3, 4\r\n\r\nabc".to_owned(),
        ),
        (
            "signed length",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +3\r\n\r\nabc".to_owned(),
        ),
        (
            "negative length",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n".to_owned(),
        ),
        (
            "length of no number",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0x3\r\n\r\nabc".to_owned(),
        ),
        (
            "length beyond all numbers",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999999\r\n\r\n".to_owned(),
        ),
        ("bare line feeds", "GET / HTTP/1.1\nhost: a\n\n".to_owned()),
        (
            "a bare line feed among fields",
            "GET / HTTP/1.1\r\nhost: a\nx-b: c\r\n\r\n".to_owned(),
        ),
        (
            "a space before the colon",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length : 3\r\n\r\nabc".to_owned(),
        ),
        (
            "a folded field",
            "GET / HTTP/1.1\r\nhost: a\r\nx-a: b\r\n c\r\n\r\n".to_owned(),
        ),
        (
            "another coding",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\nabc".to_owned(),
        ),
        (
            "a coding after chunked",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "chunked twice",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "chunks in HTTP/1.0",
            "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        ),
        ("no host", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        ("two hosts", "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".to_owned()),
        (
            "a NUL in a value",
            "GET / HTTP/1.1\r\nhost: a\r\nx-a: b\0c\r\n\r\n".to_owned(),
        ),
        ("no request at all", "\x16\x03\x01\x02\x00\r\n\r\n".to_owned()),
    ]
}

#[tokio::test]
async fn ambiguous_framing_is_refused_and_never_reaches_an_upstream() {
    let upstream = Upstream::named("one");
    let mesh = mesh(&upstream, "").await;
    for (what, bytes) in ambiguous() {
        let mut client = Client::connect(mesh.address()).await;
        // A refusal may come, and the connection end, before all has been written.
        let _ = client.send(&bytes).await;
        if let Ok(reply) = client.reply(false).await {
            assert!((400..600).contains(&reply.status), "{what}: {}", reply.status);
            assert!(client.ended().await, "{what}: the connection has to end");
        }
    }
    let seen = upstream.ledger().seen();
    assert!(
        seen.is_empty(),
        "reached the upstream: {:?}",
        seen.iter().map(|s| s.head.start.clone()).collect::<Vec<_>>()
    );
    assert_eq!(mesh.get("/", &[]).await.status, 200, "the gateway lives on");
}

#[tokio::test]
async fn chunks_of_bad_sizes_end_the_exchange_and_their_rest_is_no_request() {
    let upstream = Upstream::start(|_| Behaviour::Echo);
    let mesh = mesh(&upstream, "").await;
    for size in ["-1", "+1", "0x1", "g", "", "1 1", "ffffffffffffffffff", "1;\n"] {
        let mut client = Client::connect(mesh.address()).await;
        let head = "POST /chunks HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = client
            .send(format!(
                "{head}{size}\r\nx\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
            ))
            .await;
        if let Ok(reply) = client.reply(false).await {
            assert!(
                (400..600).contains(&reply.status),
                "chunk size {size:?}: {}",
                reply.status
            );
        }
    }
    assert_eq!(upstream.ledger().requests_to("/smuggled"), 0);
    assert!(
        upstream.ledger().seen().iter().all(|seen| !seen.body.complete),
        "a broken body must not look complete"
    );
    assert_eq!(mesh.get("/", &[]).await.status, 200);
}

#[tokio::test]
async fn headers_beyond_their_limit_are_answered_with_431() {
    let upstream = Upstream::named("one");
    let mesh = mesh(&upstream, "").await;
    let long = "x".repeat(200_000);
    let many: Vec<(String, String)> = (0..500).map(|i| (format!("x-{i}"), "1".into())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    for (what, bytes) in [
        ("one long", request("GET", "a", "/", &[("x-long", &long)])),
        ("many", request("GET", "a", "/", &many)),
    ] {
        let mut client = Client::connect(mesh.address()).await;
        let _ = client.send(bytes).await;
        let reply = client.reply(false).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(reply.status, 431, "{what}");
    }
    assert_eq!(upstream.ledger().counts().requests, 0);
}

#[tokio::test]
async fn every_way_in_which_an_upstream_fails_becomes_one_status() {
    let upstream = Upstream::start(|seen| match seen.path() {
        "/reset" => Behaviour::Reset,
        "/close" => Behaviour::Close,
        "/garbage" => Behaviour::RawThenClose(b"\x00\x01\x02 not http\r\n\r\n".to_vec()),
        "/ambiguous" => {
            Behaviour::RawThenClose(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_vec())
        }
        "/huge" => {
            Behaviour::RawThenClose([b"HTTP/1.1 200 OK\r\nx: ", vec![b'x'; 1 << 20].as_slice(), b"\r\n\r\n"].concat())
        }
        "/never" => Behaviour::Silence,
        _ => Behaviour::ok("fine"),
    });
    let mesh = mesh(&upstream, "      timeout: 0.2s\n      retries: {attempts: 0}\n").await;
    for (path, status) in [
        ("/reset", 503),
        ("/close", 503),
        ("/garbage", 502),
        ("/ambiguous", 502),
        ("/huge", 502),
        ("/never", 504),
        ("/fine", 200),
    ] {
        let reply = mesh.get(path, &[]).await;
        assert!(
            reply.status == status || (status == 502 && reply.status == 503),
            "{path}: {} not {status}",
            reply.status
        );
        assert!(reply.body.complete, "{path}");
        assert_eq!(
            upstream.ledger().requests_to(path),
            1,
            "{path}: without retries there is one attempt"
        );
    }
}

#[tokio::test]
async fn a_response_that_ends_early_ends_the_connection_and_never_looks_whole() {
    let upstream = Upstream::start(|_| Behaviour::CloseInBody {
        promised: 1000,
        sent: 10,
    });
    let mesh = mesh(&upstream, "").await;
    let reply = mesh.get("/", &[]).await;
    assert_eq!((reply.status, reply.body.complete), (200, false));
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_reaches_the_client() {
    let upstream = Upstream::start(|_| Behaviour::AnswerEarly(Box::new(Behaviour::status(413, "too much"))));
    let mesh = mesh(&upstream, "").await;
    let mut client = Client::connect(mesh.address()).await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nonly the beginning")
        .await
        .expect("room for it");
    let reply = client.reply(false).await.expect("a reply");
    assert_eq!((reply.status, reply.text().as_str()), (413, "too much"));
}

#[tokio::test]
async fn an_upstream_that_nobody_serves_is_a_503() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a free port");
    let web = service("web", &[("v1", closed)]);
    let mesh = Mesh::start(
        &[web],
        &file(&[rules("web", "    - route: [{destination: {host: web}}]\n")]),
        1,
    )
    .await;
    let reply = mesh.get("/", &[]).await;
    assert_eq!(reply.status, 503);
}

#[tokio::test]
async fn a_client_that_stops_reading_holds_back_its_upstream_and_nobody_else() {
    const PIECE: usize = 64 << 10;
    let upstream = Upstream::start(|seen| match seen.path() {
        "/endless" => Behaviour::SlowBody {
            pieces: 2000,
            bytes: PIECE,
            pause: Duration::ZERO,
        },
        _ => Behaviour::ok("fine"),
    });
    let mesh = mesh(&upstream, "").await;
    let mut stuck = Client::connect(mesh.address()).await;
    stuck
        .send(request("GET", "a", "/endless", &[]))
        .await
        .expect("room for a request");
    eventually("the upstream has the request", async || {
        (upstream.ledger().requests_to("/endless") == 1).then_some(())
    })
    .await;
    for _ in 0..100 {
        assert_eq!(mesh.get("/", &[]).await.text(), "fine");
    }
    assert_eq!(
        upstream.ledger().counts().active,
        1,
        "125 MiB cannot have gone anywhere"
    );
    drop(stuck);
    eventually("the upstream is let go", async || {
        (upstream.ledger().counts().active == 0).then_some(())
    })
    .await;
}
