//! What one worker counts by itself.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use hdrhistogram::Histogram;
use rustc_hash::FxHashMap;

use super::labels::{DestinationLabels, Reporter};
use super::tcp::{TcpCell, TcpSample, TcpShard};
use crate::http::flags::Flags;

/// A worker keeps at most that many series between two scrapes; what comes on top is counted in
/// `weft_telemetry_dropped_samples_total`. Labels come from configuration only, so this is far above what a mesh makes.
const SERIES_MAX: usize = 8192;
/// Two significant digits: values up to 1% apart share a bucket.
const SIGNIFICANT_DIGITS: u8 = 2;
/// Larger values are counted as this one: 19 hours in microseconds, 64 GiB in bytes. Bounds the size of a histogram.
const VALUE_MAX: u64 = 1 << 36;

/// What tells the series of one worker apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SeriesKey {
    pub(crate) reporter: Reporter,
    /// [`DestinationLabels::id`].
    pub(crate) destination: u32,
    /// 0 when no response was produced.
    pub(crate) code: u16,
    pub(crate) flags: Flags,
    pub(crate) grpc: bool,
    /// `grpc-status` plus one; 0 is none.
    pub(crate) grpc_status: u8,
}

/// One ended request.
#[derive(Debug)]
pub(crate) struct Sample<'a> {
    pub(crate) reporter: Reporter,
    pub(crate) destination: &'a Arc<DestinationLabels>,
    pub(crate) code: u16,
    pub(crate) flags: Flags,
    pub(crate) reason: Option<&'static str>,
    pub(crate) grpc: bool,
    pub(crate) grpc_status: Option<u8>,
    pub(crate) duration_us: u64,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
}

/// Values of one quantity: an HDR histogram for the shape, an exact sum beside it.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) values: Histogram<u32>,
    pub(crate) sum: u64,
}

impl Recorded {
    fn new() -> Self {
        // The histogram grows with what it sees; its only failure is a digit count above five.
        let values = Histogram::new(SIGNIFICANT_DIGITS).expect("two significant digits are legal");
        Self { values, sum: 0 }
    }

    fn record(&mut self, value: u64) {
        self.sum += value;
        // Not `saturating_record`: that one clamps to what the histogram can hold now instead of letting it grow.
        self.values
            .record(value.min(VALUE_MAX))
            .expect("a histogram that may grow takes any value below its bound");
    }
}

/// The counts of one series since the last scrape.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) destination: Arc<DestinationLabels>,
    pub(crate) requests: u64,
    pub(crate) duration_us: Recorded,
    pub(crate) request_bytes: Recorded,
    pub(crate) response_bytes: Recorded,
}

/// How often requests to a destination failed for one reason.
#[derive(Debug, Clone)]
pub(crate) struct FailureCount {
    pub(crate) destination: Arc<DestinationLabels>,
    pub(crate) reason: &'static str,
    pub(crate) requests: u64,
}

/// What a worker hands over at a scrape.
#[derive(Debug, Default)]
pub(crate) struct Drained {
    pub(crate) series: Vec<(SeriesKey, Cell)>,
    pub(crate) failures: Vec<FailureCount>,
    pub(crate) tcp: Vec<TcpCell>,
    pub(crate) dropped: u64,
}

/// The table of one worker. Touched by its thread only.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    cells: FxHashMap<SeriesKey, Box<Cell>>,
    /// By destination and reason. Reasons are a closed set, so that these are few.
    failures: FxHashMap<(u32, &'static str), FailureCount>,
    tcp: TcpShard,
    dropped: u64,
}

impl Shard {
    /// Counts one ended request.
    pub(crate) fn observe(&mut self, sample: &Sample<'_>) {
        let key = SeriesKey {
            reporter: sample.reporter,
            destination: sample.destination.id,
            code: sample.code,
            flags: sample.flags,
            grpc: sample.grpc,
            grpc_status: sample.grpc_status.map_or(0, |status| status.saturating_add(1)),
        };
        let full = self.cells.len() >= SERIES_MAX;
        let cell = match self.cells.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if full => {
                self.dropped += 1;
                return;
            }
            Entry::Vacant(entry) => entry.insert(Box::new(Cell {
                destination: sample.destination.clone(),
                requests: 0,
                duration_us: Recorded::new(),
                request_bytes: Recorded::new(),
                response_bytes: Recorded::new(),
            })),
        };
        cell.requests += 1;
        cell.duration_us.record(sample.duration_us);
        cell.request_bytes.record(sample.request_bytes);
        cell.response_bytes.record(sample.response_bytes);
        if let Some(reason) = sample.reason {
            self.count_failure(sample.destination, reason);
        }
    }

    /// Counts a part of an opaque connection's life.
    pub(crate) fn observe_tcp(&mut self, sample: &TcpSample<'_>) {
        if !self.tcp.observe(sample) {
            self.dropped += 1;
            return;
        }
        if let Some(reason) = sample.reason {
            self.count_failure(sample.destination, reason);
        }
    }

    fn count_failure(&mut self, destination: &Arc<DestinationLabels>, reason: &'static str) {
        let count = self
            .failures
            .entry((destination.id, reason))
            .or_insert_with(|| FailureCount {
                destination: destination.clone(),
                reason,
                requests: 0,
            });
        count.requests += 1;
    }

    /// Hands everything over and starts again from nothing, which also ends series that are idle.
    pub(crate) fn drain(&mut self) -> Drained {
        Drained {
            series: self.cells.drain().map(|(key, cell)| (key, *cell)).collect(),
            failures: self.failures.drain().map(|(_, count)| count).collect(),
            tcp: self.tcp.drain(),
            dropped: std::mem::take(&mut self.dropped),
        }
    }
}
