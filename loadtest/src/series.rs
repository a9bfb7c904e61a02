//! in → out: beats of threads → one row a second, over all threads.
//! owns: what is known of a run while it goes on.
//! may not touch: how it is shown.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::tally::histogram_of_a_second;
use crate::worker::Beat;

/// Nanoseconds of a second.
const SECOND_NS: u128 = crate::clock::SECOND as u128;

/// A second of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// Seconds since the start, from 0.
    pub(crate) second: u32,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    /// Answers that refuse the request.
    pub(crate) refused: u64,
    /// Median, 99th percentile and maximum from the intended instant, in microseconds; timeouts count as long as they took.
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

impl Row {
    fn empty(second: u32) -> Self {
        Self {
            second,
            answered: 0,
            failed: 0,
            refused: 0,
            p50: 0,
            p99: 0,
            max: 0,
        }
    }
}

/// All seconds so far.
pub(crate) struct Series {
    threads: usize,
    rows: Vec<Row>,
    open: BTreeMap<u32, Open>,
}

/// A second that not every thread has told of.
struct Open {
    latency: Histogram<u32>,
    threads: usize,
    row: Row,
}

impl Series {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            threads,
            rows: Vec::new(),
            open: BTreeMap::new(),
        }
    }

    /// Takes a thread's second; whether a row has become whole by it.
    pub(crate) fn add(&mut self, beat: &Beat) -> bool {
        let open = self.open.entry(beat.second).or_insert_with(|| Open {
            latency: histogram_of_a_second(),
            threads: 0,
            row: Row::empty(beat.second),
        });
        open.latency
            .add(&beat.latency)
            .expect("all seconds have the same bounds");
        open.threads += 1;
        open.row.answered += beat.answered;
        open.row.failed += beat.failed;
        open.row.refused += beat.refused;
        if open.threads < self.threads {
            return false;
        }
        self.close(beat.second);
        true
    }

    /// A row for each second, in order: those in which nothing ended too, up to the end of sending and beyond it as long as
    /// anything ends. Seconds that some thread slept through are taken as they are.
    pub(crate) fn finish(mut self, sending: Duration) -> Vec<Row> {
        while let Some((&second, _)) = self.open.first_key_value() {
            self.close(second);
        }
        let known: BTreeMap<u32, Row> = self.rows.into_iter().map(|row| (row.second, row)).collect();
        let begun = u32::try_from(sending.as_nanos().div_ceil(SECOND_NS)).unwrap_or(u32::MAX);
        let last = known.values().rfind(|row| row.answered + row.failed > 0);
        let seconds = begun.max(last.map_or(1, |row| row.second + 1));
        (0..seconds)
            .map(|second| known.get(&second).cloned().unwrap_or_else(|| Row::empty(second)))
            .collect()
    }

    /// The last whole second.
    pub(crate) fn last(&self) -> Option<&Row> {
        self.rows.last()
    }

    fn close(&mut self, second: u32) {
        let Some(open) = self.open.remove(&second) else {
            return;
        };
        self.rows.push(Row {
            p50: open.latency.value_at_quantile(0.5),
            p99: open.latency.value_at_quantile(0.99),
            max: open.latency.max(),
            ..open.row
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(second: u32, latencies: &[u64]) -> Beat {
        let mut latency = histogram_of_a_second();
        for value in latencies {
            latency.saturating_record(*value);
        }
        Beat {
            thread: 0,
            second,
            so_far: crate::worker::SoFar::default(),
            latency,
            answered: latencies.len() as u64,
            failed: u64::from(!latencies.is_empty()),
            refused: 0,
        }
    }

    #[test]
    fn a_second_is_whole_when_every_thread_has_told_of_it() {
        let mut series = Series::new(2);
        assert!(!series.add(&beat(0, &[10, 20])));
        assert!(!series.add(&beat(1, &[40])));
        assert!(series.add(&beat(0, &[30])));
        let row = series.last().unwrap();
        assert_eq!(
            (row.second, row.answered, row.failed, row.p50, row.max),
            (0, 3, 2, 20, 30)
        );
        let rows = series.finish(Duration::from_secs(2));
        assert_eq!(rows.iter().map(|row| row.second).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_second_without_an_answer_is_a_row_of_zeros_unless_nothing_was_to_be_sent_any_more() {
        for (sending_ms, wanted) in [
            (4_500, vec![2, 0, 0, 1, 0]),
            (4_000, vec![2, 0, 0, 1]),
            (1_000, vec![2, 0, 0, 1]),
        ] {
            let mut series = Series::new(1);
            for (second, latencies) in [(0, &[1, 2][..]), (1, &[]), (3, &[5]), (4, &[]), (5, &[])] {
                series.add(&beat(second, latencies));
            }
            let rows = series.finish(Duration::from_millis(sending_ms));
            assert_eq!(
                rows.iter().map(|row| row.answered).collect::<Vec<_>>(),
                wanted,
                "{sending_ms}"
            );
            assert!((0..).zip(&rows).all(|(second, row)| row.second == second));
        }
    }
}
