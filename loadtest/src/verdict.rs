//! in → out: what the generator noticed about itself → whether its figures can be believed; what has failed so far → whether
//! going on is of use.
//! owns: the bounds.
//! may not touch: the figures.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::client::{Kind, Phase};

/// A thread that did not run for so long has not kept its schedule.
const HELD_UP_MAX: Duration = Duration::from_millis(200);
/// All stops together, as a share of the run: a percentile of the time that is left is not one of the run.
const STOPS_SHARE_MAX: f64 = 0.05;
/// What the generator adds by itself to one request in a hundred: a few time slices of other processes are what any machine
/// costs that has other work to do …
const OWN_DELAY_P99_MAX: Duration = Duration::from_millis(10);
/// … and where the target is slow, so large a part of the reported 99th percentile …
const OWN_DELAY_SHARE_MAX: f64 = 0.05;
/// … but never more than this: lower percentiles may be much shorter.
const OWN_DELAY_P99_LIMIT: Duration = Duration::from_millis(20);
/// A delay that fewer requests or looks had is an accident: in a short run one in a hundred is the worst of all.
const OWN_DELAYS_MIN: f64 = 3.0;
/// From this share of the reported 99th percentile on, a reader is told.
const OWN_DELAY_SHARE_NOTED: f64 = 0.25;
/// A thread this busy has no time left to be on time.
const CPU_SHARE_MAX: f64 = 0.95;
/// A thread that could have run, but had no processor, for this share of the time of sending.
const WAITING_SHARE_MAX: f64 = 0.2;
/// The same where threads send as fast as they can, and so compete by design: with the target's, if it shares their machine.
const WAITING_SHARE_CLOSED_MAX: f64 = 0.7;
/// Shares of a time that is shorter say nothing: threads have just begun.
const SENDING_MIN: Duration = Duration::from_millis(200);
/// So many failures alike, and nothing else, make a run hopeless.
const HOPELESS_COUNT: u64 = 20;

/// What the generator noticed about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Signs {
    /// Sends had instants to keep.
    pub(crate) open_loop: bool,
    /// The time of sending.
    pub(crate) sending: Duration,
    /// Longest time for which a thread did not run although it had to.
    pub(crate) held_up: Duration,
    /// All stops of the thread that was stopped most, over the time of the run.
    pub(crate) stops_share: f64,
    /// 99th percentile of what the generator itself adds: to sends for which a connection was free, and to what happens
    /// before it notices it; the larger one.
    pub(crate) own_delay_p99: Duration,
    /// 99th percentile of the latencies that are reported.
    pub(crate) latency_p99: Duration,
    /// Processor time of the busiest thread, over the time of sending.
    pub(crate) cpu_share: f64,
    /// Time for which the thread that waited most had no processor although it could have run, over the time of sending; 0
    /// where the kernel does not say.
    pub(crate) waiting_share: f64,
    /// Requests that failed for want of ports, descriptors or memory of this machine.
    pub(crate) out_of_resources: u64,
    /// Requests that nobody waited for until their end.
    pub(crate) abandoned: u64,
}

/// Whether figures can be believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Why they cannot; empty if they can.
    pub(crate) invalid_because: Vec<String>,
    /// What else a reader should know.
    pub(crate) notes: Vec<String>,
}

/// Judges a run.
pub(crate) fn judge(signs: &Signs) -> Verdict {
    let mut verdict = Verdict::default();
    let mut invalid = |because: String| verdict.invalid_because.push(because);
    if signs.held_up > HELD_UP_MAX {
        invalid(format!(
            "the generator was stopped or starved for {:.1} s",
            signs.held_up.as_secs_f64()
        ));
    } else if signs.stops_share > STOPS_SHARE_MAX {
        invalid(format!(
            "the generator was stopped again and again, for {:.0}% of the time",
            signs.stops_share * 100.0
        ));
    }
    if signs.out_of_resources > 0 {
        invalid(format!(
            "the generator's machine had no ports, file descriptors or memory left for {} requests",
            signs.out_of_resources
        ));
    }
    if signs.open_loop {
        delay(signs, &mut verdict);
    }
    processor(signs, &mut verdict);
    if signs.abandoned > 0 {
        let text = format!("{} requests were given up in flight", signs.abandoned);
        verdict.notes.push(text);
    }
    verdict
}

