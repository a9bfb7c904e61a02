//! What a worker holds.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use fastrand::Rng;
use rustc_hash::FxHashMap;
use tokio::time::Instant;
use weft_proxy_core::balance::Cursor;

use super::command::Scrape;
use super::connections::Connections;
use crate::http::replay::ReplayBudget;
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::telemetry::shard::{Sample, Shard};
use crate::telemetry::tcp::TcpSample;
use crate::upstream::admit::Asks;
use crate::upstream::h2_pool::Http2Pool;
use crate::upstream::original::OriginalCache;
use crate::upstream::pool::Pool;

/// How often connections are looked at for their limits: a limit of seconds is kept to a quarter of one.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// A drain lasts at least this long: who waits at a socket when it is closed is accepted in that time.
const SETTLE: Duration = Duration::from_millis(100);

/// A drain ends early when all connections have been idle for this long.
const QUIET_MIN: Duration = Duration::from_millis(500);

/// One worker, seen from its tasks. Never leaves its thread.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: Rc<Pool>,
    pub(crate) http2_pool: Rc<Http2Pool>,
    /// Addresses that clients have dialled lately.
    pub(crate) original: OriginalCache,
    /// What may be kept of request bodies.
    pub(crate) replay: Arc<ReplayBudget>,
    /// What may wait for copies of requests.
    pub(crate) copies: Arc<ReplayBudget>,
    /// Copies of requests under way.
    pub(crate) mirrors: Rc<Cell<usize>>,
    pub(crate) connections: Rc<Connections>,
    snapshot: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    shard: RefCell<Shard>,
    /// What opaque connections read into, one at a time; empty until there is one.
    pub(crate) copy_buffer: RefCell<Vec<u8>>,
    rng: RefCell<Rng>,
    /// Turns of round robin, by the slot of the cluster: as many as there are slots, at the most.
    cursors: RefCell<FxHashMap<u32, Cursor>>,
    started: Instant,
    draining: Cell<bool>,
    /// When a request was last seen under way while draining.
    busy_until_ms: Cell<u64>,
    lag_us: Cell<u64>,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, seed: u64, asks: Asks, http2_asks: Asks) -> Rc<Self> {
        Rc::new(Self {
            snapshot: RefCell::new(Cache::new(shared.snapshot.clone())),
            shared,
            pool: Pool::new(asks),
            http2_pool: Http2Pool::new(http2_asks),
            original: OriginalCache::default(),
            replay: Arc::default(),
            copies: Arc::default(),
            mirrors: Rc::default(),
            connections: Rc::default(),
            shard: RefCell::default(),
            copy_buffer: RefCell::default(),
            rng: RefCell::new(Rng::with_seed(seed)),
            cursors: RefCell::default(),
            started: Instant::now(),
            draining: Cell::new(false),
            busy_until_ms: Cell::new(0),
            lag_us: Cell::new(0),
        })
    }

    /// Reads the newest snapshot. A request does this once; what it needs afterwards it takes out of it.
    pub(crate) fn with_snapshot<T>(&self, read: impl FnOnce(&Snapshot) -> T) -> T {
        read(self.snapshot.borrow_mut().load())
    }

    /// Sixty-four random bits.
    pub(crate) fn random(&self) -> u64 {
        self.rng.borrow_mut().u64(..)
    }

    /// This worker's turn in a cluster.
    pub(crate) fn with_cursor<T>(&self, slot: u32, pick: impl FnOnce(&mut Cursor) -> T) -> T {
        let mut cursors = self.cursors.borrow_mut();
        // Workers that start at random do not move in step.
        pick(
            cursors
                .entry(slot)
                .or_insert_with(|| Cursor::starting_at(self.random())),
        )
    }

    /// The time of day, for people: `%START_TIME%`.
    pub(crate) fn wall_clock(&self) -> Option<SystemTime> {
        self.shared.started_at.checked_add(self.shared.started.elapsed())
    }

    /// Milliseconds since the worker started.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Counts an ended request.
    pub(crate) fn observe(&self, sample: &Sample<'_>) {
        self.shard.borrow_mut().observe(sample);
    }

    /// Counts a part of an opaque connection's life.
    pub(crate) fn observe_tcp(&self, sample: &TcpSample<'_>) {
        self.shard.borrow_mut().observe_tcp(sample);
    }

    /// No request has been under way since the drain began, for as long as [`QUIET_MIN`]: whoever keeps an idle connection
    /// has had the time to learn that it is over.
    pub(crate) fn has_gone_quiet(&self) -> bool {
        let now = self.now_ms();
        let is_away = self.pool.is_needed() || self.http2_pool.is_needed();
        if self.connections.is_busy() || is_away || self.mirrors.get() > 0 {
            self.busy_until_ms.set(now);
        }
        let quiet = if self.connections.len() == 0 { SETTLE } else { QUIET_MIN };
        u128::from(now - self.busy_until_ms.get()) >= quiet.as_millis()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    pub(crate) fn start_draining(&self) {
        self.busy_until_ms.set(self.now_ms());
        self.draining.set(true);
        self.pool.close();
    }

    /// Limits of connections and of the pool, and the lag of the loop: `late` is how far behind its time the sweep runs.
    pub(crate) fn sweep(&self, late: Duration) {
        self.lag_us.set(u64::try_from(late.as_micros()).unwrap_or(u64::MAX));
        self.connections.sweep(self.now_ms());
        let now = Instant::now();
        self.pool.sweep(now);
        self.http2_pool.sweep(now);
        self.original.sweep();
        // Lets go of the last snapshot also when no request comes.
        self.snapshot.borrow_mut().load();
    }

    /// This worker's part of a scrape.
    pub(crate) fn scrape(&self) -> Scrape {
        Scrape {
            drained: self.shard.borrow_mut().drain(),
            connections: self.connections.len(),
            connections_total: self.connections.accepted(),
            connections_refused_total: self.connections.refused(),
            idle_upstream_connections: self.pool.len() + self.http2_pool.idle(),
            lag_us: self.lag_us.get(),
        }
    }
}
