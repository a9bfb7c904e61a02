//! Istio's standard metrics about opaque connections: counted by workers, added up, exposed.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::family::{Family, Kind};
use super::labels::{DestinationLabels, OwnLabels, Reporter, ends, security_policy};
use crate::http::flags::Flags;

/// Series at the most, of a worker between two scrapes and of all; what comes on top is counted as dropped. Labels come
/// from configuration only, so this is far above what a mesh makes.
const SERIES_MAX: usize = 8192;
/// A series that nothing was added to for this long is forgotten. Prometheus takes its return as a counter reset.
const IDLE_MAX: Duration = Duration::from_secs(60 * 60);

/// What is counted about connections. Directions are the client's: sent is what went to it (Istio).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TcpCounts {
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
}

impl TcpCounts {
    fn add(&mut self, more: &Self) {
        self.opened += more.opened;
        self.closed += more.closed;
        self.sent_bytes += more.sent_bytes;
        self.received_bytes += more.received_bytes;
    }
}

/// A part of one connection's life.
#[derive(Debug)]
pub(crate) struct TcpSample<'a> {
    pub(crate) reporter: Reporter,
    pub(crate) destination: &'a Arc<DestinationLabels>,
    pub(crate) flags: Flags,
    pub(crate) counts: TcpCounts,
    /// Why it failed, if this is the end of one that did.
    pub(crate) reason: Option<&'static str>,
}

/// The counts of one series of a worker since the last scrape.
#[derive(Debug, Clone)]
pub(crate) struct TcpCell {
    reporter: Reporter,
    destination: Arc<DestinationLabels>,
    flags: Flags,
    counts: TcpCounts,
}

/// The table of one worker, by reporter, [`DestinationLabels::id`] and flags.
#[derive(Debug, Default)]
pub(crate) struct TcpShard {
    cells: FxHashMap<(Reporter, u32, Flags), TcpCell>,
}

impl TcpShard {
    /// Counts a sample; `false` when there is no room for its series.
    pub(crate) fn observe(&mut self, sample: &TcpSample<'_>) -> bool {
        let full = self.cells.len() >= SERIES_MAX;
        let cell = match self.cells.entry((sample.reporter, sample.destination.id, sample.flags)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if full => return false,
            Entry::Vacant(entry) => entry.insert(TcpCell {
                reporter: sample.reporter,
                destination: sample.destination.clone(),
                flags: sample.flags,
                counts: TcpCounts::default(),
            }),
        };
        cell.counts.add(&sample.counts);
        true
    }

    /// Hands everything over and starts again from nothing.
    pub(crate) fn drain(&mut self) -> Vec<TcpCell> {
        self.cells.drain().map(|(_, cell)| cell).collect()
    }
}

/// Identity of a series across swaps of configuration.
type TotalKey = (Reporter, [(&'static str, Arc<str>); 11], Flags);

/// One series since the start.
#[derive(Debug)]
struct TcpTotal {
    counts: TcpCounts,
    touched: Instant,
}

/// What all workers counted together, since the proxy started.
#[derive(Debug, Default)]
pub(crate) struct TcpTotals {
    series: FxHashMap<TotalKey, TcpTotal>,
}

impl TcpTotals {
    /// Adds what one worker handed over; the result is how many series had no room.
    pub(crate) fn add(&mut self, cells: Vec<TcpCell>, now: Instant) -> u64 {
        let mut dropped = 0;
        for cell in cells {
            let key = (cell.reporter, cell.destination.pairs(), cell.flags);
            if self.series.len() >= SERIES_MAX && !self.series.contains_key(&key) {
                dropped += 1;
                continue;
            }
            let total = self.series.entry(key).or_insert_with(|| TcpTotal {
                counts: TcpCounts::default(),
                touched: now,
            });
            total.counts.add(&cell.counts);
            total.touched = now;
        }
        dropped
    }

    /// Forgets what is idle.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.series
            .retain(|_, total| now.saturating_duration_since(total.touched) < IDLE_MAX);
    }

    /// The families about connections.
    pub(crate) fn families(&self, own: &OwnLabels) -> Vec<Family<'static>> {
        let mut all: Vec<_> = self.series.iter().collect();
        all.sort_by_cached_key(|((reporter, destination, flags), _)| {
            (*reporter, destination.clone(), flags.to_string())
        });
        let family = |name, help, get: fn(&TcpCounts) -> u64| {
            let mut family = Family::numbers(name, Kind::Counter, help);
            for ((reporter, destination, flags), total) in &all {
                let mut labels = ends(own, *reporter, destination);
                labels.extend([
                    ("request_protocol", "tcp".to_owned()),
                    ("response_flags", flags.to_string()),
                    ("connection_security_policy", security_policy(*reporter).to_owned()),
                ]);
                family.push(labels, get(&total.counts) as f64);
            }
            family
        };
        vec![
            family("istio_tcp_connections_opened_total", "Connections begun.", |c| c.opened),
            family("istio_tcp_connections_closed_total", "Connections ended.", |c| c.closed),
            family("istio_tcp_sent_bytes_total", "Bytes sent to clients.", |c| c.sent_bytes),
            family("istio_tcp_received_bytes_total", "Bytes received from clients.", |c| {
                c.received_bytes
            }),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::flags::Flag;
    use crate::telemetry::labels::RawDestination;

    #[test]
    fn parts_of_a_connection_add_up_by_destination_and_flags() {
        let labels = DestinationLabels::new(RawDestination::default());
        let copy = DestinationLabels::new(RawDestination::default());
        let mut failed = Flags::NONE;
        failed.raise(Flag::Uf);
        let mut shard = TcpShard::default();
        let counts = |opened, closed, sent_bytes| TcpCounts {
            opened,
            closed,
            sent_bytes,
            received_bytes: 2,
        };
        for (destination, flags, counts) in [
            (&labels, Flags::NONE, counts(1, 0, 10)),
            (&copy, Flags::NONE, counts(0, 1, 5)),
            (&labels, failed, counts(1, 1, 0)),
        ] {
            assert!(shard.observe(&TcpSample {
                reporter: Reporter::Source,
                destination,
                flags,
                counts,
                reason: None,
            }));
        }
        let mut totals = TcpTotals::default();
        let now = Instant::now();
        assert_eq!(totals.add(shard.drain(), now), 0);
        let families = totals.families(&OwnLabels::default());
        let text = crate::telemetry::text::encode(&families);
        let value = |family: &str, flags: &str| {
            let flags = format!("response_flags=\"{flags}\"");
            let lines = text
                .lines()
                .filter(|line| line.starts_with(family) && line.contains(&flags));
            lines
                .map(|line| line.rsplit(' ').next().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            value("istio_tcp_sent_bytes_total{", "-"),
            ["15"],
            "one series for one set of labels"
        );
        assert_eq!(value("istio_tcp_connections_closed_total{", "-"), ["1"]);
        assert_eq!(value("istio_tcp_connections_opened_total{", "UF"), ["1"]);
        assert_eq!(value("istio_tcp_received_bytes_total{", "UF"), ["2"]);
        totals.expire(now + IDLE_MAX);
        assert!(
            totals
                .families(&OwnLabels::default())
                .iter()
                .all(|family| family.series.is_empty())
        );
    }
}
