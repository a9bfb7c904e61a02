//! How runs end before their time, and how a generator that was stopped confesses it.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::process::{Upstream, finish, start};

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[tokio::test]
async fn an_interrupt_ends_early_with_a_report_and_130() {
    for (flags, wanted) in [("--rate 200", Signal::INT), ("--rate max", Signal::TERM)] {
        let upstream = Upstream::start("--latency|5ms").await;
        let child = start(&format!(
            "http://{} --duration 10m -c 4 --output json {flags}",
            upstream.address
        ));
        upstream.busy().await;
        signal(&child, wanted);
        let ended = finish(child).await;
        let result = ended.json();
        assert_eq!(ended.code, 130, "{ended:?}");
        assert_eq!(result["interrupted"], true);
        assert_eq!(
            result["requests"]["answered"],
            upstream.ledger().await["requests"]["total"],
            "{result}"
        );
    }
}

#[tokio::test]
async fn an_exercise_can_be_ended_in_the_middle_of_a_step() {
    let upstream = Upstream::start("").await;
    let child = start(&format!(
        "breaker http://{} --callers 2,4 --step 10m --ledger http://{} --output json",
        upstream.address, upstream.admin
    ));
    upstream.busy().await;
    signal(&child, Signal::INT);
    let ended = finish(child).await;
    let findings = ended.json();
    assert_eq!((ended.code, ended.err.as_str()), (130, ""), "{findings}");
    assert_eq!(findings["steps"].as_array().unwrap().len(), 1, "{findings}");
    // The second caller may not have come to its connection yet.
    let connections = &findings["steps"][0]["upstream_connections_highest"];
    assert!((1..=2).contains(&connections.as_u64().unwrap()), "{findings}");
}

#[tokio::test]
async fn one_interrupt_is_enough_where_nothing_is_ever_answered() {
    let upstream = Upstream::start("--latency|1h").await;
    let child = start(&format!(
        "http://{} --rate 50 --timeout 1h --duration 10m -c 1 --output json",
        upstream.address
    ));
    upstream.busy().await;
    let asked = tokio::time::Instant::now();
    signal(&child, Signal::INT);
    let ended = finish(child).await;
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    assert_eq!((ended.code, ended.err.as_str()), (130, ""), "{ended:?}");
    let result = ended.json();
    assert_eq!(result["requests"]["abandoned"], 1, "{result}");
    assert!(result["rate"]["reached"].as_f64() > Some(0.0), "it was sent: {result}");
    // Who was given up after two seconds had waited for them.
    assert!(result["latency_ms"]["max"].as_f64() > Some(1_900.0), "{result}");
}

#[tokio::test]
async fn a_run_that_only_fails_in_one_way_ends_early_and_says_so() {
    let upstream = Upstream::start("--resets|100").await;
    let ended = finish(start(&format!(
        "http://{} --rate 100 --duration 10m -c 4 --output json",
        upstream.address
    )))
    .await;
    let result = ended.json();
    assert_eq!(ended.code, 1, "{ended:?}");
    let because = result["ended_early"].as_str().unwrap();
    assert!(because.contains("reset in phase first_byte"), "{because}");
    assert!(result["notes"].to_string().contains(because), "{result}");
    assert_eq!(result["interrupted"], false);
}

#[tokio::test]
async fn a_second_interrupt_leaves_what_is_in_flight() {
    let upstream = Upstream::start("--latency|1h").await;
    let child = start(&format!(
        "http://{} --rate 50 --timeout 1h --duration 10m -c 2 --output json",
        upstream.address
    ));
    upstream.busy().await;
    signal(&child, Signal::INT);
    signal(&child, Signal::TERM);
    let ended = finish(child).await;
    assert_eq!(ended.code, 130, "{ended:?}");
    assert!(
        ended.json()["requests"]["abandoned"].as_u64().unwrap() >= 1,
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_generator_that_was_stopped_marks_its_run_invalid() {
    let upstream = Upstream::start("").await;
    let child = start(&format!(
        "http://{} --rate 100 --duration 4s --output json",
        upstream.address
    ));
    upstream.busy().await;
    signal(&child, Signal::STOP);
    // The stop itself has to last: it is what is measured.
    tokio::time::sleep(Duration::from_secs(2)).await;
    signal(&child, Signal::CONT);
    let ended = finish(child).await;
    let result = ended.json();
    assert_eq!((ended.code, &result["valid"]), (8, &false.into()), "{ended:?}");
    let because = result["invalid_because"].to_string();
    assert!(because.contains("stopped or starved"), "{because}");
    // Sends of that time have waited for it, although the upstream answered each at once.
    assert!(
        result["latency_ms"]["max"].as_f64().unwrap() > 1_800.0,
        "{}",
        result["latency_ms"]
    );
}

#[tokio::test]
async fn an_upstream_can_be_changed_while_it_serves() {
    let upstream = Upstream::start("").await;
    let refused = upstream.behave(&serde_json::json!({"latency": "soon"})).await;
    assert!(refused.contains("latency") && refused.contains("must be"), "{refused}");
    let shown = upstream.behave(&serde_json::json!({"statuses": {"418": 1}})).await;
    assert!(shown.contains("418"), "{shown}");
    let ended = finish(start(&format!(
        "http://{} --rate 50 --duration 400ms --output json",
        upstream.address
    )))
    .await;
    assert_eq!(ended.json()["codes"], serde_json::json!({"418": 20}));
    upstream.behave(&serde_json::json!({"refuse": true})).await;
    let ended = finish(start(&format!("http://{}", upstream.address))).await;
    assert_eq!(ended.code, 5, "{ended:?}");
}
