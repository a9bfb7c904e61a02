//! The exercise: steps of more and more callers, questions between them, and a wait for recovery.

use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::fetch::FetchError;
use super::findings::{Findings, Step};
use super::flags::{BreakerArgs, Steps};
use super::ledger::{self, LedgerError};
use super::limit::{LimitOf, limit_of};
use super::look::{Look, LookError, Noticed, Proxies, between, watch};
use super::{json, page, text};
use crate::app::nothing_answered;
use crate::clock;
use crate::exit::Exit;
use crate::flags::{Output, Settings};
use crate::print;
use crate::report::page_file::PageFile;
use crate::run::{self, Outcome, Totals, Watcher};
use crate::scenario::Scenario;
use crate::series::Series;

/// Good answers in a row that count as recovered.
const GOOD_IN_A_ROW: u64 = 10;
/// Length of a probe before and after the load: one caller.
const PROBE: Duration = Duration::from_millis(100);

/// What ends the exercise before its report: the exit code and one line.
type Refusal = (Exit, String);

/// Nobody watches a step.
struct Unwatched;

impl Watcher for Unwatched {
    fn second(&mut self, _: &Series, _: &Totals) {}
}

/// One exercise.
struct Exercise<'a> {
    steps: &'a Steps,
    scenario: Arc<Scenario>,
    settings: Settings,
    interrupt: mpsc::Receiver<()>,
    proxies: Proxies,
    /// The upstream's admin port.
    ledger: Option<&'a str>,
    findings: Findings,
    /// Why the last load met no answer.
    nothing_answered: Option<Refusal>,
    /// Its start, from which times count.
    begun: u64,
}

/// Runs the exercise and prints its findings.
///
/// # Errors
/// An exit code and one line; after the findings, where something of them could not be read.
pub(crate) async fn run(
    args: &BreakerArgs,
    steps: &Steps,
    scenario: Arc<Scenario>,
    settings: Settings,
    interrupt: mpsc::Receiver<()>,
) -> Result<Exit, Refusal> {
    let file = args.run.html.as_deref().map(PageFile::open).transpose();
    let file = file.map_err(|error| (Exit::Usage, error.to_string()))?;
    let mut exercise = Exercise {
        findings: Findings {
            url: scenario.targets[0].url.clone(),
            expected_limit: args.expect_limit,
            ..Findings::default()
        },
        steps,
        scenario,
        settings,
        interrupt,
        proxies: Proxies {
            metrics: args.metrics.clone(),
            cluster: args.cluster.clone(),
        },
        ledger: args.ledger.as_deref(),
        nothing_answered: None,
        begun: clock::now(),
    };
    let first = exercise.first_look(args.limit).await?;
    let noticed = Rc::new(RefCell::new(Noticed::new(first.clone())));
    let watching = tokio::task::spawn_local(watch(exercise.proxies.clone(), noticed.clone(), exercise.begun));
    let done = exercise.climb_and_recover().await;
    watching.abort();
    exercise.findings.ejections.clone_from(&noticed.borrow().ejections);
    exercise.count_ejections(&first).await;
    report(args, file, &exercise.findings)?;
    done?;
    ended(&exercise.findings)
}

/// Whatever becomes of the findings in one place, they are worth having in the other.
fn report(args: &BreakerArgs, file: Option<PageFile>, findings: &Findings) -> Result<(), Refusal> {
    let printed = print::out(&match args.run.output {
        Output::Json => format!("{}\n", json::render(findings)),
        Output::Html => page::render(findings),
        _ => text::render(findings),
    });
    let kept = file.map_or(Ok(()), |file| file.write(&page::render(findings)));
    printed.and(kept).map_err(|line| (Exit::Failed, line))
}