/// What the generator adds by itself to one request in a hundred, and to no fewer than three.
pub(crate) fn own_delay(delays: &Histogram<u64>) -> Duration {
    let few = OWN_DELAYS_MIN / (delays.len() as f64).max(1.0);
    Duration::from_micros(delays.value_at_quantile(0.99_f64.min(1.0 - few).max(0.0)))
}

/// What the generator adds by itself, against what is reported.
fn delay(signs: &Signs, verdict: &mut Verdict) {
    let relative = signs.latency_p99.mul_f64(OWN_DELAY_SHARE_MAX);
    let bound = relative.clamp(OWN_DELAY_P99_MAX, OWN_DELAY_P99_LIMIT);
    let milliseconds = signs.own_delay_p99.as_secs_f64() * 1e3;
    if signs.own_delay_p99 > bound {
        verdict.invalid_because.push(format!(
            "the generator fell behind its schedule: to one request in a hundred it added {milliseconds:.1} ms or more by itself"
        ));
    } else if signs.own_delay_p99 > Duration::from_millis(1)
        && signs.own_delay_p99 > signs.latency_p99.mul_f64(OWN_DELAY_SHARE_NOTED)
    {
        verdict.notes.push(format!(
            "the generator's machine was busy: up to {milliseconds:.1} ms of the 99th percentile are its own"
        ));
    }
}

/// Whether threads had the processors that they needed.
fn processor(signs: &Signs, verdict: &mut Verdict) {
    if signs.sending < SENDING_MIN {
        return;
    }
    let waiting = format!(
        "a thread of the generator had no processor for {:.0}% of the time although it could have run",
        signs.waiting_share * 100.0
    );
    let (bound, noted) = if signs.open_loop {
        (WAITING_SHARE_MAX, WAITING_SHARE_MAX / 2.0)
    } else {
        (WAITING_SHARE_CLOSED_MAX, WAITING_SHARE_MAX)
    };
    if signs.waiting_share > bound {
        verdict.invalid_because.push(waiting);
    } else if signs.waiting_share > noted {
        verdict.notes.push(waiting);
    }
    let percent = signs.cpu_share * 100.0;
    if signs.cpu_share <= CPU_SHARE_MAX {
        return;
    }
    if signs.open_loop {
        verdict.invalid_because.push(format!(
            "the generator ran out of CPU: a thread was busy for {percent:.0}% of the time"
        ));
    } else {
        verdict.notes.push(format!(
            "a thread of the generator was busy for {percent:.0}% of the time: the rate may be its limit, not the target's"
        ));
    }
}

