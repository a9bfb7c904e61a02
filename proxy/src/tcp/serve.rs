//! The life of an opaque connection.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::Interest;
use tokio::time::{Instant, sleep_until};
use weft_proxy_core::chain::TcpProxy;

use super::clock::{Clock, Due, Expired, Times};
use super::copy::{Broken, COPY_BUFFER_BYTES, Relay, Side, Sides};
use super::open::{Opened, open};
use super::tally::Tally;
use crate::http::conn_state::{ConnLimits, ConnState};
use crate::listener::Accepted;
use crate::worker::Worker;

/// How long a client that has ended its direction without a byte is taken to wait for the server's words, while the server
/// is being dialled. Its end looks the same when it has left.
const GRACE: Duration = Duration::from_secs(1);

/// Serves one connection whose chain copies bytes.
pub(crate) async fn serve(worker: Rc<Worker>, proxy: Arc<TcpProxy>, mut accepted: Accepted) {
    let Some(state) = enter(&worker, &mut accepted) else {
        return;
    };
    let tally = Tally::new(worker.clone(), &accepted.origin);
    // Cancel safe: the dial closes its socket and gives its permit back.
    let opened = tokio::select! {
        biased;
        opened = open(&worker, &proxy, (&accepted.listener, &accepted.origin), &state, tally) => opened,
        // What it was is told by the tally, which is dropped with the dial.
        () = left(&accepted) => return,
    };
    match opened {
        Ok(opened) => copy(worker, proxy, accepted, opened, state).await,
        Err((failure, mut tally)) => tally.fail(failure),
    }
}

/// Serves a connection whose upstream has been dialled before it was known that bytes are to be copied.
pub(crate) async fn relay(worker: Rc<Worker>, proxy: Arc<TcpProxy>, mut accepted: Accepted, opened: Box<Opened>) {
    if let Some(state) = enter(&worker, &mut accepted) {
        copy(worker, proxy, accepted, *opened, state).await;
    }
}

fn enter(worker: &Rc<Worker>, accepted: &mut Accepted) -> Option<Arc<ConnState>> {
    // The limits of this connection are its own: a tunnel is exempt from those on requests.
    let limits = ConnLimits {
        idle: None,
        head: None,
        write: None,
    };
    let state = Arc::new(ConnState::new(limits, worker.now_ms()));
    state.become_tunnel();
    accepted.enter(worker, &state).then_some(state)
}

/// Resolves when the client has left: by a reset, or by its end before it has sent a byte and for longer than [`GRACE`].
/// Whoever has sent something and ended may be waiting for the answer.
async fn left(accepted: &Accepted) {
    let stream = &accepted.stream;
    let mut byte = [0];
    match stream.peek(&mut byte).await {
        Ok(0) if accepted.first.is_empty() => tokio::time::sleep(GRACE).await,
        Ok(_) => {
            // An error here would be one of the descriptor itself.
            stream.ready(Interest::ERROR).await.ok();
        }
        Err(_reset) => {}
    }
}

/// Copies until both directions have ended, or a limit of time is reached.
async fn copy(worker: Rc<Worker>, proxy: Arc<TcpProxy>, accepted: Accepted, opened: Opened, state: Arc<ConnState>) {
    // The relay is closed before what it counts for is given back.
    let Opened {
        stream: upstream,
        held,
        mut tally,
        ..
    } = opened;
    tally.open();
    let times = Times {
        idle: proxy.idle_timeout,
        age: proxy.duration_max,
        drain: worker.shared.drain,
    };
    let buffer_bytes_max = accepted.listener.buffer_bytes_max;
    let (downstream, first, _guard) = accepted.into_stream();
    let sides = Sides { downstream, upstream };
    let mut relay = Relay::new(&first, buffer_bytes_max);
    drop(first);
    tally.moved(relay.moved());
    let end = {
        let mut clock = Clock::new(times, Instant::now());
        // Due at once, and set again by the first look at the clock.
        let mut timer = pin!(sleep_until(Instant::now()));
        let mut reset = pin!(sides.downstream.ready(Interest::ERROR));
        poll_fn(|cx| {
            let moved = step(&worker, &mut relay, &sides, &mut clock, &mut tally, cx);
            if state.order(cx.waker()).is_some() {
                clock.drain(Instant::now());
            }
            if moved.is_ready() {
                return moved;
            }
            if relay.is_held_up() && reset.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Broken(Side::Downstream));
            }
            loop {
                match clock.due(Instant::now()) {
                    Some(Due::End(expired)) => return Poll::Ready(End::Expired(expired)),
                    Some(Due::Report) => tally.report(),
                    None => {}
                }
                let Some(next) = clock.next() else { return Poll::Pending };
                // One that fires too early is only looked at; bytes that move do not touch the timer.
                if timer.is_elapsed() || next < timer.deadline() {
                    timer.as_mut().reset(next);
                }
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    };
    match end {
        End::Broken(side) => sides.abort(side),
        End::Expired(Expired::Age) => {
            tally.too_old();
            drop(sides);
        }
        End::Complete | End::Expired(Expired::Idle | Expired::Drain) => drop(sides),
    }
    drop(held);
}

/// How a connection ended.
enum End {
    /// Each direction came to its end.
    Complete,
    /// One side reset its connection.
    Broken(Side),
    Expired(Expired),
}

/// Moves bytes and takes them into account.
fn step(
    worker: &Worker,
    relay: &mut Relay,
    sides: &Sides,
    clock: &mut Clock,
    tally: &mut Tally,
    cx: &mut Context<'_>,
) -> Poll<End> {
    let before = relay.progress();
    let polled = {
        let mut buffer = worker.copy_buffer.borrow_mut();
        buffer.resize(COPY_BUFFER_BYTES, 0);
        relay.poll(cx, sides, &mut buffer)
    };
    if relay.progress() != before {
        clock.touch(Instant::now());
        tally.moved(relay.moved());
    }
    polled.map(|done| match done {
        Ok(()) => End::Complete,
        Err(Broken(side)) => End::Broken(side),
    })
}
