//! The intended instants of threads.

use std::time::Duration;

use super::order::{Order, turns};
use super::profile::{Arrivals, Profile, Stage};

/// Sends that are listed one by one when a run ends without them; beyond that, they are counted by slices of time.
const LISTED_MAX: u64 = 1_000_000;
/// Slices of what is left then: each is told by its middle, to a ten-thousandth.
const SLICES: u32 = 5_000;

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
    order: Order,
}

impl Schedule {
    /// Tells `each` of all instants that are left before `end`, with the number of sends at each. It takes bounded time,
    /// however many they are: the first million are exact; later ones are told by the middles of short slices of time, their
    /// number being exact where arrivals are constant and the expectation where they are random.
    pub(crate) fn rest(mut self, end: Duration, mut each: impl FnMut(Duration, u64)) {
        let mut last = Duration::ZERO;
        for _ in 0..LISTED_MAX {
            match self.next() {
                Some(at) if at < end => {
                    each(at, 1);
                    last = at;
                }
                _ => return,
            }
        }
        let slice = end.saturating_sub(last) / SLICES;
        let mut told = 0;
        for number in 1..=SLICES {
            // The division has a rest, which is the last slice's.
            let upto = if number == SLICES { end } else { last + slice * number };
            let count = self.left_before(upto.as_secs_f64());
            if count > told {
                each(upto - slice / 2, count - told);
                told = count;
            }
        }
    }

    /// How many of this thread's sends belong before `seconds`, from `next` on.
    fn left_before(&self, seconds: f64) -> u64 {
        let mut begun = 0.0;
        let mut sent = 0.0;
        for stage in &self.stages {
            sent += stage.requests_within(seconds - begun);
            begun += stage.duration.as_secs_f64();
        }
        match &self.order {
            Order::Turns(turns) => turns.left_before(sent.ceil() as u64),
            Order::Random { step, .. } => ((sent - self.next) / step).ceil().max(0.0) as u64,
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
                self.next = self.order.after(self.next);
                return Some(Duration::from_secs_f64(at));
            }
            self.sent_before += stage.requests();
            self.begun += stage.duration.as_secs_f64();
            self.stage += 1;
        }
    }
}

impl Profile {
    /// The parts of threads of which thread `i` may have `lanes[i]` requests in flight: each sends in proportion, together
    /// they send what the profile says, and none has to ask another.
    ///
    /// Constant arrivals are dealt out in turns, each thread's being spread evenly. Random ones are drawn by each thread for
    /// itself: the sum of independent Poisson processes is one.
    pub(crate) fn shares(&self, lanes: &[usize]) -> Vec<Schedule> {
        let all = lanes.iter().sum::<usize>() as f64;
        let random = |index: usize| Order::Random {
            random: fastrand::Rng::with_seed(self.seed.wrapping_add((index as u64) << 32)),
            step: all / lanes[index] as f64,
        };
        let orders: Vec<Order> = match self.arrivals {
            Arrivals::Constant => turns(lanes).into_iter().map(Order::Turns).collect(),
            Arrivals::Poisson => (0..lanes.len()).map(random).collect(),
        };
        let schedule = |mut order: Order| Schedule {
            stages: self.stages.clone(),
            stage: 0,
            begun: 0.0,
            sent_before: 0.0,
            next: order.after(0.0),
            order,
        };
        orders.into_iter().map(schedule).collect()
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
        let mut all: Vec<Duration> = profile.shares(&vec![1; threads]).into_iter().flatten().collect();
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
    fn threads_send_in_proportion_to_their_lanes_and_each_at_even_distances() {
        let profile = profile(&[(1, 300.0, 300.0)], Arrivals::Constant);
        let shares: Vec<Vec<Duration>> = profile.shares(&[4, 2]).into_iter().map(Iterator::collect).collect();
        assert_eq!((shares[0].len(), shares[1].len()), (200, 100));
        for (sends, most_ms) in [(&shares[0], 7), (&shares[1], 11)] {
            let widest = sends.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            assert!(widest < Duration::from_millis(most_ms), "{widest:?}");
        }
        let poisson = Profile {
            arrivals: Arrivals::Poisson,
            stages: vec![Stage {
                duration: Duration::from_secs(100),
                ..profile.stages[0]
            }],
            ..profile
        };
        let counts: Vec<usize> = poisson.shares(&[4, 2]).into_iter().map(Iterator::count).collect();
        assert!(
            counts[0].abs_diff(20_000) < 600 && counts[1].abs_diff(10_000) < 400,
            "{counts:?}"
        );
    }

    #[test]
    fn what_is_left_is_counted_exactly_however_much_it_is() {
        // Three million sends take both ways: one by one, and by slices.
        let stages = [(2, 1e6, 1e6), (1, 0.0, 0.0), (1, 0.0, 2e6)];
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let profile = profile(&stages, arrivals);
            let (mut count, mut sum, mut last) = (0, 0.0, Duration::ZERO);
            for mut share in profile.shares(&[3, 2]) {
                share.next();
                share.rest(Duration::from_millis(3_500), |at, sends| {
                    count += sends;
                    sum += at.as_secs_f64() * sends as f64;
                    last = last.max(at);
                });
            }
            // Up to the middle of the last stage: 2 000 000, nothing, and a quarter of 1 000 000, without each thread's first.
            let (wanted, tolerated): (u64, u64) = match arrivals {
                Arrivals::Constant => (2_250_000 - 2, 0),
                Arrivals::Poisson => (2_250_000, 6_000),
            };
            assert!(count.abs_diff(wanted) <= tolerated, "{arrivals:?}: {count}");
            // The last stage's lie at 3 + x with a density of 2x, up to a half: at 3 1/3 in the mean.
            let mean = (2e6 * 1.0 + 0.25e6 * (3.0 + 1.0 / 3.0)) / 2.25e6;
            assert!(
                (sum / count as f64 - mean).abs() < 0.005,
                "{arrivals:?}: {}",
                sum / count as f64
            );
            assert!(
                last < Duration::from_millis(3_500) && last > Duration::from_millis(3_498),
                "{last:?}"
            );
        }
    }

    #[test]
    fn durations_beyond_all_bounds_have_a_sum() {
        let profile = profile(&[(u64::MAX, 1.0, 1.0), (u64::MAX, 1.0, 1.0)], Arrivals::Constant);
        assert_eq!(profile.duration(), Duration::MAX);
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
