//! One thread of the generator: its runtime, its lanes, its dispatcher and its heartbeat.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::LocalSet;

use super::lane::Lane;
use super::source::Source;
use super::ticket::{Next, Ticket, Tickets};
use crate::client::Phase;
use crate::client::http1::SCRATCH_BYTES;
use crate::client::http2::Shared;
use crate::client::timer::Timer;
use crate::clock::{self, Pacer};
use crate::scenario::{Chooser, Protocol, Scenario};
use crate::schedule::Schedule;
use crate::tally::{Outcome, Tally, histogram_of_a_second};

/// How often limits of requests are looked at, and the thread looks whether it was held up.
const SWEEP: Duration = Duration::from_millis(20);

/// What a thread is to do.
pub(crate) struct Plan {
    /// Which thread it is.
    pub(crate) index: usize,
    pub(crate) scenario: Arc<Scenario>,
    /// Its part of the schedule; `None` sends as fast as answers come.
    pub(crate) schedule: Option<Schedule>,
    /// Requests in flight at the most, at least one.
    pub(crate) lanes: usize,
    /// The first instant.
    pub(crate) start: u64,
    /// No send after this one.
    pub(crate) end: u64,
    /// Start of the random numbers.
    pub(crate) seed: u64,
}

/// What everybody is told while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Orders {
    /// Go on.
    Run,
    /// Send no more; what is in flight may end.
    Finish,
    /// Leave what is in flight.
    Abandon,
}

/// What a thread tells.
pub(crate) enum Report {
    /// A second has passed.
    Beat(Beat),
    /// It has ended.
    Done(io::Result<Box<Done>>),
}

/// A second of a thread.
pub(crate) struct Beat {
    /// Which one.
    pub(crate) thread: usize,
    /// Seconds since the start, from 0.
    pub(crate) second: u32,
    pub(crate) latency: Histogram<u32>,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    /// Answers that refuse the request.
    pub(crate) refused: u64,
    /// Everything since the start.
    pub(crate) so_far: SoFar,
}

/// What a thread has counted since its start, for whoever watches.
#[derive(Clone, Debug, Default)]
pub(crate) struct SoFar {
    /// Statuses with their numbers.
    pub(crate) codes: Vec<(u16, u64)>,
    /// Failures by phase.
    pub(crate) errors: [u64; Phase::ALL.len()],
    pub(crate) opened: u64,
}

/// What a thread has done.
pub(crate) struct Done {
    pub(crate) tally: Tally,
    /// Longest time for which it did not run although it had to, in nanoseconds.
    pub(crate) held_up: u64,
    /// Its processor time.
    pub(crate) cpu: u64,
    /// Requests that were abandoned in flight.
    pub(crate) abandoned: u64,
    /// When it sent no more.
    pub(crate) stopped: u64,
    /// When its last request ended.
    pub(crate) ended: u64,
}

/// What lanes of one thread share. Everything is of this thread alone.
pub(super) struct Thread {
    /// Which of all it is.
    pub(super) index: usize,
    pub(super) scenario: Arc<Scenario>,
    pub(super) tickets: Tickets,
    pub(super) tally: RefCell<Tally>,
    pub(super) chooser: RefCell<Chooser>,
    pub(super) scratch: RefCell<Box<[u8]>>,
    pub(super) timers: RefCell<Vec<Rc<Timer>>>,
    /// Limit of a request, in nanoseconds.
    pub(super) timeout: u64,
    pub(super) closed_loop: bool,
    /// Connections that lanes share: by group of lanes, then by origin.
    shared: RefCell<Vec<Vec<Rc<Shared>>>>,
    lanes: Cell<u64>,
    lanes_opened: Cell<usize>,
    lane_ended: Notify,
    ended: Cell<u64>,
    second: RefCell<Second>,
    /// Which one that is, since the start.
    second_now: Cell<u32>,
}

struct Second {
    latency: Histogram<u32>,
    answered: u64,
    failed: u64,
    refused: u64,
}

