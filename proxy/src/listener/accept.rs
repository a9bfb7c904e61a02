//! The accept loop of one listener in one worker.

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

/// Accepts until `stopped` resolves, then takes those who wait already: closing a socket would reset them.
pub(crate) async fn run(worker: Rc<Worker>, name: Arc<str>, socket: StdListener, mut stopped: oneshot::Receiver<()>) {
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(listener = %name, %error, "the worker cannot watch the listener's socket");
            return;
        }
    };
    let mut last = None;
    loop {
        // Cancel safe: `accept` loses no connection when `stopped` is ready first.
        tokio::select! {
            _ = &mut stopped => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => start(&worker, &name, &mut last, stream, false),
                Err(error) => {
                    tracing::debug!(listener = %name, %error, "accept failed");
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
            start(&worker, &name, &mut last, stream, true);
        }
    }
}

/// Serves a connection by the listener as it is now; after its end, as it was last.
fn start(worker: &Rc<Worker>, name: &Arc<str>, last: &mut Option<Arc<Listener>>, stream: TcpStream, leaving: bool) {
    if let Some(now) = worker.with_snapshot(|snapshot| snapshot.listeners.named(name).cloned()) {
        *last = Some(now);
    }
    let Some(listener) = last.clone() else { return };
    // A panic ends this connection's task alone: tokio catches it at the task's edge.
    tokio::task::spawn_local(serve(worker.clone(), listener, stream, leaving));
}
