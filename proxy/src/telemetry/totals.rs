//! What all workers counted together, since the proxy started. Lives on the main thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::labels::Reporter;
use super::shard::{Cell, Drained, Recorded};
use super::tcp::TcpTotals;
use crate::http::flags::Flags;

/// A series that nothing was added to for this long is forgotten. Prometheus takes its return as a counter reset.
const IDLE_MAX: Duration = Duration::from_secs(60 * 60);
/// Series kept at the most; further ones are counted as dropped. One series is some 10 KiB of histograms.
const SERIES_MAX: usize = 20_000;

/// Identity of a series across swaps of configuration: the labels themselves, not the id of one snapshot's copy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TotalKey {
    pub(crate) reporter: Reporter,
    pub(crate) destination: [(&'static str, Arc<str>); 11],
    pub(crate) code: u16,
    pub(crate) flags: Flags,
    pub(crate) grpc: bool,
    pub(crate) grpc_status: Option<u8>,
}

/// A quantity since the start.
#[derive(Debug)]
pub(crate) struct Quantity {
    pub(crate) values: Histogram<u64>,
    pub(crate) sum: u64,
}

impl Quantity {
    fn new() -> Self {
        Self {
            values: Histogram::new(2).expect("two significant digits are legal"),
            sum: 0,
        }
    }

    fn add(&mut self, recorded: &Recorded) {
        self.sum += recorded.sum;
        for step in recorded.values.iter_recorded() {
            self.values
                .record_n(step.value_iterated_to(), u64::from(step.count_at_value()))
                .expect("workers bound what they record, so the histogram can grow to it");
        }
    }
}

/// One series since the start.
#[derive(Debug)]
pub(crate) struct Total {
    pub(crate) requests: u64,
    pub(crate) duration_us: Quantity,
    pub(crate) request_bytes: Quantity,
    pub(crate) response_bytes: Quantity,
    touched: Instant,
}

/// All series.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    series: FxHashMap<TotalKey, Total>,
    /// By service and reason: weft's own view of what went wrong.
    pub(crate) failures: BTreeMap<(Arc<str>, &'static str), u64>,
    /// Of opaque connections.
    pub(crate) tcp: TcpTotals,
    pub(crate) dropped: u64,
}

impl Totals {
    /// Adds what one worker handed over.
    pub(crate) fn add(&mut self, drained: Drained, now: Instant) {
        self.dropped += drained.dropped;
        self.dropped += self.tcp.add(drained.tcp, now);
        for failure in drained.failures {
            let key = (failure.destination.service.clone(), failure.reason);
            if self.failures.len() < SERIES_MAX || self.failures.contains_key(&key) {
                *self.failures.entry(key).or_default() += failure.requests;
            }
        }
        for (key, cell) in drained.series {
            let key = TotalKey {
                reporter: key.reporter,
                destination: cell.destination.pairs(),
                code: key.code,
                flags: key.flags,
                grpc: key.grpc,
                grpc_status: key.grpc_status.checked_sub(1),
            };
            self.add_cell(key, &cell, now);
        }
    }

    fn add_cell(&mut self, key: TotalKey, cell: &Cell, now: Instant) {
        if self.series.len() >= SERIES_MAX && !self.series.contains_key(&key) {
            self.dropped += cell.requests;
            return;
        }
        let total = self.series.entry(key).or_insert_with(|| Total {
            requests: 0,
            duration_us: Quantity::new(),
            request_bytes: Quantity::new(),
            response_bytes: Quantity::new(),
            touched: now,
        });
        total.requests += cell.requests;
        total.duration_us.add(&cell.duration_us);
        total.request_bytes.add(&cell.request_bytes);
        total.response_bytes.add(&cell.response_bytes);
        total.touched = now;
    }

    /// Forgets what is idle.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.series
            .retain(|_, total| now.saturating_duration_since(total.touched) < IDLE_MAX);
        self.tcp.expire(now);
    }

    /// The series, in the order of their labels.
    pub(crate) fn sorted(&self) -> Vec<(&TotalKey, &Total)> {
        let mut all: Vec<_> = self.series.iter().collect();
        all.sort_by(|(a, _), (b, _)| {
            (a.reporter, &a.destination, a.code, a.flags.to_string(), a.grpc_status).cmp(&(
                b.reporter,
                &b.destination,
                b.code,
                b.flags.to_string(),
                b.grpc_status,
            ))
        });
        all
    }
}