/// Why it is of no use to go on: all requests that are over have failed, in the same way, and none is in flight that may yet
/// be answered.
pub(crate) fn hopeless(answered: u64, in_flight: u64, failures: &[(Phase, Kind, u64)]) -> Option<String> {
    let [(phase, kind, count)] = failures else {
        return None;
    };
    (answered == 0 && in_flight == 0 && *count >= HOPELESS_COUNT).then(|| {
        format!(
            "all of the first {count} requests failed: {} in phase {}",
            kind.name(),
            phase.name()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Signs = Signs {
        open_loop: true,
        sending: Duration::from_secs(2),
        held_up: Duration::from_millis(5),
        stops_share: 0.01,
        own_delay_p99: Duration::from_micros(90),
        latency_p99: Duration::from_millis(2),
        cpu_share: 0.5,
        waiting_share: 0.04,
        out_of_resources: 0,
        abandoned: 0,
    };

    #[test]
    fn a_run_is_believed_only_if_the_generator_kept_its_schedule() {
        assert_eq!(judge(&GOOD), Verdict::default());
        let ms = Duration::from_millis;
        for (bad, words) in [
            (
                Signs {
                    held_up: ms(2000),
                    ..GOOD
                },
                "stopped or starved for 2.0 s",
            ),
            (
                Signs {
                    stops_share: 0.2,
                    ..GOOD
                },
                "stopped again and again, for 20%",
            ),
            (
                Signs {
                    own_delay_p99: ms(11),
                    ..GOOD
                },
                "fell behind its schedule",
            ),
            (
                Signs {
                    own_delay_p99: ms(16),
                    latency_p99: ms(300),
                    ..GOOD
                },
                "added 16.0 ms",
            ),
            (
                Signs {
                    own_delay_p99: ms(30),
                    latency_p99: ms(3000),
                    ..GOOD
                },
                "added 30.0 ms",
            ),
            (
                Signs {
                    cpu_share: 0.97,
                    ..GOOD
                },
                "ran out of CPU",
            ),
            (
                Signs {
                    waiting_share: 0.3,
                    ..GOOD
                },
                "no processor for 30%",
            ),
            (
                Signs {
                    out_of_resources: 1,
                    ..GOOD
                },
                "no ports, file descriptors or memory",
            ),
        ] {
            let verdict = judge(&bad);
            assert_eq!(verdict.invalid_because.len(), 1, "{verdict:?}");
            assert!(verdict.invalid_because[0].contains(words), "{verdict:?}");
        }
    }

    #[test]
    fn an_accident_of_a_short_run_is_no_delay_of_one_in_a_hundred() {
        for (late, many, delay) in [(2, 30, 1), (4, 30, 50), (2, 1000, 1), (20, 1000, 50)] {
            let mut delays = Histogram::new(3).unwrap();
            delays.record_n(1_000, many - late).unwrap();
            delays.record_n(50_000, late).unwrap();
            let found = own_delay(&delays).as_micros() / 990;
            assert_eq!(found.min(50), delay, "{late} of {many}");
        }
        assert_eq!(own_delay(&Histogram::new(3).unwrap()), Duration::ZERO);
    }

    #[test]
    fn what_a_busy_machine_costs_is_said_and_believed() {
        let ms = Duration::from_millis;
        for (busy, notes) in [
            (
                Signs {
                    own_delay_p99: ms(3),
                    latency_p99: ms(5),
                    ..GOOD
                },
                1,
            ),
            (
                Signs {
                    own_delay_p99: ms(4),
                    latency_p99: ms(90),
                    ..GOOD
                },
                0,
            ),
            (
                Signs {
                    waiting_share: 0.15,
                    ..GOOD
                },
                1,
            ),
            (
                Signs {
                    sending: ms(20),
                    cpu_share: 3.0,
                    waiting_share: 2.0,
                    ..GOOD
                },
                0,
            ),
        ] {
            let verdict = judge(&busy);
            assert_eq!(
                (verdict.invalid_because.len(), verdict.notes.len()),
                (0, notes),
                "{busy:?}: {verdict:?}"
            );
        }
    }

    #[test]
    fn a_closed_loop_may_use_all_of_a_processor_and_says_so() {
        let closed = Signs {
            open_loop: false,
            cpu_share: 0.99,
            own_delay_p99: Duration::from_millis(30),
            ..GOOD
        };
        for (waiting_share, invalid, notes) in [(0.1, 0, 1), (0.4, 0, 2), (0.8, 1, 1)] {
            let verdict = judge(&Signs {
                waiting_share,
                ..closed
            });
            assert_eq!(
                (verdict.invalid_because.len(), verdict.notes.len()),
                (invalid, notes),
                "{verdict:?}"
            );
        }
    }

    #[test]
    fn a_run_is_hopeless_only_if_all_failed_alike_and_nothing_may_yet_be_answered() {
        let refused = (Phase::Connect, Kind::Refused, 20);
        let reset = (Phase::FirstByte, Kind::Reset, 1);
        for (answered, in_flight, failures, wanted) in [
            (0, 0, &[refused][..], true),
            (1, 0, &[refused], false),
            (0, 1, &[refused], false),
            (0, 0, &[refused, reset], false),
            (0, 0, &[reset], false),
            (0, 0, &[], false),
        ] {
            let reason = hopeless(answered, in_flight, failures);
            assert_eq!(
                reason.is_some(),
                wanted,
                "{answered} {in_flight} {failures:?}: {reason:?}"
            );
        }
    }
}
