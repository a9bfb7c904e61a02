//! The thread of a worker and its loop.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::command::{Command, Scrape};
use super::state::{SWEEP_INTERVAL, Worker};
use crate::listener::accept::{self, Acceptor};
use crate::shared::Shared;
use crate::upstream::admit::Admission;

/// The main thread's end of a worker.
pub(crate) struct WorkerHandle {
    // Unbounded, since the sender may not wait; the main thread is the only sender, and sends a command per listener change.
    commands: UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl WorkerHandle {
    /// Gives an order. A worker that has ended takes none, which is the same as having obeyed.
    pub(crate) fn send(&self, command: Command) {
        self.commands.send(command).ok();
    }

    /// Asks for what was counted; `None` when the worker has ended.
    pub(crate) async fn scrape(&self) -> Option<Scrape> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Scrape(reply));
        answer.await.ok()
    }

    /// Whether the worker has drained and ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

/// Starts a worker.
///
/// # Errors
/// When the system gives no thread or no event queue.
pub(crate) fn spawn(index: usize, shared: Arc<Shared>, seed: u64) -> io::Result<WorkerHandle> {
    let (commands, inbox) = unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new()
        .name(format!("weft-worker-{index}"))
        .spawn(move || {
            let tasks = LocalSet::new();
            tasks.block_on(&runtime, async move {
                let (asks, asked) = unbounded_channel();
                let (http2_asks, http2_asked) = unbounded_channel();
                let worker = Worker::new(shared, seed, asks, http2_asks);
                run(worker, inbox, asked, http2_asked).await;
            });
            // Dropping the set here ends what did not finish in the time to drain.
        })?;
    Ok(WorkerHandle {
        commands,
        thread: Some(thread),
    })
}

async fn run(
    worker: Rc<Worker>,
    mut inbox: UnboundedReceiver<Command>,
    mut asked: UnboundedReceiver<Arc<Admission>>,
    mut http2_asked: UnboundedReceiver<Arc<Admission>>,
) {
    let mut acceptors: HashMap<Arc<str>, Acceptor> = HashMap::new();
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel safe: `recv` and `tick` lose nothing when the other is ready first.
        tokio::select! {
            command = inbox.recv() => match command {
                Some(command) => obey(&worker, &mut acceptors, command),
                None => return,
            },
            // The worker keeps a sender, so there is always another.
            Some(admission) = asked.recv() => worker.pool.surrender(&admission),
            Some(admission) = http2_asked.recv() => worker.http2_pool.surrender(&admission),
            due = sweep.tick() => worker.sweep(Instant::now().saturating_duration_since(due)),
        }
        if worker.is_draining() && worker.has_gone_quiet() {
            return;
        }
    }
}

fn obey(worker: &Rc<Worker>, acceptors: &mut HashMap<Arc<str>, Acceptor>, command: Command) {
    match command {
        Command::Listen { name, socket } => {
            acceptors.insert(name.clone(), accept::start(worker, name, socket));
        }
        Command::Unlisten { name } => {
            acceptors.remove(&name);
            worker.connections.drain(Some(&name));
        }
        Command::HandOver(moves) => {
            let taken: Vec<_> = moves.iter().map(|(from, _)| acceptors.remove(from)).collect();
            for (acceptor, (from, to)) in taken.into_iter().zip(moves.iter()) {
                worker.connections.drain(Some(from));
                if let Some(acceptor) = acceptor {
                    acceptor.serve_for(to.clone());
                    acceptors.insert(to.clone(), acceptor);
                }
            }
        }
        Command::Renew { name } => worker.connections.drain(Some(&name)),
        Command::Scrape(reply) => {
            // Whoever asked may have left; the counts are then lost with them, which only a stop of the process does.
            reply.send(worker.scrape()).ok();
        }
        Command::Drain => {
            acceptors.clear();
            worker.connections.drain(None);
            worker.start_draining();
        }
    }
}
