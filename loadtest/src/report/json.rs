//! A run as one JSON object. The fields are documented in README.md and stay.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::run::Outcome;
use crate::series::Row;

/// Percentiles of every report, with their names.
pub(crate) const PERCENTILES: [(&str, f64); 6] = [
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// The whole result.
pub(crate) fn render(outcome: &Outcome) -> Value {
    let tally = &outcome.tally;
    json!({
        "schema": 1,
        "tool": concat!("weft-load ", env!("CARGO_PKG_VERSION")),
        "inputs": inputs(outcome),
        "valid": outcome.verdict.invalid_because.is_empty(),
        "invalid_because": outcome.verdict.invalid_because,
        "notes": outcome.verdict.notes,
        "interrupted": outcome.interrupted,
        "ended_early": outcome.ended_early,
        "started_at": humantime::format_rfc3339_millis(outcome.started_at).to_string(),
        "duration_s": outcome.elapsed.as_secs_f64(),
        "rate": {"intended": intended_rate(outcome), "reached": reached(outcome)},
        "requests": {
            "answered": tally.answered(), "failed": tally.failed(), "unsent": tally.unsent, "abandoned": tally.abandoned,
            "refused": tally.refused, "answered_errors": tally.answered_errors,
        },
        "latency_ms": quantiles(&tally.latency),
        "service_time_ms": quantiles(&tally.service_time),
        "pacing_ms": quantiles(&tally.pacing),
        "pulse_ms": quantiles(&tally.pulse),
        "codes": by_code(tally.codes()),
        "grpc_codes": by_code(tally.grpc_codes()),
        "errors": errors(outcome),
        "bytes": {"in": tally.bytes_in, "out": tally.bytes_out},
        "connections": {"opened": tally.opened, "reused": tally.reused, "lost": tally.lost},
        "mesh": {"flags": tally.flags, "reasons": tally.reasons, "refusal_ms": quantiles(&tally.refusals)},
        "cpu": {
            "us_per_request": outcome.cpu.as_secs_f64() * 1e6 / (tally.answered() + tally.failed()).max(1) as f64,
            "share": outcome.cpu_sending.div_duration_f64(outcome.sending),
        },
        "series": outcome.series.iter().map(row).collect::<Vec<_>>(),
    })
}

/// Counts under their status.
pub(super) fn by_code(codes: impl Iterator<Item = (u16, u64)>) -> Map<String, Value> {
    codes.map(|(code, count)| (code.to_string(), count.into())).collect()
}

fn inputs(outcome: &Outcome) -> Value {
    let settings = &outcome.settings;
    let targets = &outcome.scenario.targets;
    json!({
        "urls": targets.iter().map(|target| json!({"url": target.url, "weight": target.weight})).collect::<Vec<_>>(),
        "protocol": outcome.scenario.protocol.name(),
        "streams": outcome.scenario.streams,
        "loop": if settings.profile.is_some() { "open" } else { "closed" },
        "duration_s": settings.duration.as_secs_f64(),
        "connections": settings.connections,
        "threads": settings.threads,
        "timeout_s": settings.timeout.as_secs_f64(),
        "seed": settings.seed,
    })
}

/// Requests per second that were meant; `null` where as many as possible were.
fn intended_rate(outcome: &Outcome) -> Option<f64> {
    outcome
        .settings
        .profile
        .as_ref()
        .map(crate::schedule::Profile::mean_rate)
}

/// Requests per second over the time of sending: the wait for the last answers does not count.
pub(crate) fn reached(outcome: &Outcome) -> f64 {
    outcome.tally.in_time as f64 / outcome.sending.as_secs_f64()
}

/// Milliseconds by percentile.
fn quantiles(histogram: &Histogram<u64>) -> Value {
    let milliseconds = |microseconds: u64| microseconds as f64 / 1e3;
    let mut object: Map<String, Value> = PERCENTILES
        .iter()
        .map(|(name, quantile)| {
            (
                (*name).to_owned(),
                milliseconds(histogram.value_at_quantile(*quantile)).into(),
            )
        })
        .collect();
    object.insert("max".to_owned(), milliseconds(histogram.max()).into());
    object.insert("mean".to_owned(), (histogram.mean() / 1e3).into());
    object.into()
}

fn errors(outcome: &Outcome) -> Value {
    let mut phases = Map::new();
    let mut kinds = Map::new();
    for (phase, kind, count) in outcome.tally.errors() {
        let so_far = phases.get(phase.name()).and_then(Value::as_u64).unwrap_or_default();
        phases.insert(phase.name().to_owned(), (so_far + count).into());
        if count > 0 {
            kinds.insert(format!("{}.{}", phase.name(), kind.name()), count.into());
        }
    }
    json!({"total": outcome.tally.failed(), "phases": phases, "kinds": kinds})
}

fn row(row: &Row) -> Value {
    json!({
        "second": row.second, "answered": row.answered, "failed": row.failed, "refused": row.refused,
        "p50_ms": row.p50 as f64 / 1e3, "p99_ms": row.p99 as f64 / 1e3, "max_ms": row.max as f64 / 1e3,
    })
}
