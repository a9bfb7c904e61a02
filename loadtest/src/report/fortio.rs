//! A run as fortio's result JSON, so that its viewers read it. Times are in seconds, as fortio has them.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::json::{by_code, reached};
use crate::run::Outcome;

/// Percentiles that fortio's viewers show.
const PERCENTILES: [f64; 5] = [50.0, 75.0, 90.0, 99.0, 99.9];
/// Buckets of the histogram at the most.
const BUCKETS: u64 = 100;

/// The whole result.
pub(crate) fn render(outcome: &Outcome) -> Value {
    let tally = &outcome.tally;
    let rate = outcome
        .settings
        .profile
        .as_ref()
        .map(crate::schedule::Profile::mean_rate);
    json!({
        "RunType": "HTTP",
        "Labels": concat!("weft-load ", env!("CARGO_PKG_VERSION")),
        "StartTime": humantime::format_rfc3339_nanos(outcome.started_at).to_string(),
        "RequestedQPS": rate.map_or("max".to_owned(), |rate| rate.to_string()),
        "RequestedDuration": humantime::format_duration(outcome.settings.duration).to_string(),
        "ActualQPS": reached(outcome),
        "ActualDuration": outcome.elapsed.as_nanos() as u64,
        "NumThreads": outcome.settings.connections,
        "Version": env!("CARGO_PKG_VERSION"),
        "DurationHistogram": histogram(&tally.latency),
        "RetCodes": by_code(tally.codes()),
        "URL": outcome.scenario.targets.first().map_or("", |target| target.url.as_str()),
        "SocketCount": tally.opened,
        "BytesReceived": tally.bytes_in,
        "BytesSent": tally.bytes_out,
        "AbortOn": 0,
        "Exactly": 0,
        "Jitter": false,
        "Uniform": true,
        "RunID": 0,
    })
}

fn histogram(histogram: &Histogram<u64>) -> Value {
    let seconds = |microseconds: u64| microseconds as f64 / 1e6;
    let count = histogram.len();
    let mut seen = 0;
    let mut start = seconds(histogram.min());
    let width = (histogram.max().saturating_sub(histogram.min()) / BUCKETS).max(1);
    let mut data = Vec::new();
    for bucket in histogram
        .iter_linear(width)
        .filter(|bucket| bucket.count_since_last_iteration() > 0)
    {
        let here = bucket.count_since_last_iteration();
        seen += here;
        let end = seconds(bucket.value_iterated_to().min(histogram.max()));
        data.push(json!({
            "Start": start, "End": end, "Count": here, "Percent": seen as f64 / count.max(1) as f64 * 100.0,
        }));
        start = end;
    }
    let percentiles = PERCENTILES.map(
        |percentile| json!({"Percentile": percentile, "Value": seconds(histogram.value_at_percentile(percentile))}),
    );
    json!({
        "Count": count,
        "Min": seconds(if count == 0 { 0 } else { histogram.min() }),
        "Max": seconds(histogram.max()),
        "Sum": histogram.mean() / 1e6 * count as f64,
        "Avg": histogram.mean() / 1e6,
        "StdDev": histogram.stdev() / 1e6,
        "Data": data,
        "Percentiles": percentiles,
    })
}
