//! The flags of the exercise.

use std::time::Duration;

use clap::Args;

use crate::flags::{FlagError, Output, RunArgs, time};

/// Callers at once at the most.
const CALLERS_MAX: usize = 10_000;
/// Steps at the most.
const STEPS_MAX: usize = 50;

/// The flags of `breaker`, as typed.
#[derive(Clone, Debug, Args)]
pub(crate) struct BreakerArgs {
    /// What is sent; --rate, --connections, --stages and --duration are the exercise's own.
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Callers of each step, every one on a connection of its own, each sending again as soon as it has an answer.
    #[arg(long, value_name = "N,N,…", default_value = "1,2,3,4,6,8,12,16,24,32")]
    callers: String,
    /// Length of a step.
    #[arg(long, value_name = "TIME", default_value = "2s")]
    step: String,
    /// Metrics of a proxy on the way (http://ADDR/stats/prometheus); may be given several times.
    #[arg(long, value_name = "URL")]
    pub(super) metrics: Vec<String>,
    /// Look only at clusters whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(super) cluster: String,
    /// Admin port of the upstream (`weft load serve`), for its ledger: http://ADDR
    #[arg(long, value_name = "URL")]
    pub(super) ledger: Option<String>,
    /// The limit that is configured: the upstream must never have seen more at once, and nearly that many at some time.
    #[arg(long, value_name = "N")]
    pub(super) expect_limit: Option<u64>,
    /// How long the target may take to answer all again once the load has ended.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    recovery: String,
}

/// The flags, checked.
#[derive(Clone, Debug)]
pub(crate) struct Steps {
    pub(super) callers: Vec<usize>,
    pub(super) length: Duration,
    pub(super) recovery: Duration,
}

impl BreakerArgs {
    pub(crate) fn steps(&self) -> Result<Steps, FlagError> {
        let wanted = format!("must be at most {STEPS_MAX} rising numbers from 1 to {CALLERS_MAX}, for example 1,2,4,8");
        let callers: Option<Vec<usize>> = self.callers.split(',').map(|text| text.trim().parse().ok()).collect();
        let sound = |callers: &Vec<usize>| {
            (1..=STEPS_MAX).contains(&callers.len())
                && callers.iter().all(|count| (1..=CALLERS_MAX).contains(count))
                && callers.is_sorted_by(|one, next| one < next)
        };
        if self.run.rate.is_some()
            || self.run.stages.is_some()
            || self.run.duration.is_some()
            || self.run.connections.is_some()
        {
            return Err(FlagError::Contradiction {
                flag: "--rate, --stages, --duration, --connections",
                wanted: "have no meaning here: --callers and --step say how the load rises",
            });
        }
        if !matches!(self.run.output, Output::Text | Output::Json | Output::Html) || !self.run.expect.is_empty() {
            return Err(FlagError::Contradiction {
                flag: "--output, --expect",
                wanted: "must be --output text, json or html, and --expect-limit, for a breaker",
            });
        }
        if self.expect_limit.is_some() && self.ledger.is_none() {
            return Err(FlagError::Contradiction {
                flag: "--expect-limit",
                wanted: "needs the upstream's --ledger: only the upstream knows what it saw",
            });
        }
        Ok(Steps {
            callers: callers
                .filter(sound)
                .ok_or_else(|| FlagError::value("--callers", &self.callers, wanted))?,
            length: time("--step", &self.step)?,
            recovery: time("--recovery", &self.recovery)?,
        })
    }
}