/// The exit code of an exercise that has been reported.
fn ended(findings: &Findings) -> Result<Exit, Refusal> {
    if findings.interrupted {
        return Ok(Exit::Interrupted);
    }
    if !findings.invalid_because().is_empty() {
        return Ok(Exit::Invalid);
    }
    if !findings.broken().is_empty() {
        return Ok(Exit::Expectation);
    }
    match findings.unread.first() {
        Some(first) => Err((Exit::Connect, format!("not everything could be read: {first}"))),
        None => Ok(Exit::Fine),
    }
}

impl Exercise<'_> {
    fn now_s(&self) -> f64 {
        (clock::now() - self.begun) as f64 / clock::SECOND as f64
    }

    /// Asks everybody once, so that a wrong address costs one line and no run, and settles what the limit counts.
    async fn first_look(&mut self, limit: Option<LimitOf>) -> Result<Look, Refusal> {
        if let Some(admin) = self.ledger {
            let highest = ledger::read(admin).await.map_err(|error| refusal_of_ledger(&error))?;
            self.findings.limit_of = limit_of(limit, self.scenario.protocol, highest)
                .map_err(|wanted| (Exit::Usage, format!("--limit: {wanted}")))?;
        }
        let mut look = self.proxies.look().await;
        if let Err(LookError::NoCluster { .. } | LookError::NoCount { .. }) = look {
            // A proxy may count for clusters only once it has used them.
            self.load(1, PROBE).await?;
            look = self.proxies.look().await;
        }
        let look = look.map_err(|error| refusal_of_look(&error))?;
        for ((_, cluster), counts) in &look {
            if let Some(ejected) = counts.ejected.filter(|ejected| *ejected > 0) {
                let note = format!("out before the load: {ejected} endpoints {cluster}");
                self.findings.notes.push(note);
            }
        }
        Ok(look)
    }

    /// All steps and the wait for recovery; what has been found until an error stays found.
    async fn climb_and_recover(&mut self) -> Result<(), Refusal> {
        let mut load_ended = clock::now();
        for callers in &self.steps.callers {
            let step = self.step(*callers, &mut load_ended).await?;
            if std::io::stderr().is_terminal() {
                // Only for whoever watches.
                let _ = writeln!(
                    std::io::stderr(),
                    "{callers} callers: {} requests, {} refused",
                    step.requests,
                    step.refusals()
                );
            }
            self.findings.steps.push(step);
            if self.findings.interrupted {
                self.findings.notes.push("ended early on request".to_owned());
                return Ok(());
            }
            // A target that never answered has no breaker to open; one that has stopped may recover.
            if let (1, Some(refusal)) = (self.findings.steps.len(), self.nothing_answered.take()) {
                return Err(refusal);
            }
        }
        self.recover(load_ended).await
    }

    /// One step: its load, and what proxies and upstream say about it.
    async fn step(&mut self, callers: usize, load_ended: &mut u64) -> Result<Step, Refusal> {
        let cleared = match self.ledger {
            Some(admin) => ledger::clear(admin).await,
            None => Ok(()),
        };
        let before = self.proxies.look().await;
        let begun_s = self.now_s();
        let outcome = self.load(callers, self.steps.length).await?;
        *load_ended = clock::now();
        let mut step = Step {
            begun_s,
            abandoned: outcome.tally.abandoned,
            invalid_because: outcome.verdict.invalid_because,
            ..Step::of(&outcome.tally, callers)
        };
        let mut unread = |problem: String| self.findings.unread.push(format!("with {callers} callers: {problem}"));
        if !self.proxies.metrics.is_empty() {
            let counted = match before {
                Ok(before) => self.proxies.look().await.and_then(|after| between(&before, &after)),
                Err(problem) => Err(problem),
            };
            match counted {
                Ok(counted) => (step.overflow, step.retries) = (Some(counted.overflow), Some(counted.retries)),
                Err(problem) => unread(problem.to_string()),
            }
        }
        if let Some(admin) = self.ledger {
            let highest = match cleared {
                Ok(()) => ledger::read(admin).await,
                Err(problem) => Err(problem),
            };
            match highest {
                Ok(highest) => {
                    (step.connections_highest, step.in_flight_highest) = (highest.connections, highest.in_flight);
                }
                Err(problem) => unread(problem.to_string()),
            }
        }
        Ok(step)
    }

    /// A closed loop of `callers`, each on a connection of its own. Notes whether somebody has asked for an end.
    async fn load(&mut self, callers: usize, length: Duration) -> Result<Outcome, Refusal> {
        let settings = Settings {
            profile: None,
            duration: length,
            connections: callers,
            threads: self.settings.threads.min(callers),
            ..self.settings.clone()
        };
        let (ask, asked) = mpsc::channel(1);
        let mut watcher = Unwatched;
        let mut running = std::pin::pin!(run::run(self.scenario.clone(), settings, &mut watcher, asked));
        // Cancel safe: the run is only polled; wishes to end are handed on until nobody can have any more.
        let done = loop {
            tokio::select! {
                done = running.as_mut() => break done,
                // One that finds an earlier one still waiting adds nothing to it.
                Some(()) = self.interrupt.recv() => drop(ask.try_send(())),
            }
        };
        let outcome = done.map_err(|error| (Exit::Failed, format!("the run cannot go on: {error}")))?;
        self.findings.interrupted |= outcome.interrupted;
        self.nothing_answered = nothing_answered(&outcome);
        Ok(outcome)
    }

    /// Probes with one caller until enough answers in a row are good, and notes when they began, from the end of the load.
    async fn recover(&mut self, load_ended: u64) -> Result<(), Refusal> {
        let since = || Duration::from_nanos(clock::now().saturating_sub(load_ended));
        let probing = clock::now();
        let mut good = 0;
        let mut good_since = Duration::ZERO;
        // The time is the target's own: what our questions to others took is not taken from it.
        while Duration::from_nanos(clock::now() - probing) < self.steps.recovery {
            if good == 0 {
                good_since = since();
            }
            let probe = self.load(1, PROBE).await?;
            if self.findings.interrupted {
                self.findings
                    .notes
                    .push("ended early on request, before recovery".to_owned());
                return Ok(());
            }
            let step = Step::of(&probe.tally, 1);
            good = if step.served == step.requests {
                good + step.served
            } else {
                0
            };
            if good >= GOOD_IN_A_ROW {
                self.findings.recovery_s = Some(good_since.as_secs_f64());
                return Ok(());
            }
        }
        Ok(())
    }

    /// Notes how many ejections there were since `first`.
    async fn count_ejections(&mut self, first: &Look) {
        if self.proxies.metrics.is_empty() {
            return;
        }
        match self.proxies.look().await.and_then(|last| between(first, &last)) {
            Ok(sums) => self.findings.notes.push(format!("{} ejections in all", sums.ejections)),
            Err(problem) => self.findings.unread.push(format!("ejections in all: {problem}")),
        }
    }
}

fn refusal_of_fetch(error: &FetchError) -> Exit {
    match error {
        FetchError::Unreached { .. } => Exit::Connect,
        FetchError::Address { .. } | FetchError::Status { .. } => Exit::Usage,
    }
}

fn refusal_of_look(error: &LookError) -> Refusal {
    let exit = match error {
        LookError::Fetch(error) => refusal_of_fetch(error),
        LookError::Unreadable { .. }
        | LookError::NoCluster { .. }
        | LookError::NoCount { .. }
        | LookError::Less { .. } => Exit::Usage,
    };
    (exit, format!("--metrics: {error}"))
}

fn refusal_of_ledger(error: &LedgerError) -> Refusal {
    let exit = match error {
        LedgerError::Fetch(error) => refusal_of_fetch(error),
        LedgerError::NoLedger { .. } => Exit::Usage,
    };
    (exit, format!("--ledger: {error}"))
}
