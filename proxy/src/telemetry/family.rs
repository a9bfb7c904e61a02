//! Metric families as values: one model behind the text and the protobuf exposition.

use hdrhistogram::Histogram;

/// What a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

/// Values of a histogram series.
#[derive(Debug, Clone)]
pub(crate) struct Distribution<'a> {
    /// Raw values, in units of `1 / scale`.
    pub(crate) values: &'a Histogram<u64>,
    /// Exact sum of the raw values.
    pub(crate) sum: u64,
    /// Raw units in one exposed unit: 1000 for microseconds shown as milliseconds.
    pub(crate) scale: f64,
}

/// Value of one series.
#[derive(Debug, Clone)]
pub(crate) enum Value<'a> {
    Number(f64),
    Distribution(Distribution<'a>),
}

/// One series.
#[derive(Debug, Clone)]
pub(crate) struct Series<'a> {
    pub(crate) labels: Vec<(&'static str, String)>,
    pub(crate) value: Value<'a>,
}

/// One family.
#[derive(Debug, Clone)]
pub(crate) struct Family<'a> {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    pub(crate) series: Vec<Series<'a>>,
}

impl<'a> Family<'a> {
    /// A family of plain numbers.
    pub(crate) fn numbers(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self {
            name,
            help,
            kind,
            series: Vec::new(),
        }
    }

    /// Adds a number.
    pub(crate) fn push(&mut self, labels: Vec<(&'static str, String)>, value: f64) {
        self.series.push(Series {
            labels,
            value: Value::Number(value),
        });
    }
}

/// Bounds of the classic buckets, in milliseconds or bytes: Istio's, and two finer ones in front so that a fast service shows.
pub(crate) const BUCKETS: [f64; 21] = [
    0.1,
    0.25,
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10000.0,
    30000.0,
    60000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// Quantiles of a summary.
pub(crate) const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

impl Distribution<'_> {
    /// Cumulative counts at [`BUCKETS`]. A bound inside one step of the HDR histogram (1% wide) counts the whole step.
    pub(crate) fn cumulative(&self) -> [u64; BUCKETS.len()] {
        let mut counts = [0; BUCKETS.len()];
        for step in self.values.iter_recorded() {
            // The lowest value of a step decides, so that a value equal to a bound is inside it.
            let value = self.values.lowest_equivalent(step.value_iterated_to()) as f64 / self.scale;
            if let Some(first) = BUCKETS.iter().position(|bound| value <= *bound) {
                counts[first] += step.count_at_value();
            }
        }
        for at in 1..counts.len() {
            counts[at] += counts[at - 1];
        }
        counts
    }
}
