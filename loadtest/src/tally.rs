//! in → out: outcomes of requests → counts and histograms, first a thread's, then everybody's.
//! owns: what is counted.
//! may not touch: how it is shown.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::client::answer::{Answer, Sign};
use crate::client::{Failure, Kind, Phase};

/// Longest latency that is told apart from longer ones: an hour, in microseconds.
const LONGEST_US: u64 = 3_600_000_000;
/// Significant digits of the histograms of a run.
const DIGITS: u8 = 3;
/// Significant digits of those of a second, and of those that tell about parts: an eighth of the memory.
const DIGITS_OF_PARTS: u8 = 2;
/// Reasons that are told apart; a peer must not fill our memory.
const REASONS_MAX: usize = 128;
/// gRPC's statuses, 0 to 16, and one for all others.
const GRPC_STATUSES: usize = 18;
/// Statuses: 0 to 999.
const STATUSES: usize = 1000;
/// weft's reasons for which a limit of a circuit breaker refuses; Envoy says the same by its flag `UO`.
const OVERFLOWS: [&str; 3] = ["local.admit.connections", "local.admit.pending", "local.admit.requests"];

/// Latencies in microseconds.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, DIGITS).expect("the bounds are constants that fit")
}

/// The same to two digits.
pub(crate) fn coarse_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, DIGITS_OF_PARTS).expect("the bounds are constants that fit")
}

/// Latencies of one second, smaller.
pub(crate) fn histogram_of_a_second() -> Histogram<u32> {
    Histogram::new_with_bounds(1, LONGEST_US, DIGITS_OF_PARTS).expect("the bounds are constants that fit")
}

/// A request that is over.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// When it should have been sent.
    pub(crate) intended_ns: u64,
    /// When a free place for it was found.
    pub(crate) taken_ns: u64,
    /// When it was sent: its connection, and its stream where there are streams, were in hand.
    pub(crate) sent_ns: u64,
    /// When it was over.
    pub(crate) ended_ns: u64,
    /// Bytes of the request that were written.
    pub(crate) bytes_out: u64,
    /// It went over a connection that had carried one before.
    pub(crate) reused: bool,
    /// Connections that were closed under it before they took it.
    pub(crate) lost: u64,
    pub(crate) result: Result<Answer, Failure>,
}

