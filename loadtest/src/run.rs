//! in → out: a scenario and settings → everything that is known about the run.
//! owns: the threads' start and end, the order of stopping, early ends.
//! may not touch: what is shown.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::client::{Kind, Phase};
use crate::clock;
use crate::flags::Settings;
use crate::scenario::Scenario;
use crate::series::{Row, Series};
use crate::tally::Tally;
use crate::verdict::{Signs, Verdict, hopeless, judge, own_delay};
use crate::worker::{self, Beat, Done, Orders, Plan, Report, SoFar};

/// Time for threads to start before the first send.
const LEAD_NS: u64 = 5_000_000;
/// How long requests in flight are waited for once the run is to end early.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Whole seconds, counted from 0, before which no run is called hopeless: a target may be about to start.
const HOPELESS_SECONDS: u32 = 2;
/// Reports of a thread that wait for the collector, at most; then the thread keeps its seconds to itself.
const REPORTS_MAX: usize = 16;

/// Everything that is known about a run.
pub(crate) struct Outcome {
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) settings: Settings,
    pub(crate) tally: Tally,
    pub(crate) series: Vec<Row>,
    pub(crate) verdict: Verdict,
    /// The calendar at the first send.
    pub(crate) started_at: SystemTime,
    /// The time of sending: as long as was asked for, unless the run ended early.
    pub(crate) sending: Duration,
    /// The same, or to the end of the last request if that was later.
    pub(crate) elapsed: Duration,
    /// Processor time of all threads.
    pub(crate) cpu: Duration,
    /// That of the time of sending alone.
    pub(crate) cpu_sending: Duration,
    /// Somebody has asked for an early end.
    pub(crate) interrupted: bool,
    /// Why the run was of no use, and ended early by itself.
    pub(crate) ended_early: Option<String>,
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
        let failures = self.failures();
        Phase::ALL.into_iter().map(move |phase| {
            let here = failures.iter().filter(|(known, ..)| *known == phase);
            (phase, here.map(|(.., count)| count).sum())
        })
    }

    /// Failures by phase and kind, over all threads.
    fn failures(&self) -> Vec<(Phase, Kind, u64)> {
        let mut sums: Vec<(Phase, Kind, u64)> = Vec::new();
        for (phase, kind, count) in self.threads.iter().flat_map(|thread| &thread.errors) {
            match sums.iter_mut().find(|known| (known.0, known.1) == (*phase, *kind)) {
                Some(known) => known.2 += count,
                None => sums.push((*phase, *kind, *count)),
            }
        }
        sums
    }

    /// Why it is of no use to go on.
    fn hopeless(&self) -> Option<String> {
        let in_flight = self.threads.iter().map(|thread| thread.in_flight).sum();
        hopeless(self.answered, in_flight, &self.failures())
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
    let start_ns = clock::now() + LEAD_NS;
    #[expect(clippy::disallowed_methods, reason = "the one date of a report")]
    let started_at = SystemTime::now();
    let (orders, ordered) = watch::channel(Orders::Run);
    let (reports, mut reported) = mpsc::channel(REPORTS_MAX * settings.threads);
    for plan in plans(&scenario, &settings, start_ns) {
        worker::spawn(plan, ordered.clone(), reports.clone())?;
    }
    drop(reports);
    let mut series = Series::new(settings.threads);
    let mut totals = Totals::default();
    let mut done: Vec<Done> = Vec::new();
    let mut early = Early::default();
    while done.len() < settings.threads {
        // Cancel safe: receiving from a channel loses nothing, and the instant of the sleep stays the same.
        tokio::select! {
            report = reported.recv() => match report {
                Some(Report::Beat(beat)) => {
                    totals.add(&beat);
                    // A whole second is one that every thread has told of: what is in flight is known of all.
                    if series.add(&beat) {
                        watcher.second(&series, &totals);
                        if let Some(because) = totals.hopeless().filter(|_| beat.second >= HOPELESS_SECONDS) {
                            early.give_up(&orders, because);
                        }
                    }
                }
                Some(Report::Done(end)) => done.push(*end?),
                None => return Err(io::Error::other("a thread of the generator has panicked")),
            },
            Some(()) = interrupt.recv() => early.ask(&orders),
            () = sleep_until(early.leave_at.unwrap_or_else(Instant::now)), if early.leave_at.is_some() => {
                orders.send_replace(Orders::Abandon);
                early.leave_at = None;
            }
        }
    }
    Ok(outcome(
        scenario,
        settings,
        series,
        &done,
        (start_ns, started_at),
        early,
    ))
}