impl Thread {
    /// The connections of lane `number`, one for each origin, which it shares with its neighbours.
    pub(super) fn shared_of(&self, number: usize) -> Vec<Rc<Shared>> {
        if !matches!(self.scenario.protocol, Protocol::Http2 | Protocol::Grpc) {
            return Vec::new();
        }
        let group = number / self.scenario.streams;
        let mut shared = self.shared.borrow_mut();
        while shared.len() <= group {
            let group = shared.len();
            shared.push(
                self.scenario
                    .origins
                    .iter()
                    .map(|_| Rc::new(Shared::new(self.index + group)))
                    .collect(),
            );
        }
        shared[group].clone()
    }

    pub(super) fn record(&self, ticket: Ticket, outcome: &Outcome) {
        let mut tally = self.tally.borrow_mut();
        if ticket.paced {
            let late = crate::tally::microseconds(ticket.intended, outcome.taken);
            tally.pacing.saturating_record(late);
        }
        self.ended.set(outcome.ended);
        let latency = tally.record(outcome);
        let mut second = self.second.borrow_mut();
        match (latency, &outcome.result) {
            (Some(latency), Ok(answer)) => {
                second.latency.saturating_record(latency);
                second.answered += 1;
                second.refused += u64::from(answer.is_refused());
            }
            _ => second.failed += 1,
        }
    }
}

/// Starts a thread.
///
/// # Errors
/// When the machine gives no more threads.
pub(crate) fn spawn(
    plan: Plan,
    orders: watch::Receiver<Orders>,
    reports: mpsc::UnboundedSender<Report>,
) -> io::Result<()> {
    std::thread::Builder::new()
        .name(format!("load-{}", plan.index))
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let done =
                runtime.and_then(|runtime| LocalSet::new().block_on(&runtime, run(plan, orders, reports.clone())));
            // Nobody listens where the run was given up.
            let _ = reports.send(Report::Done(done.map(Box::new)));
        })
        .map(drop)
}

async fn run(
    plan: Plan,
    mut orders: watch::Receiver<Orders>,
    reports: mpsc::UnboundedSender<Report>,
) -> io::Result<Done> {
    let index = plan.index;
    let closed_loop = plan.schedule.is_none();
    let source = match plan.schedule {
        Some(schedule) => Source::open(schedule, plan.start),
        None => Source::Closed,
    };
    let thread = Rc::new(Thread {
        index,
        tickets: Tickets::new(source, plan.end),
        tally: RefCell::new(Tally::new()),
        chooser: RefCell::new(plan.scenario.chooser(plan.seed)),
        scratch: RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice()),
        timers: RefCell::default(),
        timeout: plan.scenario.timeout.as_nanos() as u64,
        scenario: plan.scenario,
        closed_loop,
        shared: RefCell::default(),
        lanes: Cell::new(0),
        lanes_opened: Cell::new(0),
        lane_ended: Notify::new(),
        ended: Cell::new(plan.start),
        second: RefCell::new(Second {
            latency: histogram_of_a_second(),
            answered: 0,
            failed: 0,
            refused: 0,
        }),
        second_now: Cell::new(0),
    });
    let pacer = Pacer::new()?;
    pacer.until(plan.start).await?;
    let cpu = clock::thread_cpu();
    let held_up = Rc::new(Cell::new(0));
    let heart = tokio::task::spawn_local(heartbeat(
        thread.clone(),
        plan.index,
        held_up.clone(),
        reports.clone(),
        plan.start,
    ));
    let dispatch = async {
        if closed_loop {
            for number in 0..plan.lanes {
                open(&thread, number, None);
            }
            pacer.until(plan.end).await
        } else {
            dispatch(&thread, &pacer, plan.lanes).await
        }
    };
    // Cancel safe: a dispatcher that is dropped has given every send that it took to a lane.
    tokio::select! {
        done = dispatch => done?,
        // The dispatcher may be waiting for a lane.
        () = tokio::time::sleep(Duration::from_nanos(plan.end.saturating_sub(clock::now()))) => {
            if !closed_loop {
                hand_out(&thread, plan.lanes);
            }
        }
        _ = orders.wait_for(|orders| *orders != Orders::Run) => {}
    }
    let stopped_at = clock::now().min(plan.end);
    thread.tickets.stop();
    tokio::select! {
        () = drained(&thread) => {}
        _ = orders.wait_for(|orders| *orders == Orders::Abandon) => {}
    }
    heart.abort();
    // The rest of the last second; nobody listens where the run was given up.
    let _ = reports.send(Report::Beat(beat(&thread, index, thread.second_now.get())));
    let mut tally = std::mem::replace(&mut *thread.tally.borrow_mut(), Tally::new());
    if !closed_loop {
        for intended in thread.tickets.unsent(stopped_at) {
            tally.record_unsent(intended, stopped_at);
        }
    }
    Ok(Done {
        tally,
        held_up: held_up.get(),
        cpu: clock::thread_cpu() - cpu,
        abandoned: thread.lanes.get(),
        stopped: stopped_at,
        ended: thread.ended.get(),
    })
}

