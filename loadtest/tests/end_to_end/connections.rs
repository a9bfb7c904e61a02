//! Connections that cannot be had, that servers close, and that die.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::process::{Upstream, load};

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Gives each connection, with its number, to `serve`.
async fn listen<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream, usize) -> F + Send + 'static,
) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let opened = AtomicUsize::new(0);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, opened.fetch_add(1, Ordering::Relaxed)));
        }
    });
    address
}

/// Answers one request with `answer`, and closes in order when there is another.
async fn once(mut stream: TcpStream, answer: &'static [u8]) {
    let mut bytes = [0; 1024];
    if stream.read(&mut bytes).await.is_ok_and(|count| count > 0) && stream.write_all(answer).await.is_ok() {
        let _ = stream.read(&mut bytes).await;
    }
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_passed_over() {
    let upstream = Upstream::start("").await;
    let port = upstream.address.rsplit_once(':').unwrap().1;
    for flags in ["--rate 100", "--rate max", "--rate 100 --http2"] {
        for (first, second) in [("127.0.0.2", "127.0.0.1"), ("127.0.0.1", "127.0.0.2")] {
            let result = load(&format!(
                "http://two.test:{port}/ --resolve two.test:{port}:{first} --resolve two.test:{port}:{second} {flags} \
                 --duration 300ms -c 4 --output json"
            ))
            .await
            .json();
            assert!(number(&result["requests"]["answered"]) > 0, "{flags} {first}: {result}");
            assert_eq!(result["requests"]["failed"], 0, "{flags} {first}: {}", result["errors"]);
        }
    }
}

#[tokio::test]
async fn a_server_that_closes_after_each_answer_costs_no_request_that_may_be_repeated() {
    let silent: &'static [u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let told: &'static [u8] = b"HTTP/1.1 200 OK\r\nconnection: close, foo\r\ncontent-length: 2\r\n\r\nok";
    // Two lanes, each of which believes the server after two connections.
    let some = 2..=4;
    for (answer, flags, lost, failed) in [
        (told, "", 0..=0, 0..=0),
        (silent, "-H connection:close", 0..=0, 0..=0),
        (silent, "", some.clone(), 0..=0),
        (silent, "-X DELETE", some.clone(), 0..=0),
        // It might be done twice: that a server closes so is its failure.
        (silent, "-X POST", 0..=0, some),
    ] {
        let at = listen(move |stream, _| once(stream, answer)).await;
        let line = format!("http://{at}/ --rate max -c 2 --duration 300ms --output json {flags}");
        let result = load(&line).await.json();
        let (requests, connections) = (&result["requests"], &result["connections"]);
        assert!(number(&requests["answered"]) > 10, "{line}: {result}");
        assert!(
            failed.contains(&number(&requests["failed"])),
            "{line}: {}",
            result["errors"]
        );
        assert!(lost.contains(&number(&connections["lost"])), "{line}: {connections}");
        assert_eq!(
            connections["opened"], requests["answered"],
            "{line}: every connection answers once"
        );
    }
}

#[tokio::test]
async fn who_refuses_before_the_request_is_whole_is_heard_and_not_asked_again() {
    let long = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(long.path(), vec![b'x'; 8_000_000]).unwrap();
    let at = listen(|mut stream, _| async move {
        let mut bytes = [0; 1024];
        if stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {
            let _ = stream.write_all(b"HTTP/1.1 413 x\r\ncontent-length: 0\r\n\r\n").await;
            // What is dropped with bytes that nobody has read is reset.
        }
    })
    .await;
    let result = load(&format!(
        "http://{at}/ --data @{} --rate max -c 2 --duration 300ms --output json",
        long.path().display()
    ))
    .await
    .json();
    assert_eq!(result["codes"]["413"], result["connections"]["opened"], "{result}");
    assert_eq!(result["connections"]["reused"], 0, "{result}");
}

#[tokio::test]
async fn a_connection_of_http2_that_has_died_is_replaced() {
    // The one before the run, and the first one of it, fall silent after five requests; all others answer.
    let at = listen(|stream, opened| async move {
        let Ok(mut connection) = h2::server::handshake(stream).await else {
            return;
        };
        let mut answered = 0;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            if opened < 2 && answered == 5 {
                std::future::pending::<()>().await;
            }
            answered += 1;
            drop(respond.send_response(Response::new(()), true));
        }
    })
    .await;
    let result = load(&format!(
        "http://{at}/ --http2 -c 1 --rate 50 --timeout 300ms --duration 2s --output json"
    ))
    .await
    .json();
    // One request finds out; a second one if a late acknowledgement of settings looked like a sign of life.
    assert!((1..=5).contains(&number(&result["requests"]["failed"])), "{result}");
    assert!(number(&result["connections"]["opened"]) >= 2, "{result}");
    assert!(number(&result["requests"]["answered"]) > 80, "{result}");
}

#[tokio::test]
async fn waiting_for_a_stream_is_latency_and_no_service_time() {
    // One stream at a time, 50 ms each: of 40 a second every other one waits for longer and longer.
    let at = listen(|stream, _| async move {
        let mut builder = h2::server::Builder::new();
        let mut connection = builder
            .max_concurrent_streams(1)
            .handshake::<_, Bytes>(stream)
            .await
            .unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                drop(respond.send_response(Response::new(()), true));
            });
        }
    })
    .await;
    let result = load(&format!(
        "http://{at}/ --http2 -c 1 --streams 100 --rate 40 --duration 2s --output json"
    ))
    .await
    .json();
    let p50 = |histogram: &str| result[histogram]["p50"].as_f64().unwrap();
    assert!(p50("latency_ms") > 500.0, "{}", result["latency_ms"]);
    assert!(p50("service_time_ms") < 250.0, "{}", result["service_time_ms"]);
}

#[tokio::test]
async fn a_handshake_that_is_never_answered_is_a_failure_of_tls() {
    let at = listen(|stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let ended = load(&format!("https://{at}/ --insecure --timeout 300ms")).await;
    assert_eq!(ended.code, 6, "{ended:?}");
    assert!(ended.err.contains("TLS failed: timeout"), "{ended:?}");
}
