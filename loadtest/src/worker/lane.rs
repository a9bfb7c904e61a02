//! A lane carries one request at a time, over connections of its own.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::thread::Thread;
use super::ticket::{Parked, Taken, Ticket};
use crate::client::answer::Answer;
use crate::client::connect::connect;
use crate::client::echo::Echo;
use crate::client::http1::{End, Http1};
use crate::client::http2::Shared;
use crate::client::progress::Progress;
use crate::client::timer::Timer;
use crate::client::{Failure, Phase};
use crate::clock;
use crate::scenario::{Payload, Repeat, Target};
use crate::tally::Outcome;

/// Pause of a lane in a closed loop that could not connect: without it, a dead target would be dialled without end.
const REDIAL_PAUSE: Duration = Duration::from_millis(20);

/// Connections in a row that a server may close in silence after their first answer before it is believed to do so always:
/// to go on racing against it would be to measure the race.
const SINGLE_BELIEVED: u8 = 2;

/// What a lane has to an origin.
enum Link {
    Http1(Http1),
    Echo(Echo),
}

/// A connection of this lane alone.
struct Connection {
    link: Link,
    /// Requests that it has carried.
    carried: u64,
}

/// One place for a request in flight.
pub(super) struct Lane {
    thread: Rc<Thread>,
    timer: Rc<Timer>,
    /// The intended instant of the request in flight.
    in_flight: Rc<Cell<Option<u64>>>,
    /// One for each origin, where connections carry one request at a time.
    own: Vec<Option<Connection>>,
    /// For each origin, how many of its connections in a row were closed in silence after their first answer.
    single: Vec<u8>,
    /// One for each origin, where lanes share connections.
    shared: Vec<Rc<Shared>>,
    /// Which of an origin's addresses comes next.
    turn: usize,
}

impl Lane {
    pub(super) fn new(thread: Rc<Thread>, number: usize) -> Self {
        let timer = Timer::new();
        thread.timers.borrow_mut().push(timer.clone());
        Self {
            timer,
            in_flight: thread.new_flight(),
            own: thread.scenario.origins.iter().map(|_| None).collect(),
            single: vec![0; thread.scenario.origins.len()],
            shared: thread.shared_of(number),
            turn: thread.index + number,
            thread,
        }
    }

    /// Sends until there is no more to send. `first` is a send that the lane was opened for.
    pub(super) async fn run(mut self, first: Option<Ticket>) {
        let mut next = first;
        loop {
            let ticket = match next.take() {
                Some(ticket) => ticket,
                None => match self.next_ticket().await {
                    Some(ticket) => ticket,
                    None => return,
                },
            };
            let outcome = self.send(ticket).await;
            let dead = matches!(
                outcome.result,
                Err(Failure {
                    phase: Phase::Connect | Phase::Tls,
                    ..
                })
            );
            self.thread.record(ticket, &outcome);
            if dead && self.thread.closed_loop {
                tokio::time::sleep(REDIAL_PAUSE).await;
            }
        }
    }

    async fn next_ticket(&mut self) -> Option<Ticket> {
        loop {
            let parked = match self.thread.tickets.take() {
                Taken::Due(ticket) => return Some(ticket),
                Taken::Over => return None,
                Taken::Parked(parked) => parked,
            };
            match poll_fn(|context| self.poll_parked(&parked, context)).await {
                Waited::Ticket(ticket) => return ticket,
                // The lane stays, with one connection less.
                Waited::ConnectionGone => {
                    if !self.thread.tickets.leave(&parked) {
                        return poll_fn(|context| parked.poll(context)).await;
                    }
                }
            }
        }
    }

    /// While nothing is sent, the other side may close a connection: better seen now than by the next request.
    fn poll_parked(&mut self, parked: &Rc<Parked>, context: &mut Context<'_>) -> Poll<Waited> {
        if let Poll::Ready(ticket) = parked.poll(context) {
            return Poll::Ready(Waited::Ticket(ticket));
        }
        let mut gone = false;
        for connection in &mut self.own {
            if connection
                .as_mut()
                .is_some_and(|known| known.poll_gone(context).is_ready())
            {
                *connection = None;
                gone = true;
            }
        }
        if gone {
            Poll::Ready(Waited::ConnectionGone)
        } else {
            Poll::Pending
        }
    }

