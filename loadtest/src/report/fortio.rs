//! A run as fortio's result JSON, so that its viewers read it. Times are in seconds, as fortio has them.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::json::{by_code, reached};
use crate::run::Outcome;
use crate::scenario::Protocol;
use crate::schedule::Profile;
use crate::tally::Tally;

/// Percentiles that fortio's viewers show.
const PERCENTILES: [f64; 5] = [50.0, 75.0, 90.0, 99.0, 99.9];
/// Buckets of the histogram, at most.
const BUCKETS: u64 = 100;

/// The whole result.
pub(crate) fn render(outcome: &Outcome) -> Value {
    let tally = &outcome.tally;
    let settings = &outcome.settings;
    let protocol = outcome.scenario.protocol;
    let rate = settings.profile.as_ref().map(Profile::mean_rate);
    let url = outcome
        .scenario
        .targets
        .first()
        .map_or("", |target| target.url.as_str());
    let mut result = json!({
        "RunType": run_type(protocol),
        "Labels": labels(tally.unsent, tally.abandoned),
        "StartTime": humantime::format_rfc3339_nanos(outcome.started_at).to_string(),
        "RequestedQPS": rate.map_or("max".to_owned(), |rate| rate.to_string()),
        "RequestedDuration": humantime::format_duration(settings.duration).to_string().replace(' ', ""),
        "ActualQPS": reached(outcome),
        "ActualDuration": outcome.elapsed.as_nanos() as u64,
        "NumThreads": settings.connections,
        "Version": env!("CARGO_PKG_VERSION"),
        "DurationHistogram": histogram(&tally.latency, tally.answered() + tally.failed()),
        "RetCodes": codes(tally, protocol),
        "SocketCount": tally.opened,
        "BytesReceived": tally.bytes_in,
        "BytesSent": tally.bytes_out,
        "AbortOn": 0,
        "Exactly": 0,
        "Jitter": false,
        "RequestJitter": false,
        "Uniform": true,
        "NoCatchUp": false,
        "RunID": 0,
    });
    // Viewers tell by it whether HTTP was spoken.
    result[if run_type(protocol) == "HTTP" {
        "URL"
    } else {
        "Destination"
    }] = url.into();
    result
}

fn run_type(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 | Protocol::Http2 => "HTTP",
        Protocol::Grpc => "GRPC",
        Protocol::Tcp => "TCP",
    }
}

/// What viewers show beside the date. They know no sends that never happened: without a word, nobody would.
fn labels(unsent: u64, abandoned: u64) -> String {
    let mut labels = concat!("weft-load ", env!("CARGO_PKG_VERSION")).to_owned();
    for (count, what) in [(unsent, "never sent"), (abandoned, "given up in flight")] {
        if count > 0 {
            labels += &format!(", {count} {what}");
        }
    }
    labels
}

/// Answers by code, and what failed under fortio's code for that: -1, or for gRPC `ERROR`.
fn codes(tally: &Tally, protocol: Protocol) -> Map<String, Value> {
    if protocol != Protocol::Grpc {
        let mut codes = by_code(tally.codes());
        if tally.failed() > 0 {
            codes.insert("-1".to_owned(), tally.failed().into());
        }
        return codes;
    }
    let mut codes = by_code(tally.grpc_codes());
    // What went well has the name of a health check's best answer: viewers know no other.
    if let Some(well) = codes.remove("0") {
        codes.insert("SERVING".to_owned(), well);
    }
    if tally.failed() > 0 {
        codes.insert("ERROR".to_owned(), tally.failed().into());
    }
    codes
}

/// Latencies; `count` is that of the codes, from which viewers compute the share of errors.
fn histogram(histogram: &Histogram<u64>, count: u64) -> Value {
    let seconds = |microseconds: u64| microseconds as f64 / 1e6;
    let empty = histogram.is_empty();
    let percentiles = PERCENTILES.map(
        |percentile| json!({"Percentile": percentile, "Value": seconds(histogram.value_at_percentile(percentile))}),
    );
    json!({
        "Count": count,
        "Min": seconds(if empty { 0 } else { histogram.min() }),
        "Max": seconds(histogram.max()),
        "Sum": histogram.mean() / 1e6 * count as f64,
        "Avg": histogram.mean() / 1e6,
        "StdDev": histogram.stdev() / 1e6,
        "Data": buckets(histogram),
        "Percentiles": percentiles,
    })
}

