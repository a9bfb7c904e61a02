//! The view of a run that goes on: one line on a terminal, rewritten each second; nothing where output is piped.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use crate::run::{Totals, Watcher};
use crate::series::Series;

/// Clears a line of a terminal (ECMA-48).
const CLEAR: &str = "\r\x1b[2K";

/// The view.
pub(crate) struct Live {
    on: bool,
    intended: Option<f64>,
    whole: Duration,
}

impl Live {
    /// On where standard error is a terminal.
    pub(crate) fn new(intended: Option<f64>, whole: Duration) -> Self {
        Self {
            on: std::io::stderr().is_terminal(),
            intended,
            whole,
        }
    }

    /// Takes the line away.
    pub(crate) fn end(&self) {
        if self.on {
            eprint!("{CLEAR}");
        }
    }
}

impl Watcher for Live {
    fn second(&mut self, series: &Series, totals: &Totals) {
        let Some(row) = series.last().filter(|_| self.on) else {
            return;
        };
        let intended = self.intended.map_or("max".to_owned(), |rate| format!("{rate:.0}"));
        let mut out = std::io::stderr().lock();
        // A terminal that has gone is no reason to end.
        let _ = write!(
            out,
            "{CLEAR}{:>4}/{:.0} s  {}/{intended} per second  p50 {:.2} p99 {:.2} max {:.2} ms  {} answered, {} of them 4xx or 5xx, {} failed",
            row.second + 1,
            self.whole.as_secs_f64(),
            row.answered + row.failed,
            row.p50 as f64 / 1e3,
            row.p99 as f64 / 1e3,
            row.max as f64 / 1e3,
            totals.answered,
            totals.refused,
            totals.failed,
        );
        let _ = out.flush();
    }
}
