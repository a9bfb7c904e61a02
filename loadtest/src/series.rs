//! in → out: beats of threads → one row a second, over all threads.
//! owns: what is known of a run while it goes on.
//! may not touch: how it is shown.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::tally::histogram_of_a_second;
use crate::worker::Beat;

/// A second of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// Seconds since the start, from 0.
    pub(crate) second: u32,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    /// Answers that refuse the request.
    pub(crate) refused: u64,
    /// Median, 99th percentile and maximum from the intended instant, in microseconds.
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
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
            row: Row {
                second: beat.second,
                answered: 0,
                failed: 0,
                refused: 0,
                p50: 0,
                p99: 0,
                max: 0,
            },
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

    /// Rows in order; seconds that some thread slept through are taken as they are.
    pub(crate) fn finish(mut self) -> Vec<Row> {
        while let Some((&second, _)) = self.open.first_key_value() {
            self.close(second);
        }
        self.rows.sort_by_key(|row| row.second);
        // The last one is the rest after the last whole second; with nothing in it, it says nothing.
        self.rows.retain(|row| row.answered + row.failed > 0 || row.second == 0);
        self.rows
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
            failed: 1,
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
        assert_eq!(series.finish().iter().map(|row| row.second).collect::<Vec<_>>(), [0, 1]);
    }
}
