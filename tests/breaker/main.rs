//! The circuit-breaker exercise against real proxies: what the load tester counts, the proxy counts too, and the upstream's
//! ledger never shows more than the limit.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail as the test does")]

mod place;

use place::{OVERFLOW, Place, ask, weft};
use serde_json::{Value, json};
use weft_testkit::eventually::{eventually, in_time};

/// Exercises that the machine may disturb, one after another.
const ATTEMPTS_MAX: usize = 20;

/// What became of an exercise: its exit code, its findings, and what the proxy counted meanwhile.
type Ended = (Option<i32>, Value, u64);

/// Runs the exercise, and runs it again while other work of the machine kept the generator from its
/// work, which it says itself.
async fn exercise(place: &Place, flags: &str) -> Ended {
    let mut ended = once(place, flags).await;
    for _ in 0..ATTEMPTS_MAX {
        if ended.0 != Some(8) {
            break;
        }
        ended = once(place, flags).await;
    }
    ended
}

async fn once(place: &Place, flags: &str) -> Ended {
    let before = place.counted(OVERFLOW).await;
    let output = weft(&format!(
        "load breaker http://127.0.0.1:{}/ --metrics http://127.0.0.1:{}/stats/prometheus --cluster slow --ledger http://{} \
         --output json {flags}",
        place.gateway, place.metrics, place.ledger
    ))
    .output();
    let output = in_time("the exercise", output).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let findings = serde_json::from_str(&text);
    let findings =
        findings.unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), findings, place.counted(OVERFLOW).await - before)
}

fn sum(findings: &Value, of: impl Fn(&Value) -> u64) -> u64 {
    findings["steps"].as_array().unwrap().iter().map(of).sum()
}

#[tokio::test]
async fn refusals_of_the_seed_breaker_are_the_proxys_own_count_and_its_upstream_never_sees_two_at_once() {
    let place = Place::open("20ms", |text| text).await;
    let (code, findings, counted) = exercise(&place, "--callers 1,3,6 --step 1s --expect-limit 1").await;
    assert_eq!((code, &findings["held"]), (Some(0), &json!(true)), "{findings}");
    let refused = sum(&findings, |step| step["refused"]["UO"].as_u64().unwrap_or_default());
    assert!(refused > 100, "{findings}");
    assert_eq!(refused, counted, "{findings}");
    assert_eq!(findings["highest_at_once"], 1, "{findings}");
    assert_eq!(
        findings["opens_at_callers"], 3,
        "one is served and one waits: {findings}"
    );
    // Every request became one thing: served, refused, or an error that is named.
    for step in findings["steps"].as_array().unwrap() {
        let all = step["served"].as_u64().unwrap()
            + step["refused"]["UO"].as_u64().unwrap_or_default()
            + step["other_errors"].as_u64().unwrap()
            + step["failed"].as_u64().unwrap();
        assert_eq!(step["requests"], all, "{step}");
    }
    // Refusing costs far less than serving.
    let last = findings["steps"].as_array().unwrap().last().unwrap();
    let median = |of: &str| last[of]["p50"].as_f64().unwrap();
    assert!(median("refused_ms") < median("served_ms") / 2.0, "{last}");
}

#[tokio::test]
async fn a_limit_of_eight_connections_is_reached_and_never_passed() {
    let place = Place::open("20ms", |text| {
        text.replace("maxConnections: 1", "maxConnections: 8")
            .replace("        maxRequestsPerConnection: 1\n", "")
    })
    .await;
    let (code, findings, _) = exercise(&place, "--callers 4,8,16 --step 1s --expect-limit 8").await;
    assert_eq!((code, &findings["highest_at_once"]), (Some(0), &json!(8)), "{findings}");
    let (code, findings, _) = exercise(&place, "--callers 16 --step 500ms --expect-limit 9").await;
    assert_eq!(code, Some(3), "{findings}");
    assert!(
        findings["broken"].to_string().contains("never saw more than 8"),
        "{findings}"
    );
    let (code, findings, _) = exercise(&place, "--callers 16 --step 500ms --expect-limit 7").await;
    assert_eq!(code, Some(3), "{findings}");
    assert!(
        findings["broken"]
            .to_string()
            .contains("the upstream saw 8 connections at once"),
        "{findings}"
    );
}

#[tokio::test]
async fn ejections_are_told_with_their_times_and_recovery_is_measured() {
    let place = Place::open("5ms", |text| {
        text.replace("interval: 1s", "interval: 100ms")
            .replace("baseEjectionTime: 10s", "baseEjectionTime: 1s")
    })
    .await;
    ask(&place.ledger, "PUT", "/behaviour", r#"{"statuses": {"503": 1}}"#)
        .await
        .unwrap();
    let heal = async {
        eventually("an ejection", async || {
            let ejected = place.counted("envoy_cluster_outlier_detection_ejections_active{").await;
            (ejected > 0).then_some(())
        })
        .await;
        ask(&place.ledger, "PUT", "/behaviour", r#"{"latency": "5ms"}"#)
            .await
            .unwrap();
    };
    let ((code, findings, _), ()) = tokio::join!(once(&place, "--callers 1 --step 500ms --recovery 30s"), heal);
    // A machine that is busy with other things makes it doubtful, but not other than it is.
    assert!(matches!(code, Some(0 | 8)), "{findings}");
    let first = &findings["ejections"][0];
    assert!(
        first["ejected"] == 1 && first["more"] == 1 && first["at_s"].as_f64().unwrap() < 10.0,
        "{findings}"
    );
    assert!(first["cluster"].as_str().unwrap().contains("slow"), "{findings}");
    assert!(findings["recovery_s"].as_f64().unwrap() > 0.0, "{findings}");
}
