//! in → out: a scenario and settings → everything that is known about the run.
//! owns: the threads' start and end, the order of stopping, early ends.
//! may not touch: what is shown.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};

use crate::client::Phase;
use crate::clock;
use crate::flags::Settings;
use crate::scenario::Scenario;
use crate::series::{Row, Series};
use crate::tally::Tally;
use crate::verdict::{Signs, Verdict, judge};
use crate::worker::{self, Beat, Done, Orders, Plan, Report, SoFar};

/// Time for threads to start before the first send.
const LEAD: u64 = 5_000_000;
/// How long requests in flight are waited for once somebody has asked for an end.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Targets that have answered nothing for so many seconds, but failed in the same way each time, will not.
const HOPELESS_SECONDS: u32 = 2;

/// Everything that is known about a run.
pub(crate) struct Outcome {
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) settings: Settings,
    pub(crate) tally: Tally,
    pub(crate) series: Vec<Row>,
    pub(crate) verdict: Verdict,
    /// The calendar at the first send.
    pub(crate) started_at: SystemTime,
    /// From the first intended send to the end of sending, or to the last answer if that was later.
    pub(crate) elapsed: Duration,
    /// Processor time of all threads.
    pub(crate) cpu: Duration,
    /// Requests that were given up in flight.
    pub(crate) abandoned: u64,
    /// Somebody has asked for an early end.
    pub(crate) interrupted: bool,
}

/// Watches a run go on.
pub(crate) trait Watcher {
    /// Another second is whole.
    fn second(&mut self, series: &Series, tally_so_far: &Totals);
}

/// Sums of the seconds so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    threads: Vec<SoFar>,
}

impl Totals {
    fn add(&mut self, beat: &Beat) {
        self.answered += beat.answered;
        self.failed += beat.failed;
        if self.threads.len() <= beat.thread {
            self.threads.resize_with(beat.thread + 1, SoFar::default);
        }
        self.threads[beat.thread] = beat.so_far.clone();
    }

    /// Statuses with their numbers, over all threads.
    pub(crate) fn codes(&self) -> BTreeMap<u16, u64> {
        let mut sums = BTreeMap::new();
        for (code, count) in self.threads.iter().flat_map(|thread| &thread.codes) {
            *sums.entry(*code).or_default() += count;
        }
        sums
    }

    /// Failures by phase, over all threads.
    pub(crate) fn errors(&self) -> impl Iterator<Item = (Phase, u64)> {
        Phase::ALL.into_iter().map(|phase| {
            (
                phase,
                self.threads.iter().map(|thread| thread.errors[phase as usize]).sum(),
            )
        })
    }

    /// Connections that were opened.
    pub(crate) fn opened(&self) -> u64 {
        self.threads.iter().map(|thread| thread.opened).sum()
    }
}

/// Runs; `interrupt` yields when somebody asks for an end, and again when they insist.
///
/// # Errors
/// When threads, timers or the like cannot be had.
pub(crate) async fn run(
    scenario: Arc<Scenario>,
    settings: Settings,
    watcher: &mut dyn Watcher,
    mut interrupt: mpsc::Receiver<()>,
) -> io::Result<Outcome> {
    let start = clock::now() + LEAD;
    #[expect(clippy::disallowed_methods, reason = "the one date of a report")]
    let started_at = SystemTime::now();
    let (orders, ordered) = watch::channel(Orders::Run);
    let (reports, mut reported) = mpsc::unbounded_channel();
    for index in 0..settings.threads {
        worker::spawn(
            plan(&scenario, &settings, index, start),
            ordered.clone(),
            reports.clone(),
        )?;
    }
    drop(reports);
    let mut series = Series::new(settings.threads);
    let mut totals = Totals::default();
    let mut done: Vec<Done> = Vec::new();
    let mut interrupted = false;
    while done.len() < settings.threads {
        // Cancel safe: receiving from a channel loses nothing, and the sleep is begun anew each time something comes.
        tokio::select! {
            report = reported.recv() => match report {
                Some(Report::Beat(beat)) => {
                    totals.add(&beat);
                    if series.add(&beat) {
                        watcher.second(&series, &totals);
                    }
                    if totals.answered == 0 && totals.failed > 0 && beat.second >= HOPELESS_SECONDS {
                        orders.send_replace(Orders::Finish);
                    }
                }
                Some(Report::Done(end)) => done.push(*end?),
                None => return Err(io::Error::other("a thread of the generator has panicked")),
            },
            Some(()) = interrupt.recv() => {
                orders.send_replace(if interrupted { Orders::Abandon } else { Orders::Finish });
                interrupted = true;
            }
            () = tokio::time::sleep(LAST_WORDS), if *orders.borrow() == Orders::Finish => {
                orders.send_replace(Orders::Abandon);
            }
        }
    }
    Ok(outcome(
        scenario,
        settings,
        series,
        &done,
        start,
        started_at,
        interrupted,
    ))
}

fn plan(scenario: &Arc<Scenario>, settings: &Settings, index: usize, start: u64) -> Plan {
    let threads = settings.threads;
    let connections = settings.connections / threads + usize::from(index < settings.connections % threads);
    Plan {
        index,
        scenario: scenario.clone(),
        schedule: settings.profile.as_ref().map(|profile| profile.share(index, threads)),
        lanes: connections * scenario.streams,
        start,
        end: start + settings.duration.as_nanos() as u64,
        seed: settings.seed.wrapping_add(index as u64),
    }
}

fn outcome(
    scenario: Arc<Scenario>,
    settings: Settings,
    series: Series,
    done: &[Done],
    start: u64,
    started_at: SystemTime,
    interrupted: bool,
) -> Outcome {
    let mut tally = Tally::new();
    for thread in done {
        tally.merge(&thread.tally);
    }
    // A run that ended early did not last as long as it was meant to.
    let last = done.iter().map(|thread| thread.stopped.max(thread.ended)).max();
    let elapsed = last.unwrap_or(start).saturating_sub(start).max(1);
    let busiest = done.iter().map(|thread| thread.cpu).max().unwrap_or_default();
    let abandoned = done.iter().map(|thread| thread.abandoned).sum();
    let out_of_resources = tally
        .errors()
        .filter(|(_, kind, _)| *kind == crate::client::Kind::Local);
    let mut verdict = judge(&Signs {
        open_loop: settings.profile.is_some(),
        held_up: Duration::from_nanos(done.iter().map(|thread| thread.held_up).max().unwrap_or_default()),
        pacing_p99: Duration::from_micros(tally.pacing.value_at_quantile(0.99)),
        cpu_share: busiest as f64 / elapsed as f64,
        out_of_resources: out_of_resources.map(|(.., count)| count).sum(),
        abandoned,
    });
    if tally.not_serving > 0 {
        let note = format!(
            "{} health checks were answered with a status other than SERVING",
            tally.not_serving
        );
        verdict.notes.push(note);
    }
    Outcome {
        scenario,
        settings,
        series: series.finish(),
        verdict,
        started_at,
        elapsed: Duration::from_nanos(elapsed),
        cpu: Duration::from_nanos(done.iter().map(|thread| thread.cpu).sum()),
        abandoned,
        interrupted,
        tally,
    }
}
