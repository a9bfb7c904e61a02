//! What the exercise found, and what of it did not hold.

use std::collections::BTreeMap;

use super::limit::LimitOf;
use crate::tally::Tally;

/// Share of a limit that has to be in use at some time for the limit to be called used.
const USED_SHARE: f64 = 0.95;

/// Replies of proxies by their reason.
pub(super) type Reasons = BTreeMap<String, u64>;

/// One step. Every request of it became exactly one thing: served, refused, rejected otherwise, another error, or failed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Step {
    pub(super) callers: usize,
    /// Seconds from the start of the exercise to that of the step.
    pub(super) begun_s: f64,
    pub(super) requests: u64,
    /// Answered below 400 (gRPC: with status 0).
    pub(super) served: u64,
    /// Refused by a limit of a circuit breaker, by weft's reason, or by Envoy's flag where it gives no reason.
    pub(super) refused: Reasons,
    /// Rejected by a proxy for anything else: a time limit, no healthy endpoint, a rate limit.
    pub(super) rejected: Reasons,
    /// Answered with an error by somebody else.
    pub(super) other_errors: u64,
    /// Not answered.
    pub(super) failed: u64,
    /// Given up in flight: nobody knows what became of them.
    pub(super) abandoned: u64,
    /// Milliseconds, median and 99th percentile, where there was any.
    pub(super) served_ms: Option<(f64, f64)>,
    pub(super) refused_ms: Option<(f64, f64)>,
    /// Refusals and retries that the proxies counted, where they could be asked.
    pub(super) overflow: Option<u64>,
    pub(super) retries: Option<u64>,
    /// Highest numbers of connections and requests at once that the upstream saw, where it could be asked.
    pub(super) connections_highest: Option<u64>,
    pub(super) in_flight_highest: Option<u64>,
    /// Why the generator's figures cannot be believed; empty if they can.
    pub(super) invalid_because: Vec<String>,
}

impl Step {
    /// What a run of `callers` came to.
    pub(super) fn of(tally: &Tally, callers: usize) -> Self {
        let milliseconds = |histogram: &hdrhistogram::Histogram<u64>| {
            let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
            (!histogram.is_empty()).then(|| (at(0.5), at(0.99)))
        };
        let mut rejected = tally.reasons.clone();
        for (reason, count) in &tally.overflow_reasons {
            let mut left = *count;
            // One reason too many is counted with others.
            for name in [reason, "(others)"] {
                if let Some(all) = rejected.get_mut(name) {
                    let taken = left.min(*all);
                    (left, *all) = (left - taken, *all - taken);
                }
            }
        }
        rejected.retain(|_, count| *count > 0);
        let signed: u64 = tally.reasons.values().sum();
        let served = tally.served.len();
        Self {
            callers,
            requests: tally.answered() + tally.failed(),
            served,
            refused: tally.overflow_reasons.clone(),
            rejected,
            other_errors: tally.answered().saturating_sub(served + signed),
            failed: tally.failed(),
            served_ms: milliseconds(&tally.served),
            refused_ms: milliseconds(&tally.overflows),
            ..Self::default()
        }
    }

    /// Refused by a limit.
    pub(super) fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }

    /// All that proxies rejected, limits first, by reason.
    pub(super) fn reasons(&self) -> impl Iterator<Item = (&str, u64)> {
        let all = self.refused.iter().chain(&self.rejected);
        all.map(|(reason, count)| (reason.as_str(), *count))
    }

    /// From 0 to 1.
    pub(super) fn share(&self, count: u64) -> f64 {
        count as f64 / self.requests.max(1) as f64
    }
}

/// A change of the ejections of a cluster at a proxy.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ejection {
    /// Seconds since the start of the exercise.
    pub(super) at_s: f64,
    /// The proxy, by the address of its metrics.
    pub(super) proxy: String,
    pub(super) cluster: String,
    /// Endpoints that were out from then on.
    pub(super) ejected: u64,
    /// Ejections since the look before.
    pub(super) more: u64,
}

/// What an exercise came to: its steps, and what proxies and upstream said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Findings {
    pub(super) url: String,
    pub(super) steps: Vec<Step>,
    pub(super) ejections: Vec<Ejection>,
    /// Seconds after the load until ten answers in a row were good; `None` if it did not come to that.
    pub(super) recovery_s: Option<f64>,
    pub(super) expected_limit: Option<u64>,
    /// What the limit counts.
    pub(super) limit_of: LimitOf,
    /// Somebody has asked for an early end.
    pub(super) interrupted: bool,
    /// What of the proxies and the upstream could not be read.
    pub(super) unread: Vec<String>,
    pub(super) notes: Vec<String>,
}

impl Findings {
    /// Callers of the first step that was refused anything.
    pub(super) fn opens_at(&self) -> Option<usize> {
        self.steps
            .iter()
            .find(|step| step.refusals() > 0)
            .map(|step| step.callers)
    }

    /// The most that the upstream saw at once.
    pub(super) fn highest(&self) -> Option<u64> {
        self.steps.iter().filter_map(|step| self.highest_of(step)).max()
    }

