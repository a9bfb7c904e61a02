//! The life of an opaque connection.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use weft_proxy_core::chain::{Listener, TcpProxy};

use super::clock::{Clock, Due, Expired, Times};
use super::copy::{Broken, COPY_BUFFER_BYTES, Relay, Side};
use super::open::open;
use super::tally::Tally;
use crate::http::conn_state::{ConnLimits, ConnState, Order};
use crate::worker::Worker;

/// Serves one connection of a listener whose chain copies bytes. `leaving`: the listener has no socket any more.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    listener: Arc<Listener>,
    proxy: Arc<TcpProxy>,
    downstream: TcpStream,
    leaving: bool,
) {
    // The limits of this connection are its own: a tunnel is exempt from those on requests.
    let limits = ConnLimits {
        idle: None,
        head: None,
        write: None,
    };
    let state = Arc::new(ConnState::new(limits, worker.now_ms()));
    state.become_tunnel();
    if leaving || worker.is_draining() {
        state.command(Order::Drain);
    }
    let max = worker.shared.connections_max;
    let Some(_guard) = worker.connections.enter(listener.name.clone(), state.clone(), max) else {
        return;
    };
    let mut tally = Tally::new(worker.clone());
    let upstream = match open(&worker, &proxy, &state, &mut tally).await {
        Ok(upstream) => upstream,
        Err(failure) => return tally.fail(failure),
    };
    tally.open();
    let times = Times {
        idle: proxy.idle_timeout,
        age: proxy.duration_max,
        drain: worker.shared.drain,
    };
    // The relay is closed before what it counts for is given back.
    let held = upstream.held;
    let mut relay = Relay::new(downstream, upstream.stream, listener.buffer_bytes_max);
    let end = {
        let mut clock = Clock::new(times, Instant::now());
        // Due at once, and set again by the first look at the clock.
        let mut timer = pin!(sleep_until(Instant::now()));
        poll_fn(|cx| {
            let moved = step(&worker, &mut relay, &mut clock, &mut tally, cx);
            if state.order(cx.waker()).is_some() {
                clock.drain(Instant::now());
            }
            if moved.is_ready() {
                return moved;
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
        End::Broken(side) => relay.abort(side),
        End::Expired(Expired::Age) => {
            tally.too_old();
            drop(relay);
        }
        End::Complete | End::Expired(Expired::Idle | Expired::Drain) => drop(relay),
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
fn step(worker: &Worker, relay: &mut Relay, clock: &mut Clock, tally: &mut Tally, cx: &mut Context<'_>) -> Poll<End> {
    let before = relay.progress();
    let polled = {
        let mut buffer = worker.copy_buffer.borrow_mut();
        buffer.resize(COPY_BUFFER_BYTES, 0);
        relay.poll(cx, &mut buffer)
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
