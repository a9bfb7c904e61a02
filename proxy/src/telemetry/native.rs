//! Prometheus' protobuf exposition with native histograms, for scrapers that ask for it
//! (`application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited`).

use prost::Message;

use super::family::{Distribution, Family, Kind, QUANTILES, Series, Value};

/// Media type of [`encode`]'s result.
pub(crate) const CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// Buckets grow by 2^(1/16), some 4%: coarser than the HDR histogram behind them, finer than any classic bucket.
const SCHEMA: i32 = 4;

/// All families, each with its length in front.
pub(crate) fn encode(families: &[Family<'_>]) -> Vec<u8> {
    families
        .iter()
        .flat_map(|family| message(family).encode_length_delimited_to_vec())
        .collect()
}

// The messages of io.prometheus.client, as far as they are written here. Field numbers are those of the Prometheus
// client model (metrics.proto).

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(int32, tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Number>,
    #[prost(message, optional, tag = "4")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Number {
    #[prost(double, tag = "1")]
    value: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "2")]
    sum: f64,
    #[prost(message, repeated, tag = "3")]
    quantile: Vec<Quantile>,
}

#[derive(Clone, PartialEq, Message)]
struct Quantile {
    #[prost(double, tag = "1")]
    quantile: f64,
    #[prost(double, tag = "2")]
    value: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "2")]
    sum: f64,
    #[prost(sint32, tag = "5")]
    schema: i32,
    #[prost(double, tag = "6")]
    zero_threshold: f64,
    #[prost(uint64, tag = "7")]
    zero_count: u64,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<Span>,
    #[prost(sint64, repeated, tag = "13")]
    positive_delta: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

fn message(family: &Family<'_>) -> MetricFamily {
    let kind = match family.kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
        Kind::Summary => 2,
        Kind::Histogram => 4,
    };
    MetricFamily {
        name: family.name.to_owned(),
        help: family.help.to_owned(),
        kind,
        metric: family.series.iter().map(|series| metric(family.kind, series)).collect(),
    }
}

fn metric(kind: Kind, series: &Series<'_>) -> Metric {
    let label = series.labels.iter().map(|(name, value)| LabelPair {
        name: (*name).to_owned(),
        value: value.clone(),
    });
    let mut metric = Metric {
        label: label.collect(),
        ..Metric::default()
    };
    match (&series.value, kind) {
        (Value::Number(value), Kind::Counter) => metric.counter = Some(Number { value: *value }),
        (Value::Number(value), Kind::Gauge | Kind::Histogram | Kind::Summary) => {
            metric.gauge = Some(Number { value: *value });
        }
        (Value::Distribution(values), Kind::Summary) => metric.summary = Some(summary(values)),
        (Value::Distribution(values), Kind::Histogram | Kind::Counter | Kind::Gauge) => {
            metric.histogram = Some(histogram(values));
        }
    }
    metric
}

fn summary(values: &Distribution<'_>) -> Summary {
    let quantile = |quantile: f64| Quantile {
        quantile,
        value: values.values.value_at_quantile(quantile) as f64 / values.scale,
    };
    Summary {
        count: values.values.len(),
        sum: values.sum as f64 / values.scale,
        quantile: QUANTILES.into_iter().map(quantile).collect(),
    }
}

/// Buckets of a native histogram: spans of neighbours, counts as differences to the bucket before.
fn histogram(values: &Distribution<'_>) -> Histogram {
    let mut histogram = Histogram {
        count: values.values.len(),
        sum: values.sum as f64 / values.scale,
        schema: SCHEMA,
        // Below a microsecond, or no byte at all.
        zero_threshold: 1e-9,
        ..Histogram::default()
    };
    let (mut last_index, mut last_count) = (None::<i32>, 0_i64);
    for (index, count) in buckets(values, &mut histogram.zero_count) {
        match (last_index, histogram.positive_span.last_mut()) {
            (Some(last), Some(span)) if index == last + 1 => span.length += 1,
            (last, _) => {
                let offset = last.map_or(index, |last| index - last - 1);
                histogram.positive_span.push(Span { offset, length: 1 });
            }
        }
        histogram.positive_delta.push(count - last_count);
        (last_index, last_count) = (Some(index), count);
    }
    histogram
}

/// Index and count of each bucket that has any, in order. Bucket `i` holds values in (base^(i-1), base^i].
fn buckets(values: &Distribution<'_>, zeros: &mut u64) -> Vec<(i32, i64)> {
    let mut found: Vec<(i32, i64)> = Vec::new();
    for step in values.values.iter_recorded() {
        let value = values.values.lowest_equivalent(step.value_iterated_to()) as f64 / values.scale;
        if value <= 0.0 {
            *zeros += step.count_at_value();
            continue;
        }
        let index = (value.log2() * f64::from(1 << SCHEMA)).ceil() as i32;
        let count = i64::try_from(step.count_at_value()).unwrap_or(i64::MAX);
        match found.last_mut() {
            Some((last, sum)) if *last == index => *sum += count,
            _ => found.push((index, count)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_buckets_share_a_span_and_counts_are_differences() {
        let mut values = hdrhistogram::Histogram::<u64>::new(2).unwrap();
        for (value, count) in [(0, 2), (1000, 3), (1040, 1), (4000, 5)] {
            values.record_n(value, count).unwrap();
        }
        let native = histogram(&Distribution {
            values: &values,
            sum: 24_040,
            scale: 1000.0,
        });
        assert_eq!((native.count, native.zero_count), (11, 2));
        // 1.0 is the upper bound of bucket 0, 1.04 lies in bucket 1, 4.0 (16 × 2) in bucket 32.
        assert_eq!(
            native.positive_span,
            [Span { offset: 0, length: 2 }, Span { offset: 30, length: 1 }]
        );
        assert_eq!(native.positive_delta, [3, -2, 4]);
    }
}
