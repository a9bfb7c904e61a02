//! Latency counts from the intended instant, so that a stall costs what it costs.

use serde_json::Value;

use crate::process::{Upstream, ask, load};

/// The upstream stands still for `STALL_MS` of every `PERIOD_MS`.
const STALL_MS: f64 = 100.0;
const PERIOD_MS: f64 = 1_000.0;
/// So near to the truth is a run on a quiet machine.
const TOLERANCE: f64 = 0.05;
/// Runs until the machine was quiet: until neither generator nor upstream say that they were later than this.
const ATTEMPTS: usize = 5;
const QUIET_MS: f64 = 2.0;
/// On a machine that never was, all who waited for a stall's end may have waited for a late wake-up as well, at the upstream
/// and at the generator, and for those before them.
const LATE_FACTOR: f64 = 2.0;

/// Sends that are spread evenly over whole periods wait for what is left of a stall: the share of those that wait longer
/// than `x` is (STALL - x) / PERIOD.
fn truth(quantile: f64) -> f64 {
    STALL_MS - (1.0 - quantile) * PERIOD_MS
}

fn at(result: &Value, histogram: &str, name: &str) -> f64 {
    result[histogram][name].as_f64().unwrap()
}

/// The quietest of several runs, and how late generator and upstream say that they were at the most. That decides, and
/// never what was measured.
async fn quietest(upstream: &Upstream, line: &str) -> (Value, f64) {
    let mut best: Option<(Value, f64)> = None;
    for _ in 0..ATTEMPTS {
        ask(&upstream.admin, "POST", "/ledger/clear", "").await;
        let result = load(line).await.json();
        let own = at(&result, "pulse_ms", "max").max(at(&result, "pacing_ms", "max"));
        let late = own + at(&upstream.ledger().await, "requests", "late_highest_ms");
        if best.as_ref().is_none_or(|(_, least)| late < *least) {
            best = Some((result, late));
        }
        if late < QUIET_MS {
            break;
        }
    }
    best.unwrap()
}

#[tokio::test]
async fn percentiles_are_those_of_arithmetic_when_the_upstream_stalls() {
    let upstream = Upstream::start("--stall|100ms every 1s").await;
    // With four connections, most of those who wait do so without one. The rate has no common divisor with the period, so
    // that sends meet every part of a stall.
    for flags in ["--connections 200", "--connections 4", "--connections 4 --http2"] {
        let line = format!(
            "http://{} --rate 331 --duration 3s --output json {flags}",
            upstream.address
        );
        let (result, late) = quietest(&upstream, &line).await;
        let slack = if late < QUIET_MS { 0.0 } else { LATE_FACTOR * late };
        for (name, quantile) in [("p99", 0.99), ("p99.9", 0.999)] {
            let (found, truth) = (at(&result, "latency_ms", name), truth(quantile));
            // Whatever else the machine does, nobody has waited less than the stall made them.
            assert!(
                found >= truth * (1.0 - TOLERANCE),
                "{flags}: {name} {found}, not {truth}"
            );
            assert!(
                found <= truth * (1.0 + TOLERANCE) + slack,
                "{flags}: {name} {found}, not {truth}, late by {late}: {result}"
            );
        }
    }
}
