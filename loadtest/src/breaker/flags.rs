//! The flags of the exercise.

use std::time::Duration;

use clap::Args;

use super::fetch::check;
use super::limit::LimitOf;
use crate::flags::{ArrivalsArg, FlagError, Output, RunArgs, time};

/// Callers at once, at most.
const CALLERS_MAX: usize = 10_000;
/// Steps, at most.
const STEPS_MAX: usize = 50;
/// Longest step, and longest recovery.
const TIME_MAX: Duration = Duration::from_secs(3600);
/// Proxies, at most: each is asked four times a second.
const PROXIES_MAX: usize = 100;

/// The flags of `breaker`, as typed.
#[derive(Clone, Debug, Args)]
pub(crate) struct BreakerArgs {
    /// What is sent; when it is sent is the exercise's own.
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Callers of each step, every one on a connection of its own, each sending again as soon as it has an answer.
    #[arg(long, value_name = "N,N,…", default_value = "1,2,3,4,6,8,12,16,24,32")]
    callers: String,
    /// Length of a step, at most 1h.
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
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) expect_limit: Option<u64>,
    /// What the limit counts [default: connections, if callers speak HTTP/1.1 or TCP and the ledger counts them; else
    /// requests].
    #[arg(long, value_enum)]
    pub(super) limit: Option<LimitOf>,
    /// How long the target may take to answer all again once the load has ended, at most 1h.
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
    /// Checks them.
    ///
    /// # Errors
    /// The flag and what would be right.
    pub(crate) fn steps(&self) -> Result<Steps, FlagError> {
        let wanted = format!("must be at most {STEPS_MAX} rising numbers from 1 to {CALLERS_MAX}, for example 1,2,4,8");
        let callers: Option<Vec<usize>> = self.callers.split(',').map(|text| text.trim().parse().ok()).collect();
        let sound = |callers: &Vec<usize>| {
            (1..=STEPS_MAX).contains(&callers.len())
                && callers.iter().all(|count| (1..=CALLERS_MAX).contains(count))
                && callers.is_sorted_by(|one, next| one < next)
        };
        self.own()?;
        self.places()?;
        Ok(Steps {
            callers: callers
                .filter(sound)
                .ok_or_else(|| FlagError::value("--callers", &self.callers, wanted))?,
            length: at_most_an_hour("--step", &self.step)?,
            recovery: at_most_an_hour("--recovery", &self.recovery)?,
        })
    }

    /// Refuses what says when a run sends, or what has to hold of it.
    fn own(&self) -> Result<(), FlagError> {
        let run = &self.run;
        let contradiction = |flag, wanted| Err(FlagError::Contradiction { flag, wanted });
        if run.rate.is_some() || run.stages.is_some() || run.duration.is_some() || run.connections.is_some() {
            return contradiction(
                "--rate, --stages, --duration, --connections",
                "have no meaning here: --callers and --step say how the load rises",
            );
        }
        if run.streams.is_some() || run.arrivals != ArrivalsArg::Constant {
            return contradiction(
                "--streams, --arrivals",
                "have no meaning here: each caller has a connection of its own, and sends when it has an answer",
            );
        }
        if !matches!(run.output, Output::Text | Output::Json | Output::Html) || !run.expect.is_empty() {
            return contradiction(
                "--output, --expect",
                "must be --output text, json or html, and --expect-limit, for a breaker",
            );
        }
        Ok(())
    }

    /// Checks whom to ask.
    fn places(&self) -> Result<(), FlagError> {
        for (flag, url) in self
            .metrics
            .iter()
            .map(|url| ("--metrics", url))
            .chain(self.ledger.iter().map(|url| ("--ledger", url)))
        {
            check(url)
                .map_err(|_| FlagError::value(flag, url, "must be http://host:port, with a path for --metrics"))?;
        }
        let contradiction = |flag, wanted| Err(FlagError::Contradiction { flag, wanted });
        if self.metrics.len() > PROXIES_MAX {
            return contradiction("--metrics", "may be given at most a hundred times");
        }
        if self.ledger.is_none() && (self.expect_limit.is_some() || self.limit.is_some()) {
            return contradiction(
                "--expect-limit, --limit",
                "need the upstream's --ledger: only the upstream knows what it saw",
            );
        }
        if self.metrics.is_empty() && !self.cluster.is_empty() {
            return contradiction("--cluster", "needs --metrics: it chooses among what they count");
        }
        Ok(())
    }
}

fn at_most_an_hour(flag: &'static str, text: &str) -> Result<Duration, FlagError> {
    let time = time(flag, text)?;
    if time > TIME_MAX {
        return Err(FlagError::value(flag, text, "must be at most 1h"));
    }
    Ok(time)
}
