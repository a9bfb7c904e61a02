//! What cannot work costs one line and has its own exit code.

use std::net::Ipv4Addr;
use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::process::{Ended, Upstream, command, finish, load, undisturbed};

/// A server of its own that answers the first bytes of every connection with `answer` and closes.
async fn answering(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 1024];
                if stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {
                    let _ = stream.write_all(answer).await;
                }
            });
        }
    });
    address
}

fn refused(ended: &Ended, code: i32, words: &str) {
    assert_eq!(ended.code, code, "{ended:?}");
    let lines: Vec<&str> = ended.err.lines().collect();
    let line = lines.last().unwrap_or_else(|| panic!("{ended:?}"));
    assert!(
        line.starts_with("weft-load: ") && line.contains(words),
        "{words}: {ended:?}"
    );
    assert_eq!(lines.len(), 1, "{ended:?}");
}

#[tokio::test]
async fn flags_that_make_no_sense_are_refused_with_2() {
    for (line, words) in [
        ("http://127.0.0.1:1/ --rate max --arrivals poisson", "needs a --rate"),
        ("http://127.0.0.1:1/ --rate -3", "--rate"),
        ("http://127.0.0.1:1/ --stages /no/such/file", "--stages"),
        ("http://127.0.0.1:1/ --expect p99", "--expect"),
        ("http://127.0.0.1:1/ --streams 4", "needs --http2"),
        ("http://127.0.0.1:1/ tcp://127.0.0.1:1", "a run speaks one protocol"),
        ("breaker http://127.0.0.1:1/ --rate 5", "--callers"),
        ("breaker http://127.0.0.1:1/ --expect-limit 5", "--ledger"),
        ("compare /no/such/a /no/such/b", "/no/such/a"),
        ("http://127.0.0.1:1/ --timeout 2h", "must be at most an hour"),
        // What clap finds.
        ("http://127.0.0.1:1/ --no-such-flag", "there is no such flag"),
        ("http://127.0.0.1:1/ --connections -1", "must be a whole number"),
        ("", "URL>... is missing"),
        ("compare a", "<B.json> is missing"),
        ("serve --listen nonsense", "must be ADDRESS:PORT"),
        ("serve --latency soon", "--latency"),
    ] {
        let ended = load(line).await;
        refused(&ended, 2, words);
        assert_eq!(ended.out, "", "{line}");
    }
    for asked in ["--help", "--version", "compare --help"] {
        let ended = load(asked).await;
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{asked}: {ended:?}");
        assert!(ended.out.contains("weft-load"), "{asked}: {ended:?}");
    }
}

#[tokio::test]
async fn an_output_that_takes_nothing_is_one_line_and_one_that_nobody_reads_is_none() {
    let upstream = Upstream::start("").await;
    let line = format!("http://{} --rate 20 --duration 100ms", upstream.address);
    for line in [line.as_str(), "--help"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let child = command(line).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        refused(
            &finish(child).await,
            1,
            "standard output: cannot be written: No space left",
        );
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = command(line).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let ended = finish(child).await;
        assert!(
            ended.err.is_empty() && [0, 8].contains(&ended.code),
            "{line}: {ended:?}"
        );
    }
}

#[tokio::test]
async fn a_page_that_cannot_be_written_is_found_before_the_run_and_the_rest_is_printed_all_the_same() {
    let upstream = Upstream::start("").await;
    let line = format!("http://{} --rate 20 --duration 100ms", upstream.address);
    let ended = load(&format!("{line} --html /no/such/folder/run.html")).await;
    refused(&ended, 2, "--html \"/no/such/folder/run.html\"");
    assert_eq!(
        (
            upstream.ledger().await["requests"]["total"].as_u64(),
            ended.out.as_str()
        ),
        (Some(0), "")
    );
    let ended = load(&format!("{line} --html /dev/full --output json")).await;
    refused(&ended, 1, "--html \"/dev/full\": cannot be written");
    assert_eq!(ended.json()["requests"]["answered"], 2, "there is a report: {ended:?}");
}

#[tokio::test]
async fn a_host_without_an_address_is_4_and_a_port_where_nobody_listens_is_5() {
    refused(
        &load("http://nowhere.invalid/").await,
        4,
        "nowhere.invalid: cannot be resolved",
    );
    let port = {
        let held = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        held.local_addr().unwrap().port()
    };
    for scheme in ["http", "https", "grpc", "tcp"] {
        let ended = load(&format!("{scheme}://127.0.0.1:{port}/")).await;
        refused(&ended, 5, "cannot connect: Connection refused");
    }
}

#[tokio::test]
async fn a_target_of_another_protocol_is_7_and_says_what_was_spoken() {
    let http = answering(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    // What TLS servers say to those who speak no TLS: a fatal alert, "decode error".
    let tls = answering(b"\x15\x03\x03\x00\x02\x02\x32").await;
    let ssh = answering(b"SSH-2.0-OpenSSH_9.9\r\n").await;
    for (line, words) in [
        (format!("http://{http}/ --http2"), "does not speak HTTP/2"),
        (format!("grpc://{http}"), "does not speak gRPC"),
        (format!("http://{tls}/"), "does not speak HTTP/1.1"),
        (format!("http://{ssh}/"), "does not speak HTTP/1.1"),
        (format!("tcp://{ssh}"), "does not speak TCP echo"),
    ] {
        for rate in ["20", "max"] {
            let ended = load(&format!("{line} --rate {rate} --duration 300ms -c 2 --output json")).await;
            refused(&ended, 7, words);
            assert_eq!(ended.json()["requests"]["answered"], 0, "{line}: there is a report");
        }
    }
    let plain = load(&format!("https://{http}/ --insecure")).await;
    refused(&plain, 6, "the target does not speak TLS");
}

#[tokio::test]
async fn a_target_that_never_answers_rightly_ends_the_run_early() {
    let ssh = answering(b"SSH-2.0-OpenSSH_9.9\r\n").await;
    let ended = load(&format!("http://{ssh}/ --rate 50 --duration 10m -c 2")).await;
    refused(&ended, 7, "does not speak HTTP/1.1");
}

#[tokio::test]
async fn an_expectation_that_does_not_hold_is_3_after_the_report() {
    let upstream = Upstream::start("--status|503=1").await;
    let line = format!("http://{} --rate 100 --duration 500ms --output json", upstream.address);
    let broken = undisturbed(&format!("{line} --expect code[503]==0 --expect error_rate>99%")).await;
    refused(&broken, 3, "expected code[503]==0, but it is 50");
    let result = broken.json();
    assert_eq!(result["expectations"][0]["holds"], false, "{result}");
    assert_eq!(result["expectations"][1]["holds"], true, "{result}");
    let held = undisturbed(&format!("{line} --expect code[503]>0 --expect errors==0")).await;
    assert_eq!((held.code, held.err.as_str()), (0, ""), "{held:?}");
}
