//! A run as an HdrHistogram log (version 1.3 of its format), which its plotter and others' tools read.

use std::io;
use std::time::Duration;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::run::Outcome;

/// Two intervals, each of the whole run: `latency` and `service_time`, in microseconds.
pub(crate) fn render(outcome: &Outcome) -> Result<String, io::Error> {
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let failed = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment("[Histogram log format version 1.3]")
        .add_comment(concat!("weft-load ", env!("CARGO_PKG_VERSION")))
        .with_start_time(outcome.started_at)
        .with_base_time(outcome.started_at)
        .with_max_value_divisor(1000.0);
    let mut log = builder
        .begin_log_with(&mut bytes, &mut serializer)
        .map_err(|error| failed(&error))?;
    for (name, histogram) in [
        ("latency", &outcome.tally.latency),
        ("service_time", &outcome.tally.service_time),
    ] {
        let tag = Tag::new(name).expect("the names have no comma, space or line end");
        log.write_histogram(histogram, Duration::ZERO, outcome.elapsed, Some(tag))
            .map_err(|error| failed(&format!("{error:?}")))?;
    }
    drop(log);
    String::from_utf8(bytes).map_err(|error| failed(&error))
}
