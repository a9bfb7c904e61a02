//! What stands on the wire on one side is what the other side meant, and a connection is kept or closed as was said.

use std::time::Duration;

use weft_testkit::{
    Behaviour, Client, Mesh, Upstream,
    client::request,
    eventually,
    objects::{file, rules, service},
};

/// A gateway whose `/local` is answered without an upstream.
async fn mesh(upstream: &Upstream) -> Mesh {
    let web = service("web", &[("v1", upstream.address())]);
    let http = "    - match: [{uri: {prefix: /local}}]\n      directResponse: {status: 418}\n    \
                - route: [{destination: {host: web}}]\n";
    Mesh::start(&[web], &file(&[rules("web", http)]), 1).await
}

#[tokio::test]
async fn a_response_whose_end_could_be_found_in_two_places_is_a_502() {
    const HEADS: [&str; 5] = [
        "content-length: 3\r\ntransfer-encoding: chunked",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: gzip",
        "content-length: 3, 3",
        "content-length: +3",
    ];
    let upstream = Upstream::start(|seen| {
        let place: usize = seen.path()[1..].parse().expect("a number");
        let head = HEADS[place];
        Behaviour::RawThenClose(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n3\r\nabc\r\n0\r\n\r\n").into())
    });
    let mesh = mesh(&upstream).await;
    for (place, head) in HEADS.iter().enumerate() {
        let reply = mesh.get(&format!("/{place}"), &[]).await;
        assert_eq!(reply.status, 502, "{head}: {}", reply.text());
    }
}

#[tokio::test]
async fn a_body_arrives_whatever_the_method_and_the_framing() {
    let upstream = Upstream::start(|_| Behaviour::Echo);
    let mesh = mesh(&upstream).await;
    let mut client = Client::connect(mesh.address()).await;
    for method in ["GET", "DELETE", "POST"] {
        let chunked =
            format!("{method} / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        assert_eq!(
            client.ask(chunked).await.expect("a reply").text(),
            "abc",
            "{method} chunked"
        );
        let counted = format!("{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc");
        assert_eq!(
            client.ask(counted).await.expect("a reply").text(),
            "abc",
            "{method} counted"
        );
    }
}

#[tokio::test]
async fn bytes_behind_a_request_for_an_upgrade_are_read_as_its_answer_says() {
    let upstream = Upstream::start(|seen| match seen.path() {
        "/accepted" => Behaviour::Upgrade("websocket".to_owned()).after(Duration::from_millis(100)),
        _ => Behaviour::ok("no"),
    });
    let mesh = mesh(&upstream).await;
    let upgrade = |path| request("GET", "a", path, &[("connection", "upgrade"), ("upgrade", "websocket")]);

    let mut early = Client::connect(mesh.address()).await;
    let frames = b"no\nHTTP\0at all";
    early
        .send([upgrade("/accepted"), frames.to_vec()].concat())
        .await
        .expect("room");
    assert_eq!(early.reply(false).await.expect("an answer").status, 101);
    assert_eq!(early.raw(frames.len()).await, frames);

    let mut refused = Client::connect(mesh.address()).await;
    let next = request("GET", "a", "/next", &[]);
    let bad = b"GET /bad HTTP/1.1\nhost: a\n\n".to_vec();
    refused
        .send([upgrade("/refused"), next, bad].concat())
        .await
        .expect("room");
    for status in [200, 200, 400] {
        assert_eq!(refused.reply(false).await.expect("a reply").status, status);
    }
    assert_eq!(upstream.ledger().requests_to("/bad"), 0);
}

#[tokio::test]
async fn a_reply_before_the_end_of_its_request_says_that_it_is_the_last() {
    let upstream = Upstream::named("one");
    let mesh = mesh(&upstream).await;
    let mut whole = Client::connect(mesh.address()).await;
    for body in [
        "content-length: 5\r\n\r\nhello",
        "transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ] {
        let reply = whole
            .ask(format!("POST /local HTTP/1.1\r\nhost: a\r\n{body}"))
            .await
            .expect("a reply");
        assert_eq!((reply.status, reply.field("connection")), (418, None), "{body}");
    }
    // Far more than any buffer on the way holds: to close with bytes unread would reset the reply away.
    let mut early = Client::connect(mesh.address()).await;
    early
        .send("POST /local HTTP/1.1\r\nhost: a\r\ncontent-length: 50000000\r\n\r\n")
        .await
        .expect("room for a head");
    early
        .send(vec![b'x'; 20_000_000])
        .await
        .expect("what is not wanted is taken all the same");
    let reply = early.reply(false).await.expect("a reply");
    assert_eq!((reply.status, reply.field("connection")), (418, Some("close")));
}

#[tokio::test]
async fn a_request_target_names_its_host_without_tricks() {
    let upstream = Upstream::named("one");
    let mesh = mesh(&upstream).await;
    for (target, status) in [
        ("http://b.test/abs?q", 200),
        ("http://b.test", 200),
        ("http://user:secret@b.test/", 400),
        ("b.test", 400),
        ("b.test:80", 400),
    ] {
        let mut client = Client::connect(mesh.address()).await;
        let reply = client.get("a", target, &[]).await.expect("a reply");
        assert_eq!(reply.status, status, "{target}");
    }
    let hosts: Vec<_> = upstream
        .ledger()
        .seen()
        .iter()
        .map(|seen| seen.field("host").map(str::to_owned))
        .collect();
    assert_eq!(hosts, vec![Some("b.test".to_owned()); 2]);
}

#[tokio::test]
async fn all_lines_of_a_forwarded_for_are_kept_and_an_expectation_or_a_claimed_certificate_goes_no_further() {
    let upstream = Upstream::start(|_| Behaviour::Echo);
    let mesh = mesh(&upstream).await;
    let mut client = Client::connect(mesh.address()).await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2\r\nx-forwarded-client-cert: URI=spiffe://a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
        .await
        .expect("room");
    assert_eq!(client.raw(25).await, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.ask("abc").await.expect("a reply").text(), "abc");
    let seen = upstream.ledger().seen();
    assert_eq!(seen[0].field("x-forwarded-for"), Some("1.1.1.1,2.2.2.2,127.0.0.1"));
    assert_eq!(
        (seen[0].field("expect"), seen[0].field("x-forwarded-client-cert")),
        (None, None)
    );
}

#[tokio::test]
async fn a_client_that_leaves_in_its_request_is_counted_once_and_without_a_code() {
    let upstream = Upstream::start(|_| Behaviour::Echo);
    let mesh = mesh(&upstream).await;
    let mut client = Client::connect(mesh.address()).await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc")
        .await
        .expect("room");
    eventually("the upstream has the head", async || {
        (upstream.ledger().counts().requests == 1).then_some(())
    })
    .await;
    drop(client);
    let line = eventually("the request is counted", async || {
        let page = mesh.admin("/stats/prometheus").await.text();
        let mut lines = page.lines().filter(|line| line.starts_with("istio_requests_total{"));
        let found = lines.next().map(str::to_owned);
        assert_eq!(lines.next(), None, "one request, one series");
        found
    })
    .await;
    assert!(
        line.contains("response_code=\"0\"") && line.contains("response_flags=\"DC\""),
        "{line}"
    );
    assert!(line.ends_with(" 1"), "{line}");
}
