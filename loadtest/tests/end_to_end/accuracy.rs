//! Latency counts from the intended instant, so that a stall costs what it costs.

use serde_json::Value;

use crate::process::{Upstream, load};

/// The upstream stands still for `STALL_MS` of every `PERIOD_MS`.
const STALL_MS: f64 = 400.0;
const PERIOD_MS: f64 = 2_000.0;
/// Runs until one was not disturbed by other work of the machine.
const ATTEMPTS: usize = 4;

/// Sends that are spread evenly over whole periods wait for what is left of a stall: the share of those that wait longer
/// than `x` is (STALL - x) / PERIOD.
fn truth(quantile: f64) -> f64 {
    STALL_MS - (1.0 - quantile) * PERIOD_MS
}

fn at(result: &Value, histogram: &str, name: &str) -> f64 {
    result[histogram][name].as_f64().unwrap()
}

#[tokio::test]
async fn percentiles_are_those_of_arithmetic_when_the_upstream_stalls() {
    // With four connections, most of those who wait do so without one.
    for flags in ["--connections 200", "--connections 4", "--connections 4 --http2"] {
        let upstream = Upstream::start("--stall|400ms every 2s").await;
        let mut seen = Vec::new();
        for _ in 0..ATTEMPTS {
            let line = format!(
                "http://{} --rate 250 --duration 4s --output json {flags}",
                upstream.address
            );
            let result = load(&line).await.json();
            let (p90, p99, p999) = (
                at(&result, "latency_ms", "p90"),
                at(&result, "latency_ms", "p99"),
                at(&result, "latency_ms", "p99.9"),
            );
            // Whatever else the machine does, nobody may have waited less than the stall made them.
            assert!(p90 >= truth(0.9) * 0.95, "{flags}: p90 {p90}, not {}", truth(0.9));
            assert!(p99 >= truth(0.99) * 0.95, "{flags}: p99 {p99}, not {}", truth(0.99));
            assert!(
                p999 >= truth(0.999) * 0.95,
                "{flags}: p99.9 {p999}, not {}",
                truth(0.999)
            );
            seen.push((p99 / truth(0.99), p999 / truth(0.999)));
            if p99 <= truth(0.99) * 1.05 && p999 <= truth(0.999) * 1.05 {
                break;
            }
        }
        let last = seen.last().unwrap();
        assert!(
            last.0 <= 1.05 && last.1 <= 1.05,
            "{flags}: parts of the truth: {seen:?}"
        );
    }
}
