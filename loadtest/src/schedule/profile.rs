//! What a run should look like: rates over time.

use std::time::Duration;

/// How sends are spread over the time of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Arrivals {
    /// Equal distances.
    #[default]
    Constant,
    /// Independent of each other, as many users are: distances are drawn from an exponential distribution.
    Poisson,
}

/// A time during which the rate is constant or changes linearly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stage {
    /// Its length.
    pub(crate) duration: Duration,
    /// Requests per second at its start; not negative.
    pub(crate) from: f64,
    /// Requests per second at its end; not negative.
    pub(crate) to: f64,
}

impl Stage {
    /// Requests that belong into it.
    pub(super) fn requests(&self) -> f64 {
        f64::midpoint(self.from, self.to) * self.duration.as_secs_f64()
    }

    /// Requests that belong into its first `seconds`; all of them after its end.
    pub(super) fn requests_within(&self, seconds: f64) -> f64 {
        let length = self.duration.as_secs_f64();
        if seconds >= length {
            return self.requests();
        }
        let slope = (self.to - self.from) / length;
        let seconds = seconds.max(0.0);
        (self.from + slope / 2.0 * seconds) * seconds
    }

    /// The time within it by which `count` requests have been sent.
    pub(super) fn reached(&self, count: f64) -> f64 {
        // count = from·x + slope/2·x²; this form of the root stays exact where the slope is zero.
        let slope = (self.to - self.from) / self.duration.as_secs_f64();
        let root = (self.from * self.from + 2.0 * slope * count).max(0.0).sqrt();
        match self.from + root {
            sum if sum > 0.0 => (2.0 * count / sum).min(self.duration.as_secs_f64()),
            _ => 0.0,
        }
    }
}

/// What a whole run should look like.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Profile {
    /// One after another, none empty.
    pub(crate) stages: Vec<Stage>,
    /// Distribution within them.
    pub(crate) arrivals: Arrivals,
    /// Start of the random numbers; the same seed gives the same instants.
    pub(crate) seed: u64,
}

impl Profile {
    /// Time from the first to the end of the last stage; the longest that can be told where it is longer.
    pub(crate) fn duration(&self) -> Duration {
        let durations = self.stages.iter().map(|stage| stage.duration);
        durations.fold(Duration::ZERO, Duration::saturating_add)
    }

    /// Requests that it intends, Poisson's being the expectation.
    pub(crate) fn requests(&self) -> f64 {
        self.stages.iter().map(Stage::requests).sum()
    }

    /// Requests per second that it intends at `at`; 0 after its end.
    pub(crate) fn rate_at(&self, at: Duration) -> f64 {
        let mut begun = Duration::ZERO;
        for stage in &self.stages {
            if at < begun + stage.duration {
                let into = (at - begun).as_secs_f64() / stage.duration.as_secs_f64();
                return stage.from + (stage.to - stage.from) * into;
            }
            begun += stage.duration;
        }
        0.0
    }

    /// Requests per second over the whole.
    pub(crate) fn mean_rate(&self) -> f64 {
        self.requests() / self.duration().as_secs_f64()
    }
}
