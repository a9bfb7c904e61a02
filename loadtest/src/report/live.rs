//! The view of a run that goes on, on a terminal, drawn anew each second; nothing where output is piped.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use rustix::termios::tcgetwinsize;

use crate::run::{Totals, Watcher};
use crate::schedule::Profile;
use crate::series::{Row, Series};

/// Half of the second that a row stands for.
const HALF_A_SECOND: Duration = Duration::from_millis(500);
/// Columns of the bar where there is room.
const BAR: usize = 40;
/// Columns of a terminal that does not say how many it has.
const COLUMNS: usize = 80;

/// The view.
pub(crate) struct Live {
    /// `None` where nobody looks.
    screen: Option<Screen>,
    /// `None` for a closed loop.
    intended: Option<Profile>,
    /// Seconds of the whole run.
    seconds: u64,
}

impl Live {
    /// On where standard error is a terminal that can be drawn on.
    pub(crate) fn new(intended: Option<Profile>, whole: Duration) -> Self {
        let able = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        Self {
            screen: (able && io::stderr().is_terminal()).then(Screen::default),
            intended,
            seconds: whole.as_secs_f64().ceil().max(1.0) as u64,
        }
    }

    /// Takes the view away.
    pub(crate) fn end(&mut self) {
        if let Some(mut screen) = self.screen.take() {
            screen.show(columns(), &[]);
        }
    }
}

impl Watcher for Live {
    fn second(&mut self, series: &Series, totals: &Totals) {
        let (Some(screen), Some(row)) = (&mut self.screen, series.last()) else {
            return;
        };
        let middle = Duration::from_secs(u64::from(row.second)) + HALF_A_SECOND;
        let intended = self.intended.as_ref().map(|profile| profile.rate_at(middle));
        let columns = columns();
        let mut lines = vec![bar(u64::from(row.second) + 1, self.seconds, columns)];
        lines.extend(text(row, intended, totals));
        screen.show(columns, &lines);
    }
}

/// Columns of the terminal as it is now: people change it.
fn columns() -> usize {
    let size = tcgetwinsize(io::stderr());
    size.ok().map_or(COLUMNS, |size| usize::from(size.ws_col)).max(1)
}

/// The lines on a terminal that are ours.
#[derive(Default)]
struct Screen {
    /// Their lengths as they were drawn.
    lengths: Vec<usize>,
}

impl Screen {
    fn show(&mut self, columns: usize, lines: &[String]) {
        let drawn = self.frame(columns, lines);
        // A terminal that is gone is no reason to end a run.
        let _ = io::stderr().write_all(drawn.as_bytes());
    }

    /// What draws `lines` over those from before. None is wider than the terminal: it would go on in the next row.
    fn frame(&mut self, columns: usize, lines: &[String]) -> String {
        // Where the terminal has become narrower, each old line has become several rows.
        let rows: usize = self.lengths.iter().map(|length| length.div_ceil(columns).max(1)).sum();
        // Row by row: terminals keep what a whole screen held when it is cleared at once.
        let drawn = "\r\x1b[K".to_owned() + &"\x1b[A\x1b[K".repeat(rows.saturating_sub(1));
        // The last column stays free: behind it, terminals differ about where the cursor is.
        let lines: Vec<String> = lines.iter().map(|line| cut(line, columns - 1)).collect();
        self.lengths = lines.iter().map(|line| line.chars().count()).collect();
        drawn + &lines.join("\n")
    }
}

fn cut(line: &str, columns: usize) -> String {
    if line.chars().count() <= columns {
        return line.to_owned();
    }
    let kept: String = line.chars().take(columns.saturating_sub(1)).collect();
    if columns > 0 { kept + "…" } else { kept }
}

fn bar(done: u64, whole: u64, columns: usize) -> String {
    let words = format!(" {done}/{whole} s");
    let length = BAR.min(columns.saturating_sub(words.len() + 1));
    let full = (length as u64 * done.min(whole) / whole) as usize;
    "█".repeat(full) + &"░".repeat(length - full) + &words
}

/// The second that has passed, and what has come together since the start.
fn text(row: &Row, intended: Option<f64>, totals: &Totals) -> [String; 5] {
    let milliseconds = |microseconds: u64| microseconds as f64 / 1e3;
    let intended = intended.map_or("as many as possible".to_owned(), |rate| format!("{rate:.0}"));
    let codes = totals.codes();
    let codes: Vec<String> = codes.iter().map(|(code, count)| format!("{code} × {count}")).collect();
    let errors = totals.errors().filter(|(_, count)| *count > 0);
    let errors: Vec<String> = errors
        .map(|(phase, count)| format!("{} × {count}", phase.name()))
        .collect();
    let or_none = |words: Vec<String>| match words.is_empty() {
        true => "none".to_owned(),
        false => words.join(", "),
    };
    [
        format!(
            "rate          {} per second, {intended} intended",
            row.answered + row.failed
        ),
        format!(
            "milliseconds  p50 {:.2}, p99 {:.2}, max {:.2}",
            milliseconds(row.p50),
            milliseconds(row.p99),
            milliseconds(row.max)
        ),
        format!("codes         {}", or_none(codes)),
        format!("errors        {}", or_none(errors)),
        format!("connections   {} opened", totals.opened()),
    ]
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
        let text = text(&row, Some(100.0), &Totals::default()).join("\n");
        for words in [
            "100 per second, 100 intended",
            "p50 1.50, p99 20.00, max 30.00",
            "errors        none",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn no_line_reaches_the_last_column() {
        for columns in [1, 2, 10, 40, 80, 200] {
            let lines = [bar(3, 5, columns), "x".repeat(100), "codes".to_owned()];
            let mut screen = Screen::default();
            screen.frame(columns, &lines);
            assert_eq!(screen.lengths.len(), 3);
            let longest = *screen.lengths.iter().max().unwrap();
            assert!(longest < columns, "{columns}: {:?}", screen.lengths);
        }
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(bar(3, 5, 80), "█".repeat(24) + &"░".repeat(16) + " 3/5 s");
        assert_eq!(bar(9, 5, 11), "████ 9/5 s");
    }

    #[test]
    fn what_was_drawn_goes_away_even_where_the_terminal_has_become_narrower() {
        let mut screen = Screen::default();
        let lines = ["x".repeat(70), "y".repeat(10)];
        let above = "\x1b[A\x1b[K";
        assert_eq!(screen.frame(80, &lines), format!("\r\x1b[K{}\n{}", lines[0], lines[1]));
        assert_eq!(screen.frame(80, &lines).matches(above).count(), 1);
        assert_eq!(
            screen.frame(40, &[]).matches(above).count(),
            2,
            "70 columns are two rows"
        );
        assert_eq!(screen.frame(40, &[]), "\r\x1b[K");
    }
}
