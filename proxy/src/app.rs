//! in → out: `Bootstrap` → a proxy that runs until it is told to stop.
//! owns: the order of starting and stopping; the main thread.
//! may not touch: a connection.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{Instant, MissedTickBehavior};
use weft_xds::Rejection;
use weft_xds::delta::client::Update;

use crate::admin;
use crate::bootstrap::{Bootstrap, count_panics};
use crate::dns;
use crate::health;
use crate::listener::set::ListenerSet;
use crate::node;
use crate::shared::Shared;
use crate::snapshot::Store;
use crate::telemetry::labels::OwnLabels;
use crate::telemetry::totals::Totals;
use crate::worker::{self, Command, Scrape, WorkerHandle};
use crate::xds::{self, Sink, Status};

/// How often listeners that could not be bound are tried again, and idle series looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Pause between looks at draining workers.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// What the main thread holds. Everything in it stays on that thread.
pub(crate) struct Main {
    pub(crate) node: String,
    pub(crate) own: OwnLabels,
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: RefCell<Store>,
    pub(crate) listeners: RefCell<ListenerSet>,
    pub(crate) workers: Vec<WorkerHandle>,
    pub(crate) totals: RefCell<Totals>,
    pub(crate) xds: watch::Receiver<Status>,
}

/// Runs a proxy until a signal ends it.
///
/// # Errors
/// When something that it needs from the start cannot be had: a thread, the admin address.
pub fn run(bootstrap: Bootstrap) -> anyhow::Result<()> {
    count_panics();
    run_until(bootstrap, |_admin| {}, stop_signal())
}

/// Runs a proxy until `stop` resolves. `started` gets the address of the admin server once it answers.
///
/// # Errors
/// As [`run`].
pub fn run_until(
    bootstrap: Bootstrap,
    started: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    LocalSet::new().block_on(&runtime, serve(bootstrap, started, stop))
}

async fn serve(
    bootstrap: Bootstrap,
    started: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let (shutdown, stopped) = watch::channel(false);
    let (status, xds) = watch::channel(Status::default());
    let admin = listen(bootstrap.admin, "--admin").await?;
    let stats = match bootstrap.stats {
        Some(address) => Some(listen(address, "--stats").await?),
        None => None,
    };
    let admin_address = admin.local_addr().context("the admin socket has no address")?;
    let main = Rc::new(assemble(&bootstrap, xds)?);
    tokio::task::spawn_local(admin::serve(main.clone(), admin, admin::Scope::Everything));
    if let Some(stats) = stats {
        tokio::task::spawn_local(admin::serve(main.clone(), stats, admin::Scope::StatsOnly));
    }
    let settings = xds::Settings {
        server: bootstrap.xds.clone(),
        node: node::describe(&bootstrap),
        state_dir: bootstrap.state_dir.clone(),
        rng: fastrand::Rng::new(),
    };
    let stream = tokio::task::spawn_local(xds::run(settings, Door(main.clone()), status, stopped));
    tokio::task::spawn_local(keep_house(main.clone()));
    tokio::task::spawn_local(health::run(main.clone()));
    tokio::task::spawn_local(dns::run(main.clone(), bootstrap.resolver));
    tracing::info!(
        node = %bootstrap.node, admin = %admin_address, xds = %bootstrap.xds, workers = main.workers.len(), "started"
    );
    started(admin_address);

    stop.await;
    tracing::info!(longest = ?bootstrap.drain, "draining");
    // The receiver may be gone already: then the stream has ended by itself.
    shutdown.send(true).ok();
    drain(&main, bootstrap.drain).await;
    stream.await.context("the stream to the control plane panicked")
}

/// State, then workers, that need it.
fn assemble(bootstrap: &Bootstrap, xds: watch::Receiver<Status>) -> anyhow::Result<Main> {
    let shared = Shared::new(
        bootstrap.connections_per_worker,
        bootstrap.drain,
        bootstrap.hostname.clone(),
        bootstrap.environment.clone(),
        bootstrap.started_at,
    );
    let seed = fastrand::u64(..);
    let workers: Result<Vec<WorkerHandle>, _> = (0..bootstrap.concurrency)
        .map(|index| worker::spawn(index, shared.clone(), seed.wrapping_add(index as u64)))
        .collect();
    Ok(Main {
        node: bootstrap.node.clone(),
        own: bootstrap.own.clone(),
        store: RefCell::new(Store::new(shared.snapshot.clone(), seed)),
        shared,
        listeners: RefCell::default(),
        workers: workers.context("cannot start a worker")?,
        totals: RefCell::default(),
        xds,
    })
}

async fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{flag} {address}: cannot listen"))
}

/// Resolves at SIGTERM or SIGINT.
async fn stop_signal() {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => return tracing::error!(%error, "cannot wait for signals"),
    };
    // Cancel safe: both only wait.
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => {
            if let Err(error) = interrupted {
                tracing::error!(%error, "cannot wait for signals");
            }
        }
    }
}

async fn keep_house(main: Rc<Main>) {
    let mut tick = tokio::time::interval(HOUSEKEEPING);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        main.reconcile();
        main.totals.borrow_mut().expire(Instant::now());
        main.store
            .borrow_mut()
            .forget_departed(Instant::now(), main.shared.drain);
    }
}

async fn drain(main: &Main, longest: Duration) {
    for worker in &main.workers {
        worker.send(Command::Drain);
    }
    let deadline = Instant::now() + longest;
    while Instant::now() < deadline && !main.workers.iter().all(WorkerHandle::has_ended) {
        tokio::time::sleep(DRAIN_POLL).await;
    }
}

impl Main {
    /// Makes sockets follow the snapshot.
    pub(crate) fn reconcile(&self) {
        let synced = self.xds.borrow().is_ready();
        self.listeners
            .borrow_mut()
            .reconcile(&self.shared.snapshot.load(), &self.workers, synced);
    }

    /// Whether there is a configuration and every listener of it is bound.
    pub(crate) fn is_ready(&self) -> bool {
        let snapshot = self.shared.snapshot.load();
        self.xds.borrow().is_ready() && self.listeners.borrow().unbound(&snapshot).next().is_none()
    }

    /// Asks every worker for what it counted and adds it up; what is not a count comes back by worker.
    pub(crate) async fn scrape(&self) -> HashMap<usize, Scrape> {
        let mut parts = HashMap::new();
        for (index, worker) in self.workers.iter().enumerate() {
            if let Some(mut scrape) = worker.scrape().await {
                self.totals
                    .borrow_mut()
                    .add(std::mem::take(&mut scrape.drained), Instant::now());
                parts.insert(index, scrape);
            }
        }
        parts
    }
}

/// Where the stream hands in what it receives.
struct Door(Rc<Main>);

impl Sink for Door {
    fn apply(&mut self, update: &Update) -> Vec<Rejection> {
        let rejected = self.0.store.borrow_mut().apply(update);
        for rejection in &rejected {
            tracing::warn!(kind = update.kind.short(), name = %rejection.name, reason = %rejection.reason, "refused");
        }
        self.0.reconcile();
        rejected
    }
}
