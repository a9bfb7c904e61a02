//! What the reader sees while it plays: bars where there is a terminal, plain lines where there is none.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::report::Output;

/// Redraw of what moves by itself.
const TICK: Duration = Duration::from_millis(120);
/// Width of a bar, in characters.
const BAR: &str = "  {bar:28} {pos:>5}/{len}  {msg}";
const SPINNER: &str = "  {spinner} {msg}";

/// Where lines and bars go.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    output: Output,
    is_live: bool,
}

/// Something that moves while it lasts.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

impl View {
    /// Bars are drawn on standard error, and only if a person sees it.
    pub(super) fn new(output: Output) -> Self {
        Self {
            output,
            is_live: std::io::stderr().is_terminal(),
        }
    }

    /// A line. With JSON on standard output, lines for people go to standard error.
    pub(super) fn say(&self, line: &str) {
        // A reader that has gone is no reason to stop.
        _ = match self.output {
            Output::Text => {
                let mut out = std::io::stdout().lock();
                writeln!(out, "{line}").and_then(|()| out.flush())
            }
            Output::Json => writeln!(std::io::stderr().lock(), "{line}"),
        };
    }

    /// A bar of `length` steps.
    pub(super) fn bar(&self, length: usize) -> Progress {
        self.progress(Some(length), BAR)
    }

    /// Something that takes as long as it takes.
    pub(super) fn spinner(&self, message: &str) -> Progress {
        let progress = self.progress(None, SPINNER);
        progress.tell(message);
        progress.0.enable_steady_tick(TICK);
        progress
    }

    fn progress(&self, length: Option<usize>, template: &str) -> Progress {
        let target = if self.is_live {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(length.map(|length| length as u64), target);
        // The templates are constants, so one that does not parse shows in the first run; a plain bar is no loss.
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Progress(bar)
    }
}

impl Progress {
    pub(super) fn at(&self, position: usize) {
        self.0.set_position(position as u64);
    }

    pub(super) fn tell(&self, message: &str) {
        self.0.set_message(message.to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
