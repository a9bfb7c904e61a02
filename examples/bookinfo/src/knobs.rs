//! What makes an application slow or faulty on purpose, turned while it runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Where they are turned: `POST /admin/knobs?delay_ms=20&fail=true`.
pub(crate) const PATH: &str = "/admin/knobs";
/// No reply is held back longer.
const DELAY_MAX_MS: u64 = 60_000;

/// Relaxed throughout: each is a value of its own, and a request that comes meanwhile may see either.
#[derive(Debug, Default)]
pub(crate) struct Knobs {
    delay_ms: AtomicU64,
    fails: AtomicBool,
}

impl Knobs {
    /// Turns what the query names; says what does not parse.
    pub(crate) fn turn(&self, query: &str) -> Result<(), String> {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let refused = || format!("{name}: cannot be {value:?}");
            match name {
                "delay_ms" => {
                    let delay: u64 = value.parse().map_err(|_| refused())?;
                    self.delay_ms.store(delay.min(DELAY_MAX_MS), Relaxed);
                }
                "fail" => self.fails.store(value.parse().map_err(|_| refused())?, Relaxed),
                _ => return Err(format!("there is no knob {name:?}")),
            }
        }
        Ok(())
    }

    /// How long a reply is held back.
    pub(crate) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms.load(Relaxed))
    }

    /// Whether every reply is a 500.
    pub(crate) fn fails(&self) -> bool {
        self.fails.load(Relaxed)
    }

    pub(crate) fn text(&self) -> String {
        format!("delay_ms={}&fail={}\n", self.delay_ms.load(Relaxed), self.fails())
    }
}
