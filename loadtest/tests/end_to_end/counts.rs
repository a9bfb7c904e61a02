//! What the generator counts is what the upstream counts.

use serde_json::{Value, json};

use crate::process::{Upstream, load};

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[tokio::test]
async fn every_protocol_counts_what_the_ledger_counts() {
    for (scheme, flags) in [
        ("http", ""),
        ("http", "--http2 --streams 5"),
        ("grpc", ""),
        ("http", "--rate max"),
        ("http", "--rate max --http2 --streams 3"),
    ] {
        let upstream = Upstream::start("").await;
        let line = format!(
            "{scheme}://{} --duration 1s --connections 6 --output json {flags}",
            upstream.address
        );
        let line = if flags.contains("max") {
            line
        } else {
            line + " --rate 300"
        };
        let ended = load(&line).await;
        let (result, ledger) = (ended.json(), upstream.ledger().await);
        let total = number(&ledger["requests"]["total"]);
        assert!(total > 0, "{line}");
        assert_eq!(number(&result["requests"]["answered"]), total, "{line}: {ledger}");
        assert_eq!(number(&result["codes"]["200"]), total, "{line}");
        assert_eq!(result["requests"]["failed"], 0, "{line}");
        assert_eq!(result["requests"]["refused"], 0, "{line}");
        let opened = number(&result["connections"]["opened"]);
        // One more of each origin: whether it is there at all is looked at first.
        assert_eq!(number(&ledger["connections"]["accepted"]), opened + 1, "{line}");
        assert_eq!(number(&result["connections"]["reused"]), total - opened, "{line}");
        assert!(opened <= 6, "{line}: {opened} opened");
        if scheme == "grpc" {
            assert_eq!(number(&result["grpc_codes"]["0"]), total);
            assert_eq!(
                ledger["requests"]["by_route"]["POST /grpc.health.v1.Health/Check"],
                total
            );
        }
    }
}

#[tokio::test]
async fn an_echo_of_tcp_comes_back_whole_over_connections_that_stay() {
    let upstream = Upstream::start("--tcp").await;
    let long = "x".repeat(100_000);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &long).unwrap();
    let result = load(&format!(
        "tcp://{} --rate 100 --duration 1s -c 3 --output json --data @{}",
        upstream.address,
        file.path().display()
    ))
    .await
    .json();
    let answered = number(&result["requests"]["answered"]);
    assert_eq!((answered, number(&result["requests"]["failed"])), (100, 0), "{result}");
    assert_eq!(number(&result["bytes"]["in"]), answered * long.len() as u64);
    assert!(number(&result["connections"]["opened"]) <= 3);
}

#[tokio::test]
async fn statuses_resets_and_early_closes_are_counted_as_what_they_are() {
    for http2 in ["", "--http2"] {
        let upstream =
            Upstream::start("--status|503=30|--status|200=70|--resets|5|--early-closes|5|--body-bytes|2000").await;
        let result = load(&format!(
            "http://{} --rate 500 --duration 2s -c 8 --output json {http2}",
            upstream.address
        ))
        .await
        .json();
        let ledger = upstream.ledger().await;
        let (resets, early) = (&ledger["requests"]["resets"], &ledger["requests"]["early_closes"]);
        assert!(number(resets) > 10 && number(early) > 10, "{ledger}");
        assert_eq!(
            &result["errors"]["phases"]["first_byte"], resets,
            "{http2}: {}",
            result["errors"]
        );
        assert_eq!(
            &result["errors"]["phases"]["body"], early,
            "{http2}: {}",
            result["errors"]
        );
        let (answered, failed) = (&result["requests"]["answered"], &result["requests"]["failed"]);
        assert_eq!(number(answered) + number(failed), number(&ledger["requests"]["total"]));
        assert_eq!(number(failed), number(resets) + number(early));
        assert!(number(&result["codes"]["503"]) > 100, "{}", result["codes"]);
    }
}

#[tokio::test]
async fn connections_that_end_after_some_requests_cost_none() {
    for http2 in ["", "--http2 --streams 4"] {
        let upstream = Upstream::start("--requests-per-connection|7").await;
        let result = load(&format!(
            "http://{} --rate 400 --duration 1s -c 4 --output json {http2}",
            upstream.address
        ))
        .await
        .json();
        let ledger = upstream.ledger().await;
        let (answered, unsent) = (&result["requests"]["answered"], &result["requests"]["unsent"]);
        // On a busy machine some may find no connection before the end; nobody else may be without an answer.
        assert_eq!(number(answered) + number(unsent), 400, "{http2}: {result}");
        assert_eq!(&ledger["requests"]["total"], answered, "{http2}");
        assert!(
            number(&result["connections"]["opened"]) >= 40,
            "{http2}: {}",
            result["connections"]
        );
    }
}

