//! Visits by several visitors at once, counted.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Result, bail};
use futures_util::future::join_all;

use super::page::Visitor;
use super::rules::Shares;
use super::view::Progress;

/// Visitors at a time.
pub(super) const VISITORS: usize = 4;
/// Failed visits after which nothing is learnt any more.
const FAILURES_MAX: usize = 4;

/// What visitors met.
#[derive(Debug, Default, Clone)]
pub(super) struct Tally {
    pub(super) versions: BTreeMap<String, usize>,
    pub(super) failures: Vec<String>,
}

impl Tally {
    pub(super) fn count(&self) -> usize {
        self.versions.values().sum::<usize>() + self.failures.len()
    }

    fn add(&mut self, visited: Result<String>) {
        match visited {
            Ok(version) => *self.versions.entry(version).or_default() += 1,
            Err(error) => self.failures.push(format!("{error:#}")),
        }
    }

    /// `v1 49.9 % (rule 50 %) · v3 …`: what was met beside what the rule says.
    pub(super) fn beside(&self, shares: &Shares) -> String {
        let mut all: Vec<&String> = shares.keys().chain(self.versions.keys()).collect();
        all.sort();
        all.dedup();
        let parts = all.into_iter().map(|version| {
            let wanted = shares.get(version).copied().unwrap_or_default();
            format!("{version} {:.1} % (rule {})", self.share(version), percent(wanted))
        });
        parts.collect::<Vec<_>>().join(" · ")
    }

    pub(super) fn share(&self, version: &str) -> f64 {
        let met = self.versions.get(version).copied().unwrap_or_default();
        100.0 * met as f64 / self.count().max(1) as f64
    }

    /// # Errors
    /// If a visit failed, or a share is further from the rule than `tolerance` percent of all.
    pub(super) fn judge(&self, shares: &Shares, tolerance: f64) -> Result<()> {
        if let Some(first) = self.failures.first() {
            bail!("{} of {} visits failed: {first}", self.failures.len(), self.count());
        }
        for version in shares.keys().chain(self.versions.keys()) {
            let (met, wanted) = (self.share(version), shares.get(version).copied().unwrap_or_default());
            if (met - wanted).abs() > tolerance {
                bail!(
                    "{version} got {met:.1} % of {} visits, the rule says {}",
                    self.count(),
                    percent(wanted)
                );
            }
        }
        Ok(())
    }
}

/// Whole percents without digits behind the point.
pub(super) fn percent(share: f64) -> String {
    match (share - share.round()).abs() < 0.05 {
        true => format!("{share:.0} %"),
        false => format!("{share:.1} %"),
    }
}

/// `count` visits, by a user or nobody in particular, counted by what they met. Ends early when too many fail.
pub(super) async fn visits(
    gateway: SocketAddr,
    user: Option<&str>,
    count: usize,
    progress: &Progress,
    shares: &Shares,
) -> Result<Tally> {
    let (tally, left) = (RefCell::new(Tally::default()), Cell::new(count));
    let visitors = (0..VISITORS).map(|_| async {
        let mut visitor = Visitor::new(gateway);
        if let Some(user) = user {
            visitor.sign_in(user).await?;
        }
        while left.get() > 0 && tally.borrow().failures.len() < FAILURES_MAX {
            left.set(left.get() - 1);
            let visited = visitor.visit().await;
            let mut tally = tally.borrow_mut();
            tally.add(visited);
            progress.at(tally.count());
            progress.tell(&tally.beside(shares));
        }
        Ok(())
    });
    join_all(visitors).await.into_iter().collect::<Result<()>>()?;
    Ok(tally.into_inner())
}

/// Visits without end, sorted by the phase in which they began.
#[derive(Debug, Default)]
pub(super) struct Stream {
    phase: Cell<Phase>,
    change: RefCell<Tally>,
    counted: RefCell<Tally>,
    begun: Cell<usize>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Phase {
    #[default]
    Change,
    /// This many visits are counted, then it ends.
    Count(usize),
    Over,
}

impl Stream {
    /// Visits until the count is complete, or too many have failed.
    pub(super) async fn run(&self, gateway: SocketAddr) {
        let visitors = (0..VISITORS).map(|_| async {
            let mut visitor = Visitor::new(gateway);
            while let Some(tally) = self.next() {
                let visited = visitor.visit().await;
                tally.borrow_mut().add(visited);
                if self.failed() >= FAILURES_MAX {
                    self.phase.set(Phase::Over);
                }
            }
        });
        join_all(visitors).await;
    }

    fn next(&self) -> Option<&RefCell<Tally>> {
        match self.phase.get() {
            Phase::Change => Some(&self.change),
            Phase::Count(count) if self.begun.get() < count => {
                self.begun.set(self.begun.get() + 1);
                Some(&self.counted)
            }
            Phase::Count(_) | Phase::Over => None,
        }
    }

    fn failed(&self) -> usize {
        self.change.borrow().failures.len() + self.counted.borrow().failures.len()
    }

    /// From now on visits are counted, up to `count` of them.
    pub(super) fn count(&self, count: usize) {
        if !matches!(self.phase.get(), Phase::Over) {
            self.phase.set(Phase::Count(count));
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase.get(), Phase::Over)
    }

    /// Ends it.
    pub(super) fn end(&self) {
        self.phase.set(Phase::Over);
    }

    /// What visitors met before the count began.
    pub(super) fn during_the_change(&self) -> Tally {
        self.change.borrow().clone()
    }

    /// What was counted.
    pub(super) fn counted(&self) -> Tally {
        self.counted.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(versions: &[(&str, usize)], failures: usize) -> Tally {
        Tally {
            versions: versions
                .iter()
                .map(|(version, count)| ((*version).to_owned(), *count))
                .collect(),
            failures: vec!["broken".to_owned(); failures],
        }
    }

    #[test]
    fn shares_are_judged_by_the_rule() {
        let rule: Shares = [("v1".to_owned(), 80.0), ("v3".to_owned(), 20.0)].into();
        for (met, problem) in [
            (tally(&[("v1", 800), ("v3", 200)], 0), None),
            (tally(&[("v1", 809), ("v3", 191)], 0), None),
            (tally(&[("v1", 500), ("v3", 500)], 0), Some("v1 got 50.0 %")),
            (
                tally(&[("v1", 800), ("v3", 199)], 1),
                Some("1 of 1000 visits failed: broken"),
            ),
            (tally(&[("v1", 785), ("v2", 15), ("v3", 200)], 0), Some("v1 got 78.5 %")),
        ] {
            let judged = met.judge(&rule, 1.0);
            assert_eq!(judged.is_err(), problem.is_some(), "{met:?}");
            let text = judged.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(text.contains(problem.unwrap_or_default()), "{text}");
        }
        assert_eq!(
            tally(&[("v1", 3), ("v2", 1)], 0).beside(&rule),
            "v1 75.0 % (rule 80 %) · v2 25.0 % (rule 0 %) · v3 0.0 % (rule 20 %)"
        );
        assert_eq!(percent(100.0 / 3.0), "33.3 %");
    }
}
