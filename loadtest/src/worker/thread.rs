//! One thread of the generator: its runtime, its lanes and its dispatcher.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::LocalSet;

use super::lane::Lane;
use super::orders::{Done, Orders, Plan, Report};
use super::pulse::{self, Pulse, Second};
use super::source::Source;
use super::ticket::{Next, Ticket, Tickets};
use crate::client::http1::SCRATCH_BYTES;
use crate::client::http2::Shared;
use crate::client::timer::Timer;
use crate::clock::{self, Pacer};
use crate::scenario::{Chooser, Protocol, Scenario};
use crate::tally::{Outcome, Tally};

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
    /// Limit of a request.
    pub(super) timeout_ns: u64,
    pub(super) closed_loop: bool,
    /// Connections that lanes share: by group of lanes, then by origin.
    shared: RefCell<Vec<Vec<Rc<Shared>>>>,
    /// The intended instants of requests in flight, one place for each lane.
    flights: RefCell<Vec<Rc<Cell<Option<u64>>>>>,
    lanes: Cell<u64>,
    lanes_opened: Cell<usize>,
    lane_ended: Notify,
    /// The end of sending.
    stopped_ns: Cell<u64>,
    ended_ns: Cell<u64>,
    pub(super) pulse: Pulse,
    pub(super) second: RefCell<Second>,
    /// Which one that is, since the start.
    pub(super) second_now: Cell<u32>,
}

impl Thread {
    fn new(plan: &mut Plan) -> Self {
        let closed_loop = plan.schedule.is_none();
        let source = match plan.schedule.take() {
            Some(schedule) => Source::open(schedule, plan.start_ns),
            None => Source::Closed,
        };
        Self {
            index: plan.index,
            tickets: Tickets::new(source, plan.end_ns),
            tally: RefCell::new(Tally::new()),
            chooser: RefCell::new(plan.scenario.chooser(plan.seed)),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice()),
            timers: RefCell::default(),
            timeout_ns: clock::nanoseconds_of(plan.scenario.timeout),
            scenario: plan.scenario.clone(),
            closed_loop,
            shared: RefCell::default(),
            flights: RefCell::default(),
            lanes: Cell::new(0),
            lanes_opened: Cell::new(0),
            lane_ended: Notify::new(),
            stopped_ns: Cell::new(plan.end_ns),
            ended_ns: Cell::new(plan.start_ns),
            pulse: Pulse::new(clock::now()),
            second: RefCell::new(Second::new()),
            second_now: Cell::new(0),
        }
    }

    /// A place for the request in flight of a new lane.
    pub(super) fn new_flight(&self) -> Rc<Cell<Option<u64>>> {
        let flight = Rc::<Cell<Option<u64>>>::default();
        self.flights.borrow_mut().push(flight.clone());
        flight
    }

    /// The intended instants of requests in flight.
    pub(super) fn in_flight(&self) -> impl Iterator<Item = u64> {
        let flights: Vec<_> = self.flights.borrow().iter().filter_map(|flight| flight.get()).collect();
        flights.into_iter()
    }

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
            let late = crate::tally::microseconds(ticket.intended_ns, outcome.taken_ns);
            tally.pacing.saturating_record(late);
        }
        self.ended_ns.set(outcome.ended_ns);
        let counts_ns = if self.closed_loop {
            outcome.ended_ns
        } else {
            outcome.sent_ns
        };
        tally.in_time += u64::from(counts_ns <= self.stopped_ns.get());
        let mut second = self.second.borrow_mut();
        if let Some(latency) = tally.record(outcome) {
            second.latency.saturating_record(latency);
        }
        match &outcome.result {
            Ok(answer) => {
                second.answered += 1;
                second.refused += u64::from(answer.is_refused());
            }
            Err(_) => second.failed += 1,
        }
    }

    /// The end of sending.
    fn stop(&self) {
        self.stopped_ns.set(clock::now().min(self.stopped_ns.get()));
        self.tickets.stop();
    }
}

