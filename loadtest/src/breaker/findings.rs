//! What the exercise found, as a table and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

/// One step.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Step {
    pub(super) callers: usize,
    pub(super) requests: u64,
    /// Answered below 400.
    pub(super) served: u64,
    /// Refused by a proxy, by its reason, or its flag where it gives no reason.
    pub(super) refused: Vec<(String, u64)>,
    /// Answered with 400 and above by somebody else.
    pub(super) other_errors: u64,
    /// Not answered.
    pub(super) failed: u64,
    /// Milliseconds, median and 99th percentile, where there was any.
    pub(super) served_ms: Option<(f64, f64)>,
    pub(super) refused_ms: Option<(f64, f64)>,
    /// Refusals that the proxies counted, where they could be asked.
    pub(super) overflow: Option<u64>,
    /// Highest numbers of connections and requests at once that the upstream saw, where it could be asked.
    pub(super) connections_highest: Option<u64>,
    pub(super) in_flight_highest: Option<u64>,
}

impl Step {
    pub(super) fn refusals(&self) -> u64 {
        self.refused.iter().map(|(_, count)| count).sum()
    }

    fn share(&self, count: u64) -> f64 {
        count as f64 / self.requests.max(1) as f64 * 100.0
    }
}

/// A change of the number of ejected endpoints.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ejection {
    /// Seconds since the start of the exercise.
    pub(super) at_s: f64,
    /// Endpoints that were out from then on.
    pub(super) ejected: u64,
}

/// Everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Findings {
    pub(super) url: String,
    pub(super) steps: Vec<Step>,
    pub(super) ejections: Vec<Ejection>,
    /// Seconds after the load until ten answers in a row were good; `None` if it did not come to that.
    pub(super) recovery_s: Option<f64>,
    pub(super) expected_limit: Option<u64>,
    /// The upstream speaks HTTP/2, so that its limit is one of requests.
    pub(super) multiplexed: bool,
    pub(super) notes: Vec<String>,
}

/// Share of a limit that has to be in use at some time for the limit to be called used.
const USED_SHARE: f64 = 0.95;

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
        if self.multiplexed {
            step.in_flight_highest
        } else {
            // An upstream behind a proxy of its own sees that proxy's connections, and may count requests alone.
            step.connections_highest.or(step.in_flight_highest)
        }
    }

    /// What did not hold, in sentences; empty when all did.
    pub(super) fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        if let Some(limit) = self.expected_limit {
            let highest = self.highest().unwrap_or_default();
            if highest > limit {
                broken.push(format!("the limit is {limit}, but the upstream saw {highest} at once"));
            } else if (highest as f64) < limit as f64 * USED_SHARE {
                broken.push(format!(
                    "the limit is {limit}, but the upstream never saw more than {highest} at once"
                ));
            }
            if self.opens_at().is_none() {
                broken.push("the breaker never opened: raise --callers".to_owned());
            }
        }
        for step in &self.steps {
            if let Some(overflow) = step.overflow.filter(|overflow| *overflow != step.refusals()) {
                broken.push(format!(
                    "with {} callers the proxies counted {overflow} refusals, the callers {}",
                    step.callers,
                    step.refusals()
                ));
            }
        }
        if self.recovery_s.is_none() {
            broken.push("the target did not recover after the load".to_owned());
        }
        broken
    }

    /// A table for people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("writing to a string cannot fail");
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let known = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
        let time = |time: Option<f64>| time.map_or("-".to_owned(), |time| format!("{time:.3}"));
        writeln!(out, "{}; times in milliseconds", self.url)?;
        writeln!(
            out,
            "{:>7} {:>9} {:>8} {:>9} {:>7} {:>7} {:>10} {:>10} {:>11} {:>11} {:>9} {:>8}",
            "callers",
            "requests",
            "served",
            "refused",
            "errors",
            "failed",
            "served p50",
            "served p99",
            "refused p50",
            "refused p99",
            "overflow",
            "at once"
        )?;
        for step in &self.steps {
            writeln!(
                out,
                "{:>7} {:>9} {:>7.1}% {:>8.1}% {:>7} {:>7} {:>10} {:>10} {:>11} {:>11} {:>9} {:>8}",
                step.callers,
                step.requests,
                step.share(step.served),
                step.share(step.refusals()),
                step.other_errors,
                step.failed,
                time(step.served_ms.map(|(p50, _)| p50)),
                time(step.served_ms.map(|(_, p99)| p99)),
                time(step.refused_ms.map(|(p50, _)| p50)),
                time(step.refused_ms.map(|(_, p99)| p99)),
                known(step.overflow),
                known(self.highest_of(step)),
            )?;
        }
        let mut reasons = std::collections::BTreeMap::new();
        for (reason, count) in self.steps.iter().flat_map(|step| &step.refused) {
            *reasons.entry(reason.as_str()).or_insert(0) += count;
        }
        for (reason, count) in reasons {
            writeln!(out, "refused       {reason}: {count}")?;
        }
        match self.opens_at() {
            Some(callers) => writeln!(out, "opens         with {callers} callers")?,
            None => writeln!(
                out,
                "opens         not with up to {} callers",
                self.steps.last().map_or(0, |step| step.callers)
            )?,
        }
        if let (Some(highest), Some(limit)) = (self.highest(), self.expected_limit) {
            writeln!(
                out,
                "limit         {limit} configured, {highest} seen at once by the upstream"
            )?;
        }
        for ejection in &self.ejections {
            writeln!(
                out,
                "ejected       {} endpoints out from second {:.1}",
                ejection.ejected, ejection.at_s
            )?;
        }
        if let Some(seconds) = self.recovery_s {
            writeln!(out, "recovery      {seconds:.2} s after the load")?;
        }
        for note in &self.notes {
            writeln!(out, "note          {note}")?;
        }
        for broken in self.broken() {
            writeln!(out, "FAILED        {broken}")?;
        }
        Ok(())
    }

    /// All of it.
    pub(super) fn json(&self) -> Value {
        let steps = self.steps.iter().map(|step| {
            json!({
                "callers": step.callers, "requests": step.requests, "served": step.served,
                "refused": step.refused.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
                "other_errors": step.other_errors, "failed": step.failed,
                "served_share": step.share(step.served) / 100.0, "refused_share": step.share(step.refusals()) / 100.0,
                "served_ms": step.served_ms.map(|(p50, p99)| json!({"p50": p50, "p99": p99})),
                "refused_ms": step.refused_ms.map(|(p50, p99)| json!({"p50": p50, "p99": p99})),
                "proxies_overflow": step.overflow,
                "upstream_connections_highest": step.connections_highest,
                "upstream_in_flight_highest": step.in_flight_highest,
            })
        });
        json!({
            "schema": 1, "url": self.url, "steps": steps.collect::<Vec<_>>(), "opens_at_callers": self.opens_at(),
            "expected_limit": self.expected_limit, "highest_at_once": self.highest(),
            "ejections": self.ejections.iter().map(|ejection| json!({"at_s": ejection.at_s, "ejected": ejection.ejected})).collect::<Vec<_>>(),
            "recovery_s": self.recovery_s, "notes": self.notes, "held": self.broken().is_empty(), "broken": self.broken(),
        })
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
                served: 80,
                refused: vec![("UO".to_owned(), 20)],
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
        assert!(findings(9, 20).broken()[0].contains("saw 9 at once"));
        assert!(findings(7, 20).broken()[0].contains("never saw more than 7"));
    }

    #[test]
    fn callers_and_proxies_have_to_count_alike() {
        assert!(findings(8, 19).broken()[0].contains("counted 19 refusals, the callers 20"));
    }
}