/// What a run, or a thread's part of one, came to.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// From the intended instant to the end. Who was given up had waited at least so long, and counts with that: requests
    /// that timed out, were abandoned or never sent, and see [`Tally::settle`].
    pub(crate) latency: Histogram<u64>,
    /// From the actual one.
    pub(crate) service_time: Histogram<u64>,
    /// From the intended to the actual one, where a connection was free: the generator's own delay.
    pub(crate) pacing: Histogram<u64>,
    /// How long something that happened lay unnoticed because the generator did not run, sampled evenly over time: by as
    /// much, answers are read late.
    pub(crate) pulse: Histogram<u64>,
    /// Service times of all that was served: below 400 and, where gRPC is spoken, with status 0.
    pub(crate) served: Histogram<u64>,
    /// Service times of local replies of a mesh.
    pub(crate) refusals: Histogram<u64>,
    /// Service times of those that a limit of a circuit breaker refused: what a refusal costs its caller.
    pub(crate) overflows: Histogram<u64>,
    /// From the intended instant to failures that were no timeouts; empty once it is settled.
    broken_off: Histogram<u64>,
    codes: Box<[u64; STATUSES]>,
    grpc_codes: [u64; GRPC_STATUSES],
    errors: [[u64; Kind::ALL.len()]; Phase::ALL.len()],
    /// By response flag.
    pub(crate) flags: BTreeMap<&'static str, u64>,
    /// Local replies of a mesh by weft's reason; by Envoy's flag where there is no reason.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// Those among them that a limit of a circuit breaker refused.
    pub(crate) overflow_reasons: BTreeMap<String, u64>,
    /// Answers that refuse the request: errors, and 4xx.
    pub(crate) refused: u64,
    /// Answers that say that the service failed at the request.
    pub(crate) answered_errors: u64,
    /// Of those, health checks that went well and were not answered with SERVING.
    pub(crate) not_serving: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) opened: u64,
    pub(crate) reused: u64,
    /// Connections that were closed under a request, which was sent again.
    pub(crate) lost: u64,
    /// Intended sends for which no connection came free before the end.
    pub(crate) unsent: u64,
    /// Requests in flight that nobody waited for.
    pub(crate) abandoned: u64,
    /// Requests that count for the rate reached: those that an open loop has sent in its time, those that were over in the
    /// time of a closed one, whose rate is its target's.
    pub(crate) in_time: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            latency: histogram(),
            service_time: histogram(),
            pacing: coarse_histogram(),
            pulse: coarse_histogram(),
            broken_off: histogram(),
            served: coarse_histogram(),
            refusals: coarse_histogram(),
            overflows: coarse_histogram(),
            codes: Box::new([0; STATUSES]),
            grpc_codes: [0; GRPC_STATUSES],
            errors: Default::default(),
            flags: BTreeMap::new(),
            reasons: BTreeMap::new(),
            overflow_reasons: BTreeMap::new(),
            refused: 0,
            answered_errors: 0,
            not_serving: 0,
            bytes_in: 0,
            bytes_out: 0,
            opened: 0,
            reused: 0,
            lost: 0,
            unsent: 0,
            abandoned: 0,
            in_time: 0,
        }
    }

    /// Counts a request that is over; its latency in microseconds if it counts already.
    pub(crate) fn record(&mut self, outcome: &Outcome) -> Option<u64> {
        self.bytes_out += outcome.bytes_out;
        self.reused += u64::from(outcome.reused);
        self.lost += outcome.lost;
        let latency = microseconds(outcome.intended_ns, outcome.ended_ns);
        let service_time = microseconds(outcome.sent_ns, outcome.ended_ns);
        let answer = match &outcome.result {
            Ok(answer) => answer,
            Err(failure) => {
                self.errors[failure.phase as usize][failure.kind as usize] += 1;
                if failure.kind == Kind::Timeout {
                    self.latency.saturating_record(latency);
                    return Some(latency);
                }
                self.broken_off.saturating_record(latency);
                return None;
            }
        };
        self.latency.saturating_record(latency);
        self.service_time.saturating_record(service_time);
        self.codes[usize::from(answer.status).min(STATUSES - 1)] += 1;
        if let Some(status) = answer.grpc_status {
            self.grpc_codes[usize::from(status).min(GRPC_STATUSES - 1)] += 1;
        }
        self.refused += u64::from(answer.is_refused());
        self.answered_errors += u64::from(answer.is_error());
        self.not_serving += u64::from(answer.not_serving);
        self.bytes_in += answer.bytes;
        match &answer.sign {
            None if answer.is_refused() => {}
            None => self.served.saturating_record(service_time),
            Some(sign) => {
                self.refusals.saturating_record(service_time);
                if let Some(flag) = sign.flag {
                    *self.flags.entry(flag).or_default() += 1;
                }
                // Envoy gives no reason beside its flag.
                let reason = sign.reason.as_deref().or(sign.flag).unwrap_or("unknown");
                count(&mut self.reasons, reason, 1);
                if is_overflow(sign) {
                    self.overflows.saturating_record(service_time);
                    count(&mut self.overflow_reasons, reason, 1);
                }
            }
        }
        Some(latency)
    }

    /// Sends that never happened have waited at least this long.
    pub(crate) fn record_unsent(&mut self, intended_ns: u64, end_ns: u64, count: u64) {
        self.unsent += count;
        let waited = microseconds(intended_ns, end_ns);
        self.latency.saturating_record_n(waited, count);
    }

    /// A request that nobody waits for any longer has waited at least this long.
    pub(crate) fn record_abandoned(&mut self, intended_ns: u64, end_ns: u64) {
        self.abandoned += 1;
        self.latency.saturating_record(microseconds(intended_ns, end_ns));
    }

    /// Once all is counted: failures other than timeouts (a reset, a close, a refusal) count as latencies if they came later
    /// than half of all others had their answer. A slow failure that was left out would flatter the percentiles, and so would
    /// a quick one that was let in: a refused connection costs a tenth of a millisecond.
    pub(crate) fn settle(&mut self) {
        let median = self.latency.value_at_quantile(0.5);
        if !self.latency.is_empty() {
            for failures in self.broken_off.iter_recorded() {
                if failures.value_iterated_to() > median {
                    let count = failures.count_since_last_iteration();
                    self.latency.saturating_record_n(failures.value_iterated_to(), count);
                }
            }
        }
        self.broken_off.reset();
    }

    /// Adds another thread's part.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.latency, &other.latency),
            (&mut self.service_time, &other.service_time),
            (&mut self.pacing, &other.pacing),
            (&mut self.pulse, &other.pulse),
            (&mut self.broken_off, &other.broken_off),
            (&mut self.served, &other.served),
            (&mut self.refusals, &other.refusals),
            (&mut self.overflows, &other.overflows),
        ] {
            mine.add(theirs).expect("all histograms of a run have the same bounds");
        }
        for (mine, theirs) in self.codes.iter_mut().zip(other.codes.iter()) {
            *mine += theirs;
        }
        for (mine, theirs) in self.grpc_codes.iter_mut().zip(other.grpc_codes) {
            *mine += theirs;
        }
        for (mine, theirs) in self.errors.iter_mut().flatten().zip(other.errors.iter().flatten()) {
            *mine += theirs;
        }
        for (flag, count) in &other.flags {
            *self.flags.entry(flag).or_default() += count;
        }
        for (reason, count) in &other.reasons {
            self::count(&mut self.reasons, reason, *count);
        }
        for (reason, count) in &other.overflow_reasons {
            self::count(&mut self.overflow_reasons, reason, *count);
        }
        self.refused += other.refused;
        self.answered_errors += other.answered_errors;
        self.not_serving += other.not_serving;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.opened += other.opened;
        self.reused += other.reused;
        self.lost += other.lost;
        self.unsent += other.unsent;
        self.abandoned += other.abandoned;
        self.in_time += other.in_time;
    }

    /// Statuses that came, with their numbers.
    pub(crate) fn codes(&self) -> impl Iterator<Item = (u16, u64)> {
        (0u16..).zip(self.codes.iter().copied()).filter(|(_, count)| *count > 0)
    }

    /// gRPC statuses that came, with their numbers; 17 stands for all that gRPC does not know.
    pub(crate) fn grpc_codes(&self) -> impl Iterator<Item = (u16, u64)> {
        (0u16..).zip(self.grpc_codes).filter(|(_, count)| *count > 0)
    }

    /// Errors by phase and kind.
    pub(crate) fn errors(&self) -> impl Iterator<Item = (Phase, Kind, u64)> {
        Phase::ALL.into_iter().flat_map(move |phase| {
            Kind::ALL
                .into_iter()
                .map(move |kind| (phase, kind, self.errors[phase as usize][kind as usize]))
        })
    }

    /// Requests that were answered, whatever the answer.
    pub(crate) fn answered(&self) -> u64 {
        self.codes.iter().sum()
    }

    /// Requests that failed without an answer.
    pub(crate) fn failed(&self) -> u64 {
        self.errors.iter().flatten().sum()
    }
}