#[tokio::test]
async fn an_open_loop_never_exceeds_its_connections_and_a_send_that_waits_counts_from_its_instant() {
    let upstream = Upstream::start("--latency|100ms").await;
    // 4 connections carry at most 40 a second: of 200 most are never sent, and all have waited.
    let result = load(&format!(
        "http://{} --rate 100 --duration 2s --connections 4 --output json",
        upstream.address
    ))
    .await
    .json();
    let ledger = upstream.ledger().await;
    assert!(number(&ledger["connections"]["open_highest"]) <= 4, "{ledger}");
    assert!(number(&ledger["requests"]["in_flight_highest"]) <= 4, "{ledger}");
    let sum = ["answered", "failed", "unsent"].map(|name| number(&result["requests"][name]));
    assert_eq!(
        sum.iter().sum::<u64>(),
        200,
        "every intended send is accounted for: {}",
        result["requests"]
    );
    assert_eq!(number(&ledger["requests"]["total"]), sum[0]);
    assert!(sum[2] >= 110, "{}", result["requests"]);
    // The last instant that was served lies a second or so behind its turn; unsent ones have waited as long.
    assert!(
        result["latency_ms"]["p90"].as_f64().unwrap() > 900.0,
        "{}",
        result["latency_ms"]
    );
    assert!(result["latency_ms"]["p90"].as_f64() > result["service_time_ms"]["p50"].as_f64());
}

#[tokio::test]
async fn requests_that_timed_out_have_waited_until_then() {
    let upstream = Upstream::start("--latency|1h").await;
    let result = load(&format!(
        "http://{} --rate 20 --timeout 300ms --duration 1s --output json",
        upstream.address
    ))
    .await
    .json();
    assert_eq!(result["requests"]["failed"], 20, "{result}");
    assert!(
        result["latency_ms"]["p50"].as_f64() >= Some(299.0),
        "{}",
        result["latency_ms"]
    );
    let row = &result["series"][0];
    assert!(row["p50_ms"].as_f64() >= Some(290.0), "{row}");
}

#[tokio::test]
async fn a_run_lasts_as_long_as_it_was_meant_to_and_the_wait_for_answers_is_not_of_its_rate() {
    for (latency, rate, seconds, reached_at_most, lasts_at_least) in [
        // The second step sends nothing, and belongs to the run.
        ("0ms", "40,0", 2, 20.0, 2.0),
        ("0ms", "1", 1, 1.0, 1.0),
        // Most answers come after the end of sending, whose rate they are not.
        ("700ms", "10", 1, 10.0, 1.6),
    ] {
        let upstream = Upstream::start(&format!("--latency|{latency}")).await;
        let result = load(&format!(
            "http://{} --rate {rate} --duration {seconds}s --output json",
            upstream.address
        ))
        .await
        .json();
        let reached = result["rate"]["reached"].as_f64().unwrap();
        assert!(reached <= reached_at_most, "{rate}: {reached}");
        assert!(reached >= reached_at_most * 0.9, "{rate}: {reached}");
        assert!(
            result["duration_s"].as_f64() >= Some(lasts_at_least),
            "{rate}: {result}"
        );
        assert_eq!(result["requests"]["unsent"], 0);
        assert!(
            result["series"].as_array().unwrap().len() >= seconds,
            "{rate}: {}",
            result["series"]
        );
    }
}

#[tokio::test]
async fn urls_get_their_shares() {
    let upstream = Upstream::start("").await;
    let at = &upstream.address;
    let result = load(&format!(
        "3:http://{at}/a http://{at}/b --rate 1000 --duration 1s --output json"
    ))
    .await
    .json();
    let routes = upstream.ledger().await["requests"]["by_route"].clone();
    let (a, b) = (number(&routes["GET /a"]), number(&routes["GET /b"]));
    assert_eq!(a + b, number(&result["requests"]["answered"]));
    assert!((700..800).contains(&a), "{routes}");
}

#[tokio::test]
async fn a_pinned_host_a_method_a_body_and_headers_arrive() {
    let upstream = Upstream::start("").await;
    let port = upstream.address.rsplit_once(':').unwrap().1;
    let result = load(&format!(
        "http://nowhere.invalid:{port}/p?q=1 --resolve nowhere.invalid:{port}:127.0.0.1 -X PUT --data abc \
         -H x-weft-caller:jason --rate 50 --duration 1s --output json"
    ))
    .await
    .json();
    let ledger = upstream.ledger().await;
    assert_eq!(result["codes"], json!({"200": 50}));
    assert_eq!(
        ledger["requests"]["by_caller_and_route"],
        json!([{"caller": "jason", "route": "PUT /p", "count": 50}])
    );
    assert_eq!(number(&result["bytes"]["out"]) % 50, 0);
}
