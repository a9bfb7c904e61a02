//! A run as rows of seconds, for spreadsheets (RFC 4180).

use std::fmt::Write;

use crate::run::Outcome;

/// A header line and a line for each second.
pub(crate) fn render(outcome: &Outcome) -> String {
    let mut text = "second,answered,refused,failed,p50_ms,p99_ms,max_ms\r\n".to_owned();
    for row in &outcome.series {
        write!(
            text,
            "{},{},{},{},{:.3},{:.3},{:.3}\r\n",
            row.second,
            row.answered,
            row.refused,
            row.failed,
            row.p50 as f64 / 1e3,
            row.p99 as f64 / 1e3,
            row.max as f64 / 1e3
        )
        .expect("writing to a string cannot fail");
    }
    text
}