/// Opens a lane, whose end is counted.
fn open(thread: &Rc<Thread>, number: usize, first: Option<Ticket>) {
    let lane = Lane::new(thread.clone(), number);
    thread.lanes.set(thread.lanes.get() + 1);
    let thread = thread.clone();
    tokio::task::spawn_local(async move {
        lane.run(first).await;
        thread.lanes.set(thread.lanes.get() - 1);
        thread.lane_ended.notify_one();
    });
}

/// Gives sends to lanes as they come due.
async fn dispatch(thread: &Rc<Thread>, pacer: &Pacer, lanes_max: usize) -> io::Result<()> {
    loop {
        match hand_out(thread, lanes_max) {
            Next::Over => return Ok(()),
            Next::At(due) => pacer.until(due).await?,
            Next::Unserved => poll_fn(|context| thread.tickets.poll_lane(context)).await,
        }
    }
}

/// Gives all that is due to lanes, and opens lanes while there are too few.
fn hand_out(thread: &Rc<Thread>, lanes_max: usize) -> Next {
    loop {
        let next = thread.tickets.dispatch();
        let lanes = thread.lanes_opened.get();
        if next != Next::Unserved || lanes >= lanes_max {
            return next;
        }
        if let Some(ticket) = thread.tickets.take_for_new() {
            thread.lanes_opened.set(lanes + 1);
            open(thread, lanes, Some(ticket));
        }
    }
}

/// Resolves when no lane is left.
async fn drained(thread: &Thread) {
    while thread.lanes.get() > 0 {
        thread.lane_ended.notified().await;
    }
}

/// Ends requests that took too long, tells each second, and notices when this thread did not run.
async fn heartbeat(
    thread: Rc<Thread>,
    index: usize,
    held_up: Rc<Cell<u64>>,
    reports: mpsc::UnboundedSender<Report>,
    start: u64,
) {
    let mut last = clock::now();
    loop {
        tokio::time::sleep(SWEEP).await;
        let now = clock::now();
        let late = (now - last).saturating_sub(SWEEP.as_nanos() as u64);
        held_up.set(held_up.get().max(late));
        last = now;
        for timer in thread.timers.borrow().iter() {
            timer.sweep(now);
        }
        let second = ((now - start) / clock::SECOND) as u32;
        if second > thread.second_now.get() {
            let beat = beat(&thread, index, thread.second_now.replace(second));
            // Nobody listens any more when the run is being torn down.
            if reports.send(Report::Beat(beat)).is_err() {
                return;
            }
        }
    }
}

fn so_far(tally: &Tally) -> SoFar {
    let mut so_far = SoFar {
        codes: tally.codes().collect(),
        opened: tally.opened,
        ..SoFar::default()
    };
    for (phase, _, count) in tally.errors() {
        so_far.errors[phase as usize] += count;
    }
    so_far
}

fn beat(thread: &Thread, index: usize, second: u32) -> Beat {
    let mut counts = thread.second.borrow_mut();
    let fresh = Second {
        latency: histogram_of_a_second(),
        answered: 0,
        failed: 0,
        refused: 0,
    };
    let counts = std::mem::replace(&mut *counts, fresh);
    Beat {
        thread: index,
        second,
        so_far: so_far(&thread.tally.borrow()),
        latency: counts.latency,
        answered: counts.answered,
        failed: counts.failed,
        refused: counts.refused,
    }
}
