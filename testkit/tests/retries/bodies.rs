//! What a retry sends of the request's body.

use weft_testkit::{Behaviour, Client, Reply, Upstream, mesh::free_address};

use crate::stage::{failing, mesh, try_of};

const AGAIN: &str = "retries: {attempts: 2, retryOn: '5xx'}";

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// The bytes of a `POST`, with a length or in chunks.
fn post(path: &str, body: &[u8], chunked: bool) -> Vec<u8> {
    let mut request = format!("POST {path} HTTP/1.1\r\nhost: shop.test\r\n").into_bytes();
    if !chunked {
        request.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
        request.extend(body);
        return request;
    }
    request.extend(b"transfer-encoding: chunked\r\n\r\n");
    for piece in body.chunks(10_000) {
        request.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        request.extend(piece);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    request
}

async fn ask(mesh: &weft_testkit::Mesh, request: &[u8]) -> Reply {
    let mut client = Client::connect(mesh.address()).await;
    // A reply may come before all has been sent.
    client.send(request).await.ok();
    client.reply(false).await.expect("a reply")
}

#[tokio::test]
async fn a_body_arrives_whole_at_the_second_endpoint() {
    let upstream = Upstream::group(2, |seen| match try_of(seen) {
        1 => Behaviour::status(503, "no"),
        _ => Behaviour::Echo,
    });
    let mesh = mesh(upstream.addresses(), AGAIN, &[]).await;
    for (length, chunked) in [(1, false), (300_000, false), (300_000, true), (1 << 20, false)] {
        upstream.ledger().clear();
        let body = bytes(length);
        let reply = ask(&mesh, &post("/", &body, chunked)).await;
        assert_eq!(reply.status, 200, "{length} {chunked}");
        assert!(
            reply.body.bytes == body,
            "{length} {chunked}: the echo of the second try"
        );
        let seen = upstream.ledger().seen();
        assert_eq!(seen.len(), 2, "{length} {chunked}");
        assert!(seen.iter().all(|one| one.body.complete && one.body.bytes == body));
    }
}

#[tokio::test]
async fn a_body_goes_on_where_the_first_try_broke_off() {
    // Neither answer waits for the body: the first try has got some part of it.
    for failure in [
        Behaviour::Reset,
        Behaviour::AnswerEarly(Box::new(Behaviour::status(503, "no"))),
    ] {
        let upstream = Upstream::group(2, move |seen| match try_of(seen) {
            1 => failure.clone(),
            _ => Behaviour::Echo,
        });
        let mesh = mesh(upstream.addresses(), AGAIN, &[]).await;
        for chunked in [false, true] {
            let body = bytes(900_000);
            let reply = ask(&mesh, &post("/", &body, chunked)).await;
            assert_eq!(reply.status, 200);
            assert!(reply.body.bytes == body);
        }
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_sent_once() {
    let upstream = failing(2, 1, Behaviour::status(503, "no"));
    let mesh = mesh(upstream.addresses(), AGAIN, &[]).await;
    for chunked in [false, true] {
        upstream.ledger().clear();
        let body = bytes((1 << 20) + 1);
        let reply = ask(&mesh, &post("/", &body, chunked)).await;
        assert_eq!((reply.status, reply.text().as_str()), (503, "no"));
        let seen = upstream.ledger().seen();
        assert_eq!(seen.len(), 1);
        assert!(seen[0].body.complete && seen[0].body.bytes == body);
    }
    // What nobody has answered for costs nothing of what is kept: the next is kept again.
    assert_eq!(ask(&mesh, &post("/", &bytes(1 << 20), false)).await.text(), "fine");
}

#[tokio::test]
async fn a_body_is_not_sent_again_once_somebody_has_answered() {
    let upstream = Upstream::group(2, |_| Behaviour::CloseInBody {
        promised: 100,
        sent: 10,
    });
    let mesh = mesh(upstream.addresses(), AGAIN, &[]).await;
    let reply = ask(&mesh, &post("/", &bytes(1000), false)).await;
    assert!(reply.status == 200 && !reply.body.complete);
    assert_eq!(upstream.ledger().counts().requests, 1);
}

#[tokio::test]
async fn a_body_of_any_length_goes_elsewhere_as_long_as_nothing_of_it_was_sent() {
    let upstream = Upstream::start(|_| Behaviour::Echo);
    let mesh = mesh(
        &[free_address(), upstream.address()],
        "retries: {attempts: 2, retryOn: connect-failure}",
        &[],
    )
    .await;
    let body = bytes(2 << 20);
    for chunked in [false, true, false, true, false, true] {
        let reply = ask(&mesh, &post("/", &body, chunked)).await;
        assert_eq!(reply.status, 200);
        assert!(reply.body.bytes == body);
    }
}