    async fn send(&mut self, ticket: Ticket) -> Outcome {
        let scenario = self.thread.scenario.clone();
        let target = &scenario.targets[self.thread.chooser.borrow_mut().next_target()];
        let taken_ns = clock::now();
        let intended_ns = if self.thread.closed_loop {
            taken_ns
        } else {
            ticket.intended_ns
        };
        self.in_flight.set(Some(intended_ns));
        let progress = Progress::new(taken_ns);
        self.timer.start(taken_ns.saturating_add(self.thread.timeout_ns));
        let result = self.exchange(target, &progress).await;
        self.timer.stop();
        self.in_flight.set(None);
        Outcome {
            intended_ns,
            taken_ns,
            sent_ns: progress.sent_ns(),
            ended_ns: clock::now(),
            bytes_out: progress.bytes_out(),
            reused: progress.is_reused(),
            lost: progress.lost(),
            result,
        }
    }

    async fn exchange(&mut self, target: &Target, progress: &Progress) -> Result<Answer, Failure> {
        if let Payload::Http2(message) = &target.payload {
            let opened = || self.thread.tally.borrow_mut().opened += 1;
            let origin = &self.thread.scenario.origins[target.origin];
            return self.shared[target.origin]
                .exchange(origin, message, &self.timer, progress, opened)
                .await;
        }
        let mut connection = self.kept(target.origin).await;
        loop {
            let mut current = match connection.take() {
                Some(kept) => kept,
                None => {
                    let opened = self.open(target).await?;
                    progress.begins_now();
                    opened
                }
            };
            let reused = current.carried > 0;
            progress.reuses(reused);
            let result = self.over(&mut current, target, progress).await;
            if reused {
                self.learn(target.origin, &current, &result);
            }
            if result.is_err() && reused && current.may_repeat(target) {
                progress.begins_again();
                continue;
            }
            if self.single[target.origin] < SINGLE_BELIEVED && result.as_ref().is_ok_and(|answer| answer.reusable) {
                current.carried += 1;
                self.own[target.origin] = Some(current);
            }
            return result;
        }
    }

    async fn over(&self, connection: &mut Connection, target: &Target, progress: &Progress) -> Result<Answer, Failure> {
        match (&mut connection.link, &target.payload) {
            (Link::Http1(http), Payload::Http1(request)) => {
                http.exchange(request, &self.thread.scratch, &self.timer, progress)
                    .await
            }
            (Link::Echo(echo), Payload::Echo(bytes)) => echo.exchange(bytes, &self.timer, progress).await,
            _ => unreachable!("all targets of a run are of one protocol"),
        }
    }

    /// The connection that is open, unless its other side is known to have closed it.
    async fn kept(&mut self, origin: usize) -> Option<Connection> {
        let mut kept = self.own[origin].take()?;
        let gone = poll_fn(|context| Poll::Ready(kept.poll_gone(context).is_ready())).await;
        // In an open loop it may have been idle for longer than the server likes.
        if gone && kept.carried == 1 && self.thread.closed_loop {
            self.single[origin] = self.single[origin].saturating_add(1);
        }
        (!gone).then_some(kept)
    }

    /// What a request that was not the first on its connection says about the server.
    fn learn(&mut self, origin: usize, connection: &Connection, result: &Result<Answer, Failure>) {
        match (result, connection.end()) {
            (Ok(_), _) => self.single[origin] = 0,
            (Err(_), End::Silent | End::Unwritten) if connection.carried == 1 => {
                self.single[origin] = self.single[origin].saturating_add(1);
            }
            (Err(_), _) => {}
        }
    }

    async fn open(&mut self, target: &Target) -> Result<Connection, Failure> {
        let thread = self.thread.clone();
        let turn = self.turn;
        self.turn += 1;
        let stream = connect(&thread.scenario.origins[target.origin], turn, &self.timer).await?;
        thread.tally.borrow_mut().opened += 1;
        let link = match target.payload {
            Payload::Echo(_) => Link::Echo(Echo::new(stream)),
            _ => Link::Http1(Http1::new(stream)),
        };
        Ok(Connection { link, carried: 0 })
    }
}

impl Connection {
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.link {
            Link::Http1(http) => http.poll_gone(context),
            Link::Echo(echo) => echo.poll_gone(context),
        }
    }

    /// Whether a request that failed on this connection, which had carried one, may go out on another: servers close idle
    /// connections at any time, and clients of the world try again (RFC 9112 9.5).
    fn may_repeat(&self, target: &Target) -> bool {
        match (self.end(), &target.payload) {
            (End::Unwritten, _) => true,
            (End::Silent, Payload::Http1(request)) => request.repeat == Repeat::Harmless,
            (End::Silent | End::Taken, _) => false,
        }
    }

    fn end(&self) -> End {
        match &self.link {
            Link::Http1(http) => http.end(),
            // Of an echo nobody knows how much was taken.
            Link::Echo(_) => End::Taken,
        }
    }
}

/// Why a lane no longer waits.
enum Waited {
    Ticket(Option<Ticket>),
    ConnectionGone,
}
