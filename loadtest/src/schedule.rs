//! in → out: stages of rates and a seed → the intended instants of a thread's sends, as offsets from the start.
//! owns: when a request should be sent, to the nanosecond, whatever becomes of the ones before.
//! may not touch: a clock or a socket.

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
    fn requests(&self) -> f64 {
        f64::midpoint(self.from, self.to) * self.duration.as_secs_f64()
    }

    /// The time within it by which `count` requests have been sent.
    fn reached(&self, count: f64) -> f64 {
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
    /// Time from the first to the end of the last stage.
    pub(crate) fn duration(&self) -> Duration {
        self.stages.iter().map(|stage| stage.duration).sum()
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

    /// The part of thread `index` of `threads`: together they send what the profile says, and none has to ask another.
    pub(crate) fn share(&self, index: usize, threads: usize) -> Schedule {
        Schedule {
            stages: self.stages.clone(),
            stage: 0,
            begun: 0.0,
            sent_before: 0.0,
            next: match self.arrivals {
                Arrivals::Constant => index as f64,
                Arrivals::Poisson => 0.0,
            },
            step: threads as f64,
            random: (self.arrivals == Arrivals::Poisson)
                .then(|| fastrand::Rng::with_seed(self.seed.wrapping_add((index as u64) << 32))),
        }
        .first()
    }
}

/// The intended instants of one thread, in order.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    stages: Vec<Stage>,
    /// The stage that `next` is looked for in.
    stage: usize,
    /// When it begins, in seconds.
    begun: f64,
    /// Requests of the stages before it.
    sent_before: f64,
    /// Number of the next request of the whole run, fractional where distances are random.
    next: f64,
    step: f64,
    random: Option<fastrand::Rng>,
}

impl Schedule {
    /// Random arrivals begin with a distance too: the start is not an event.
    fn first(mut self) -> Self {
        self.next += self.distance();
        self
    }

    fn distance(&mut self) -> f64 {
        match &mut self.random {
            // Time is stretched by the rate, so that one law serves constant and changing rates alike.
            Some(random) => -self.step * (1.0 - random.f64()).ln(),
            None => 0.0,
        }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        loop {
            let stage = self.stages.get(self.stage)?;
            let within = self.next - self.sent_before;
            if within < stage.requests() {
                let at = self.begun + stage.reached(within);
                self.next += match self.random {
                    Some(_) => self.distance(),
                    None => self.step,
                };
                return Some(Duration::from_secs_f64(at));
            }
            self.sent_before += stage.requests();
            self.begun += stage.duration.as_secs_f64();
            self.stage += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(stages: &[(u64, f64, f64)], arrivals: Arrivals) -> Profile {
        let stages = stages
            .iter()
            .map(|&(seconds, from, to)| Stage {
                duration: Duration::from_secs(seconds),
                from,
                to,
            })
            .collect();
        Profile {
            stages,
            arrivals,
            seed: 7,
        }
    }

    fn all(profile: &Profile, threads: usize) -> Vec<Duration> {
        let mut all: Vec<Duration> = (0..threads).flat_map(|index| profile.share(index, threads)).collect();
        all.sort();
        all
    }

    #[test]
    fn a_constant_rate_has_equal_distances_over_all_threads() {
        for threads in [1, 2, 3] {
            let sends = all(&profile(&[(2, 500.0, 500.0)], Arrivals::Constant), threads);
            assert_eq!(sends.len(), 1000, "{threads} threads");
            for (index, at) in sends.iter().enumerate() {
                let wanted = index as f64 * 0.002;
                assert!(
                    (at.as_secs_f64() - wanted).abs() < 1e-8,
                    "{threads} threads: send {index} at {at:?}"
                );
            }
        }
    }

    #[test]
    fn a_ramp_sends_what_lies_under_its_line() {
        let sends = all(&profile(&[(10, 0.0, 100.0)], Arrivals::Constant), 2);
        assert_eq!(sends.len(), 500);
        let until = |seconds: f64| sends.iter().filter(|at| at.as_secs_f64() < seconds).count();
        assert_eq!((until(2.0), until(5.0), until(10.1)), (20, 125, 500));
        let falling = all(&profile(&[(10, 100.0, 0.0)], Arrivals::Constant), 1);
        assert_eq!(falling.iter().filter(|at| at.as_secs_f64() < 5.0).count(), 375);
    }

    #[test]
    fn the_intended_rate_is_known_at_every_instant() {
        let profile = profile(&[(10, 0.0, 100.0), (5, 20.0, 20.0)], Arrivals::Constant);
        for (at_ms, wanted) in [(0, 0.0), (5_000, 50.0), (10_000, 20.0), (14_999, 20.0), (15_000, 0.0)] {
            let rate = profile.rate_at(Duration::from_millis(at_ms));
            assert!((rate - wanted).abs() < 1e-9, "{at_ms} ms: {rate}");
        }
    }

    #[test]
    fn stages_follow_each_other_without_a_gap_or_an_overlap() {
        let sends = all(
            &profile(&[(1, 10.0, 10.0), (1, 0.0, 0.0), (1, 20.0, 20.0)], Arrivals::Constant),
            1,
        );
        let in_second = |second: u64| sends.iter().filter(|at| at.as_secs() == second).count();
        assert_eq!((in_second(0), in_second(1), in_second(2), sends.len()), (10, 0, 20, 30));
    }

    #[test]
    fn poisson_arrivals_have_the_mean_and_the_variance_of_their_kind() {
        let profile = profile(&[(200, 500.0, 500.0)], Arrivals::Poisson);
        let sends = all(&profile, 2);
        let mut per_second = vec![0f64; 200];
        for at in &sends {
            per_second[at.as_secs() as usize] += 1.0;
        }
        let mean = per_second.iter().sum::<f64>() / 200.0;
        let variance = per_second.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 199.0;
        assert!((mean - 500.0).abs() < 8.0, "mean {mean}");
        assert!((350.0..650.0).contains(&variance), "variance {variance}");
        assert_eq!(sends, all(&profile, 2), "the same seed gives the same instants");
    }
}