    /// The most that the upstream saw at once in a step, where it could be asked.
    pub(super) fn highest_of(&self, step: &Step) -> Option<u64> {
        match self.limit_of {
            LimitOf::Connections => step.connections_highest,
            LimitOf::Requests => step.in_flight_highest,
        }
    }

    /// Why the generator's figures cannot be believed; empty if they can.
    pub(super) fn invalid_because(&self) -> Vec<String> {
        let of_step = |step: &Step| {
            let callers = step.callers;
            let named = step.invalid_because.iter();
            named
                .map(|because| format!("with {callers} callers: {because}"))
                .collect::<Vec<_>>()
        };
        self.steps.iter().flat_map(of_step).collect()
    }

    /// All that was claimed has been seen to hold.
    pub(super) fn held(&self) -> bool {
        self.broken().is_empty() && self.unread.is_empty() && self.invalid_because().is_empty() && !self.interrupted
    }

    /// What did not hold, in sentences; empty when all did.
    pub(super) fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let counted = match self.limit_of {
            LimitOf::Connections => "connections",
            LimitOf::Requests => "requests",
        };
        if let (Some(limit), Some(highest)) = (self.expected_limit, self.highest()) {
            if highest > limit {
                broken.push(format!(
                    "the limit is {limit}, but the upstream saw {highest} {counted} at once"
                ));
            } else if (highest as f64) < limit as f64 * USED_SHARE {
                broken.push(format!(
                    "the limit is {limit}, but the upstream never saw more than {highest} {counted} at once"
                ));
            }
        }
        if self.expected_limit.is_some() && self.opens_at().is_none() {
            broken.push("the breaker never opened: raise --callers".to_owned());
        }
        for step in &self.steps {
            let refusals = step.refusals();
            // A refusal that a proxy tried again, or that nobody waited for, is the proxies' alone.
            let unseen = step.retries.unwrap_or_default() + step.abandoned;
            if let Some(overflow) = step
                .overflow
                .filter(|overflow| !(refusals..=refusals + unseen).contains(overflow))
            {
                broken.push(format!(
                    "with {} callers the proxies counted {overflow} refusals, the callers {refusals}",
                    step.callers,
                ));
            }
        }
        if self.recovery_s.is_none() && !self.interrupted {
            broken.push("the target did not recover after the load".to_owned());
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(highest: u64, overflow: u64) -> Findings {
        Findings {
            steps: vec![Step {
                callers: 16,
                requests: 100,
                served: 70,
                refused: BTreeMap::from([("UO".to_owned(), 20)]),
                rejected: BTreeMap::from([("upstream.pick.no_endpoint".to_owned(), 10)]),
                overflow: Some(overflow),
                connections_highest: Some(highest),
                ..Step::default()
            }],
            recovery_s: Some(0.1),
            expected_limit: Some(8),
            ..Findings::default()
        }
    }

    #[test]
    fn a_limit_holds_if_it_is_never_exceeded_and_nearly_all_of_it_is_used() {
        assert_eq!(findings(8, 20).broken(), Vec::<String>::new());
        assert!(findings(9, 20).broken()[0].contains("saw 9 connections at once"));
        assert!(findings(7, 20).broken()[0].contains("never saw more than 7 connections"));
    }

    #[test]
    fn a_limit_of_requests_is_held_against_requests() {
        let mut findings = findings(1, 20);
        findings.limit_of = LimitOf::Requests;
        findings.steps[0].in_flight_highest = Some(9);
        assert!(findings.broken()[0].contains("saw 9 requests at once"));
    }

    #[test]
    fn callers_and_proxies_have_to_count_refusals_of_limits_alike_and_no_other_rejection() {
        for (overflow, retries, abandoned, holds) in [
            (20, 0, 0, true),
            (19, 0, 0, false),
            (30, 0, 0, false),
            (22, 2, 0, true),
            (22, 0, 2, true),
            (23, 1, 1, false),
            (19, 5, 5, false),
        ] {
            let mut findings = findings(8, overflow);
            findings.steps[0].retries = Some(retries);
            findings.steps[0].abandoned = abandoned;
            assert_eq!(findings.broken().is_empty(), holds, "{overflow} {retries} {abandoned}");
        }
        assert!(findings(8, 19).broken()[0].contains("counted 19 refusals, the callers 20"));
    }

    #[test]
    fn what_could_not_be_read_or_believed_has_not_held() {
        assert!(findings(8, 20).held());
        let mut unread = findings(8, 20);
        unread.unread.push("http://a/: cannot be asked".to_owned());
        assert!(unread.broken().is_empty() && !unread.held());
        let mut stopped = findings(8, 20);
        stopped.steps[0].invalid_because.push("stopped".to_owned());
        assert!(stopped.broken().is_empty() && !stopped.held());
        assert_eq!(stopped.invalid_because(), ["with 16 callers: stopped"]);
    }

    #[test]
    fn only_refusals_of_limits_open_the_breaker() {
        assert_eq!(findings(8, 20).opens_at(), Some(16));
        let mut findings = findings(8, 0);
        findings.steps[0].refused.clear();
        assert_eq!(findings.opens_at(), None);
    }
}
