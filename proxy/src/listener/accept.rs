//! The accept loop of one listener in one worker.

use std::cell::RefCell;
use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use weft_proxy_core::chain::Listener;

use super::serve::serve;
use crate::worker::Worker;

/// Pause after an accept that failed for want of file descriptors or memory: the next one would fail as well.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);
/// What may wait in a socket's queue when it is closed, at the most the backlog: all of them are served.
const LAST_ACCEPTS_MAX: usize = 4096;

/// An accept loop that runs; dropping this ends it.
pub(crate) struct Acceptor {
    name: Rc<RefCell<Arc<str>>>,
    _stop: oneshot::Sender<()>,
}

impl Acceptor {
    /// From now on it accepts for this listener.
    pub(crate) fn serve_for(&self, name: Arc<str>) {
        *self.name.borrow_mut() = name;
    }
}

/// Starts to accept for a listener.
pub(crate) fn start(worker: &Rc<Worker>, name: Arc<str>, socket: StdListener) -> Acceptor {
    let name = Rc::new(RefCell::new(name));
    let (stop, stopped) = oneshot::channel();
    tokio::task::spawn_local(run(worker.clone(), name.clone(), socket, stopped));
    Acceptor { name, _stop: stop }
}

/// Accepts until `stopped` resolves, then takes those who wait already: closing a socket would reset them.
async fn run(worker: Rc<Worker>, name: Rc<RefCell<Arc<str>>>, socket: StdListener, mut stopped: oneshot::Receiver<()>) {
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(listener = %name.borrow(), %error, "the worker cannot watch the listener's socket");
            return;
        }
    };
    // A connection may come between the listener's end in the snapshot and the order to stop or to serve another.
    let mut last = current(&worker, &name);
    loop {
        // Cancel safe: `accept` loses no connection when `stopped` is ready first.
        tokio::select! {
            _ = &mut stopped => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => accept(&worker, &name, &mut last, stream, false),
                Err(error) => {
                    tracing::debug!(listener = %name.borrow(), %error, "accept failed");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            },
        }
    }
    // Asked directly: the runtime would answer by what it knew at its last look, and only so often in one turn.
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..LAST_ACCEPTS_MAX {
        let Ok((stream, _)) = listener.accept() else { break };
        if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
            accept(&worker, &name, &mut last, stream, true);
        }
    }
}

/// Serves a connection by the listener as it is now; after its end, as it was last.
fn accept(
    worker: &Rc<Worker>,
    name: &RefCell<Arc<str>>,
    last: &mut Option<Arc<Listener>>,
    stream: TcpStream,
    leaving: bool,
) {
    if let Some(now) = current(worker, name) {
        *last = Some(now);
    }
    let Some(listener) = last.clone() else { return };
    // A panic ends this connection's task alone: tokio catches it at the task's edge.
    tokio::task::spawn_local(serve(worker.clone(), listener, stream, leaving));
}

fn current(worker: &Worker, name: &RefCell<Arc<str>>) -> Option<Arc<Listener>> {
    worker.with_snapshot(|snapshot| snapshot.listeners.named(&name.borrow()).cloned())
}
