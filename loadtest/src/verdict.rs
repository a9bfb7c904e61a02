//! in → out: what the generator noticed about itself → whether its figures can be believed.
//! owns: the bounds.
//! may not touch: the figures.

use std::time::Duration;

/// A thread that did not run for so long has not kept its schedule.
const HELD_UP_MAX: Duration = Duration::from_millis(200);
/// One send in a hundred may leave so late although a connection was free; more, and the latencies are the generator's.
const PACING_P99_MAX: Duration = Duration::from_millis(10);
/// A thread this busy has no time left to be on time.
const CPU_SHARE_MAX: f64 = 0.95;

/// What the generator noticed about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Signs {
    /// Sends had instants to keep.
    pub(crate) open_loop: bool,
    /// Longest time for which a thread did not run although it had to.
    pub(crate) held_up: Duration,
    /// 99th percentile of the delay of sends for which a connection was free.
    pub(crate) pacing_p99: Duration,
    /// Processor time of the busiest thread, over the time of the run.
    pub(crate) cpu_share: f64,
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
    }
    if signs.pacing_p99 > PACING_P99_MAX {
        invalid(format!(
            "the generator fell behind its schedule: one send in a hundred left {:.1} ms late or later although a connection was free",
            signs.pacing_p99.as_secs_f64() * 1e3
        ));
    }
    if signs.out_of_resources > 0 {
        invalid(format!(
            "the generator's machine had no ports, file descriptors or memory left for {} requests",
            signs.out_of_resources
        ));
    }
    let busy = signs.cpu_share > CPU_SHARE_MAX;
    let percent = signs.cpu_share * 100.0;
    if busy && signs.open_loop {
        invalid(format!(
            "the generator ran out of CPU: a thread was busy for {percent:.0}% of the time"
        ));
    } else if busy {
        verdict.notes.push(format!(
            "a thread of the generator was busy for {percent:.0}% of the time: the rate may be its limit, not the target's"
        ));
    }
    if signs.abandoned > 0 {
        verdict
            .notes
            .push(format!("{} requests were given up in flight", signs.abandoned));
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_believed_only_if_the_generator_kept_its_schedule() {
        let good = Signs {
            open_loop: true,
            held_up: Duration::from_millis(5),
            pacing_p99: Duration::from_micros(90),
            cpu_share: 0.5,
            ..Signs::default()
        };
        assert_eq!(judge(&good), Verdict::default());
        for (bad, words) in [
            (
                Signs {
                    held_up: Duration::from_secs(2),
                    ..good
                },
                "stopped or starved for 2.0 s",
            ),
            (
                Signs {
                    pacing_p99: Duration::from_millis(11),
                    ..good
                },
                "fell behind its schedule",
            ),
            (
                Signs {
                    cpu_share: 0.97,
                    ..good
                },
                "ran out of CPU",
            ),
            (
                Signs {
                    out_of_resources: 1,
                    ..good
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
    fn a_closed_loop_may_use_all_of_a_processor_and_says_so() {
        let verdict = judge(&Signs {
            cpu_share: 0.99,
            ..Signs::default()
        });
        assert!(verdict.invalid_because.is_empty());
        assert_eq!(verdict.notes.len(), 1);
    }
}