/// Whether a limit of a circuit breaker has refused, and not, say, a time limit or the want of a healthy endpoint.
fn is_overflow(sign: &Sign) -> bool {
    sign.flag == Some("UO") || sign.reason.as_deref().is_some_and(|reason| OVERFLOWS.contains(&reason))
}

fn count(reasons: &mut BTreeMap<String, u64>, reason: &str, more: u64) {
    if let Some(known) = reasons.get_mut(reason) {
        *known += more;
    } else if reasons.len() < REASONS_MAX {
        reasons.insert(reason.to_owned(), more);
    } else {
        *reasons.entry("(others)".to_owned()).or_default() += more;
    }
}

/// Whole microseconds, at least one: a histogram knows no zero.
pub(crate) fn microseconds(from_ns: u64, to_ns: u64) -> u64 {
    (to_ns.saturating_sub(from_ns) / 1000).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(intended_ns: u64, sent_ns: u64, ended_ns: u64, result: Result<Answer, Failure>) -> Outcome {
        Outcome {
            intended_ns,
            taken_ns: intended_ns,
            sent_ns,
            ended_ns,
            bytes_out: 10,
            reused: true,
            lost: 0,
            result,
        }
    }

    fn answer(status: u16) -> Answer {
        Answer {
            status,
            bytes: 100,
            reusable: true,
            ..Answer::default()
        }
    }

    #[test]
    fn latency_counts_from_the_intended_instant_and_service_time_from_the_actual_one() {
        let mut tally = Tally::new();
        tally.record(&outcome(0, 5_000_000, 6_000_000, Ok(answer(200))));
        assert_eq!((tally.latency.max() / 1000, tally.service_time.max() / 1000), (6, 1));
    }

    #[test]
    fn who_waited_in_vain_counts_as_long_as_it_waited_and_who_failed_at_once_flatters_nobody() {
        let failed = |kind| Err(Failure::new(Phase::FirstByte, kind));
        for (result, ended_ms, wanted_max_ms) in [
            (failed(Kind::Timeout), 900, 900),
            (failed(Kind::Reset), 900, 900),
            (failed(Kind::Closed), 900, 900),
            (failed(Kind::Reset), 1, 10),
            (failed(Kind::Refused), 1, 10),
        ] {
            let mut tally = Tally::new();
            for _ in 0..3 {
                tally.record(&outcome(0, 0, 10_000_000, Ok(answer(200))));
            }
            tally.record(&outcome(0, 500_000, ended_ms * 1_000_000, result));
            tally.settle();
            assert_eq!(tally.latency.max() / 1000, wanted_max_ms);
            assert_eq!(tally.latency.min() / 1000, 10);
            assert_eq!((tally.failed(), tally.service_time.len()), (1, 3));
        }
        let mut tally = Tally::new();
        tally.record_abandoned(0, 7_000_000);
        assert_eq!((tally.abandoned, tally.latency.max() / 1000), (1, 7));
        let mut refused = Tally::new();
        refused.record(&outcome(0, 0, 100_000, failed(Kind::Refused)));
        refused.settle();
        assert!(refused.latency.is_empty());
    }

    #[test]
    fn threads_together_count_everything_once() {
        let mut one = Tally::new();
        one.record(&outcome(0, 0, 1_000_000, Ok(answer(200))));
        one.record(&outcome(0, 0, 1_000_000, Err(Failure::new(Phase::Body, Kind::Reset))));
        let mut other = Tally::new();
        other.record(&outcome(0, 0, 3_000_000, Ok(answer(503))));
        other.record(&outcome(0, 0, 3_000_000, Ok(answer(404))));
        other.record_unsent(0, 9_000_000, 1);
        one.merge(&other);
        assert_eq!(one.codes().collect::<Vec<_>>(), [(200, 1), (404, 1), (503, 1)]);
        assert_eq!((one.answered(), one.failed(), one.unsent), (3, 1, 1));
        assert_eq!((one.refused, one.answered_errors), (2, 1));
        assert_eq!((one.latency.len(), one.bytes_in, one.bytes_out), (4, 300, 40));
    }

    #[test]
    fn only_limits_refuse_and_only_what_went_well_is_served() {
        let signed = |flag, reason: &str| {
            let reason = (!reason.is_empty()).then(|| reason.to_owned());
            Some(Box::new(Sign { flag, reason }))
        };
        for (status, grpc_status, sign, wanted) in [
            (200, None, None, (1, 0)),
            (200, Some(0), None, (1, 0)),
            (200, Some(14), None, (0, 0)),
            (404, None, None, (0, 0)),
            (503, None, None, (0, 0)),
            (503, None, signed(Some("UO"), ""), (0, 1)),
            (503, None, signed(Some("UO"), "local.admit.pending"), (0, 1)),
            (503, None, signed(None, "local.admit.connections"), (0, 1)),
            (503, None, signed(None, "upstream.pick.no_endpoint"), (0, 0)),
            (504, None, signed(None, "upstream.response.timeout"), (0, 0)),
            (429, None, signed(Some("RL"), ""), (0, 0)),
        ] {
            let mut tally = Tally::new();
            let named = format!("{status} {grpc_status:?} {sign:?}");
            let answer = Answer {
                grpc_status,
                sign,
                ..answer(status)
            };
            tally.record(&outcome(0, 0, 1, Ok(answer)));
            let refused: u64 = tally.overflow_reasons.values().sum();
            assert_eq!((tally.served.len(), tally.overflows.len()), wanted, "{named}");
            assert_eq!(refused, tally.overflows.len(), "{named}");
        }
    }

    #[test]
    fn a_peer_cannot_mint_reasons_without_end() {
        let mut tally = Tally::new();
        for number in 0..1000 {
            let sign = Sign {
                flag: None,
                reason: Some(format!("r{number}")),
            };
            let answer = Answer {
                sign: Some(Box::new(sign)),
                ..answer(503)
            };
            tally.record(&outcome(0, 0, 1, Ok(answer)));
        }
        assert_eq!(tally.reasons.len(), REASONS_MAX + 1);
        assert_eq!(tally.reasons.values().sum::<u64>(), 1000);
    }
}