/// Buckets of equal width that hold something, from the smallest latency to the largest.
fn buckets(histogram: &Histogram<u64>) -> Vec<Value> {
    let seconds = |microseconds: u64| microseconds as f64 / 1e6;
    if histogram.is_empty() {
        // Viewers read the first one without a look at how many there are.
        return vec![json!({"Start": 0.0, "End": 0.0, "Count": 0, "Percent": 0.0})];
    }
    let (min, max) = (histogram.min(), histogram.max());
    let width = ((max - min) / BUCKETS + 1).max(1);
    let mut counts = std::collections::BTreeMap::new();
    for recorded in histogram.iter_recorded() {
        let bucket = recorded.value_iterated_to().clamp(min, max).saturating_sub(min) / width;
        *counts.entry(bucket).or_default() += recorded.count_at_value();
    }
    let mut seen = 0;
    let bucket = |(bucket, count): (u64, u64)| {
        seen += count;
        let (start, end) = (min + bucket * width, (min + (bucket + 1) * width).min(max));
        let percent = seen as f64 / histogram.len() as f64 * 100.0;
        json!({"Start": seconds(start), "End": seconds(end), "Count": count, "Percent": percent})
    };
    counts.into_iter().map(bucket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::answer::Answer;
    use crate::client::{Failure, Kind, Phase};
    use crate::tally::{self, Outcome};

    fn recorded(values: &[u64]) -> Histogram<u64> {
        let mut histogram = tally::histogram();
        for value in values {
            histogram.saturating_record(*value);
        }
        histogram
    }

    #[test]
    fn buckets_have_their_own_bounds_and_do_not_reach_over_gaps() {
        let data = buckets(&recorded(&[1_000, 1_010, 500_000, 800_000]));
        let field = |name: &str| {
            data.iter()
                .map(|bucket| bucket[name].as_f64().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (field("Count"), field("Percent")),
            (vec![2.0, 1.0, 1.0], vec![50.0, 75.0, 100.0])
        );
        let (starts, ends) = (field("Start"), field("End"));
        assert_eq!(starts[0], 0.001);
        for (index, value) in [0.001, 0.5, 0.8].into_iter().enumerate() {
            assert!(starts[index] <= value && value <= ends[index] * 1.001, "{data:?}");
            assert!(ends[index] - starts[index] < 0.009, "{data:?}");
        }
        // One long request must not cost a bucket for each microsecond before it.
        assert_eq!(buckets(&recorded(&[3_000_000_000])).len(), 1);
        assert_eq!(buckets(&recorded(&[])).len(), 1, "viewers read the first bucket");
    }

    #[test]
    fn what_failed_is_a_code_of_its_own() {
        let mut tally = Tally::new();
        for result in [
            Ok((200, Some(0))),
            Ok((200, Some(14))),
            Err(Failure::new(Phase::Body, Kind::Reset)),
        ] {
            let result = result.map(|(status, grpc_status)| Answer {
                status,
                grpc_status,
                ..Answer::default()
            });
            tally.record(&Outcome {
                intended_ns: 0,
                sent_ns: 0,
                ended_ns: 1_000_000,
                bytes_out: 0,
                reused: false,
                taken_ns: 0,
                lost: 0,
                result,
            });
        }
        let codes = |protocol| Value::from(codes(&tally, protocol));
        assert_eq!(codes(Protocol::Http1), json!({"200": 2, "-1": 1}));
        assert_eq!(codes(Protocol::Grpc), json!({"SERVING": 1, "14": 1, "ERROR": 1}));
        assert_eq!(labels(0, 0), concat!("weft-load ", env!("CARGO_PKG_VERSION")));
        assert!(labels(3, 1).ends_with(", 3 never sent, 1 given up in flight"));
    }
}