/// Starts a thread.
///
/// # Errors
/// When the machine gives no more threads.
pub(crate) fn spawn(plan: Plan, orders: watch::Receiver<Orders>, reports: mpsc::Sender<Report>) -> io::Result<()> {
    std::thread::Builder::new()
        .name(format!("load-{}", plan.index))
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let done =
                runtime.and_then(|runtime| LocalSet::new().block_on(&runtime, run(plan, orders, reports.clone())));
            // Nobody listens where the run was given up.
            let _ = reports.blocking_send(Report::Done(done.map(Box::new)));
        })
        .map(drop)
}

async fn run(mut plan: Plan, mut orders: watch::Receiver<Orders>, reports: mpsc::Sender<Report>) -> io::Result<Done> {
    let pacer = Pacer::new()?;
    pacer.until(plan.start_ns).await?;
    let thread = Rc::new(Thread::new(&mut plan));
    let (cpu_ns, waited_ns) = (clock::thread_cpu(), thread.pulse.waited_ns());
    let pulse = pulse::run(thread.clone(), plan.index, plan.start_ns, reports.clone());
    let pulse = tokio::task::spawn_local(pulse);
    send(&thread, &pacer, &plan, &mut orders).await?;
    thread.stop();
    let cpu_sending_ns = clock::thread_cpu() - cpu_ns;
    let waited_ns = thread.pulse.waited_ns().zip(waited_ns);
    tokio::select! {
        () = drained(&thread) => {}
        _ = orders.wait_for(|orders| *orders == Orders::Abandon) => {}
    }
    pulse.abort();
    let given_up_ns = clock::now();
    let (delays, held_up_ns, stops_ns) = thread.pulse.end(given_up_ns);
    // The rest of the last second; nobody listens where the run was given up.
    let rest = pulse::beat(&thread, plan.index, thread.second_now.get());
    let _ = reports.send(Report::Beat(rest)).await;
    let mut tally = thread.tally.replace(Tally::new());
    tally.pulse = delays;
    let stopped_ns = thread.stopped_ns.get();
    thread.tickets.unsent(stopped_ns, |intended_ns, count| {
        tally.record_unsent(intended_ns, stopped_ns, count)
    });
    for intended_ns in thread.in_flight() {
        tally.record_abandoned(intended_ns, given_up_ns);
        tally.in_time += u64::from(!thread.closed_loop);
        thread.ended_ns.set(given_up_ns);
    }
    Ok(Done {
        tally,
        stopped_ns,
        ended_ns: thread.ended_ns.get(),
        cpu_ns: clock::thread_cpu() - cpu_ns,
        cpu_sending_ns,
        waited_ns: waited_ns.map(|(after, before)| after.saturating_sub(before)),
        held_up_ns,
        stops_ns,
    })
}

/// Sends until the time of sending is over, or somebody wants an end.
async fn send(thread: &Rc<Thread>, pacer: &Pacer, plan: &Plan, orders: &mut watch::Receiver<Orders>) -> io::Result<()> {
    let dispatch = async {
        if thread.closed_loop {
            for number in 0..plan.lanes {
                open(thread, number, None);
            }
        } else {
            dispatch(thread, pacer, plan.lanes).await?;
        }
        // A run lasts as long as it was meant to, even if nothing is due any more.
        pacer.until(plan.end_ns).await
    };
    // Cancel safe: a dispatcher that is dropped has given every send that it took to a lane.
    tokio::select! {
        done = dispatch => done?,
        // The dispatcher may be waiting for a lane.
        () = tokio::time::sleep(Duration::from_nanos(plan.end_ns.saturating_sub(clock::now()))) => {
            if !thread.closed_loop {
                hand_out(thread, plan.lanes);
            }
        }
        _ = orders.wait_for(|orders| *orders != Orders::Run) => {}
    }
    Ok(())
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
