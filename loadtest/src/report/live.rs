//! The view of a run that goes on, on a terminal, drawn anew each second; nothing where output is piped.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::run::{Totals, Watcher};
use crate::schedule::Profile;
use crate::series::{Row, Series};

/// Half of the second that a row stands for.
const HALF_A_SECOND: Duration = Duration::from_millis(500);

/// The view.
pub(crate) struct Live {
    bar: ProgressBar,
    /// `None` for a closed loop.
    intended: Option<Profile>,
}

impl Live {
    /// On where standard error is a terminal.
    pub(crate) fn new(intended: Option<Profile>, whole: Duration) -> Self {
        let bar = ProgressBar::with_draw_target(Some(whole.as_secs().max(1)), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} s\n{msg}").expect("the template is a constant");
        bar.set_style(style);
        Self { bar, intended }
    }

    /// Takes the view away.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watcher for Live {
    fn second(&mut self, series: &Series, totals: &Totals) {
        let Some(row) = series.last().filter(|_| !self.bar.is_hidden()) else {
            return;
        };
        let middle = Duration::from_secs(u64::from(row.second)) + HALF_A_SECOND;
        let intended = self.intended.as_ref().map(|profile| profile.rate_at(middle));
        self.bar.set_position(u64::from(row.second) + 1);
        self.bar.set_message(text(row, intended, totals));
    }
}

/// The second that has passed, and what has come together since the start.
fn text(row: &Row, intended: Option<f64>, totals: &Totals) -> String {
    let milliseconds = |microseconds: u64| microseconds as f64 / 1e3;
    let intended = intended.map_or("as many as possible".to_owned(), |rate| format!("{rate:.0}"));
    let codes: Vec<String> = totals
        .codes()
        .iter()
        .map(|(code, count)| format!("{code} × {count}"))
        .collect();
    let errors: Vec<String> = totals
        .errors()
        .filter(|(_, count)| *count > 0)
        .map(|(phase, count)| format!("{} × {count}", phase.name()))
        .collect();
    let or_none = |words: Vec<String>| {
        if words.is_empty() {
            "none".to_owned()
        } else {
            words.join(", ")
        }
    };
    format!(
        "rate          {} per second, {intended} intended\n\
         milliseconds  p50 {:.2}, p99 {:.2}, max {:.2}\n\
         codes         {}\n\
         errors        {}\n\
         connections   {} opened",
        row.answered + row.failed,
        milliseconds(row.p50),
        milliseconds(row.p99),
        milliseconds(row.max),
        or_none(codes),
        or_none(errors),
        totals.opened(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_says_what_was_meant_what_came_and_how_long_it_took() {
        let row = Row {
            second: 3,
            answered: 98,
            failed: 2,
            refused: 5,
            p50: 1_500,
            p99: 20_000,
            max: 30_000,
        };
        let text = text(&row, Some(100.0), &Totals::default());
        for words in [
            "100 per second, 100 intended",
            "p50 1.50, p99 20.00, max 30.00",
            "errors        none",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}