/// How a run ends before its time.
#[derive(Default)]
struct Early {
    interrupted: bool,
    /// Why it is of no use to go on.
    hopeless: Option<String>,
    /// When requests in flight are left, once the end is ordered: that instant stays, whatever happens meanwhile.
    leave_at: Option<Instant>,
}

impl Early {
    /// Somebody asks for an end; who asks again does not want to wait.
    fn ask(&mut self, orders: &watch::Sender<Orders>) {
        if std::mem::replace(&mut self.interrupted, true) {
            orders.send_replace(Orders::Abandon);
        } else {
            self.finish(orders);
        }
    }

    fn give_up(&mut self, orders: &watch::Sender<Orders>, because: String) {
        if *orders.borrow() == Orders::Run {
            self.hopeless = Some(because);
            self.finish(orders);
        }
    }

    fn finish(&mut self, orders: &watch::Sender<Orders>) {
        if *orders.borrow() == Orders::Run {
            orders.send_replace(Orders::Finish);
            self.leave_at = Some(Instant::now() + LAST_WORDS);
        }
    }
}

fn plans(scenario: &Arc<Scenario>, settings: &Settings, start_ns: u64) -> Vec<Plan> {
    let connections = worker::spread(settings.connections, settings.threads);
    let lanes: Vec<usize> = connections.iter().map(|count| count * scenario.streams).collect();
    let mut schedules = settings
        .profile
        .as_ref()
        .map(|profile| profile.shares(&lanes).into_iter());
    let plan = |(index, lanes)| Plan {
        index,
        scenario: scenario.clone(),
        schedule: schedules.as_mut().and_then(Iterator::next),
        lanes,
        start_ns,
        end_ns: start_ns.saturating_add(clock::nanoseconds_of(settings.duration)),
        seed: settings.seed.wrapping_add(index as u64),
    };
    lanes.into_iter().enumerate().map(plan).collect()
}

fn outcome(
    scenario: Arc<Scenario>,
    settings: Settings,
    series: Series,
    done: &[Done],
    (start_ns, started_at): (u64, SystemTime),
    early: Early,
) -> Outcome {
    let mut tally = Tally::new();
    for thread in done {
        tally.merge(&thread.tally);
    }
    tally.settle();
    let since_start = |at_ns: u64| Duration::from_nanos(at_ns.saturating_sub(start_ns).max(1));
    let longest = |of: fn(&Done) -> u64| Duration::from_nanos(done.iter().map(of).max().unwrap_or_default());
    let sum = |of: fn(&Done) -> u64| Duration::from_nanos(done.iter().map(of).sum());
    // A run that ended early did not last as long as it was meant to.
    let sending = since_start(done.iter().map(|thread| thread.stopped_ns).max().unwrap_or_default());
    let elapsed = sending.max(since_start(
        done.iter().map(|thread| thread.ended_ns).max().unwrap_or_default(),
    ));
    let out_of_resources = tally.errors().filter(|(_, kind, _)| *kind == Kind::Local);
    let mut verdict = judge(&Signs {
        open_loop: settings.profile.is_some(),
        sending,
        held_up: longest(|thread| thread.held_up_ns),
        stops_share: longest(|thread| thread.stops_ns).div_duration_f64(elapsed),
        own_delay_p99: own_delay(&tally.pacing).max(own_delay(&tally.pulse)),
        latency_p99: Duration::from_micros(tally.latency.value_at_quantile(0.99)),
        cpu_share: longest(|thread| thread.cpu_sending_ns).div_duration_f64(sending),
        waiting_share: longest(|thread| thread.waited_ns.unwrap_or_default()).div_duration_f64(sending),
        out_of_resources: out_of_resources.map(|(.., count)| count).sum(),
        abandoned: tally.abandoned,
    });
    if tally.not_serving > 0 {
        let note = format!(
            "{} health checks were answered with a status other than SERVING",
            tally.not_serving
        );
        verdict.notes.push(note);
    }
    if let Some(because) = &early.hopeless {
        verdict.notes.push(format!("ended early: {because}"));
    }
    Outcome {
        scenario,
        settings,
        series: series.finish(sending),
        verdict,
        started_at,
        sending,
        elapsed,
        cpu: sum(|thread| thread.cpu_ns),
        cpu_sending: sum(|thread| thread.cpu_sending_ns),
        interrupted: early.interrupted,
        ended_early: early.hopeless,
        tally,
    }
}
