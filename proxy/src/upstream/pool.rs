//! in → out: an endpoint → an idle HTTP/1 connection to it, and back when a response has been read to its end.
//! owns: the idle connections of one worker and their age; giving them up to who waits at a limit.
//! may not touch: requests, other workers' connections.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::admit::{Admission, Asks};
use super::endpoint::EndpointState;
use crate::http::body::RequestBody;

/// Idle connections that a worker keeps to one endpoint; a further one is closed when it becomes idle. More than this many
/// requests in flight to one endpoint from one worker at a time is already beyond what it relays in a second.
const IDLE_PER_ENDPOINT_MAX: usize = 1024;

/// How a connection to an upstream may be reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReusePolicy {
    /// Requests on one connection; `None` is no limit.
    pub(crate) requests_max: Option<u32>,
    /// How long it may stay unused; `None` is for ever.
    pub(crate) idle_max: Option<Duration>,
    /// How long it may be open before it takes no further request; `None` is for ever.
    pub(crate) age_max: Option<Duration>,
}

/// An open HTTP/1 connection to an endpoint.
#[derive(Debug)]
pub(crate) struct UpstreamConnection {
    pub(crate) sender: SendRequest<RequestBody>,
    pub(crate) endpoint: Arc<EndpointState>,
    policy: ReusePolicy,
    /// Requests sent on it.
    pub(crate) requests: u32,
    opened: Instant,
    idle_since: Instant,
    /// Set once it has been given away: its driver stays where it was dialled.
    _away: Option<AwayGuard>,
}

impl UpstreamConnection {
    pub(crate) fn new(sender: SendRequest<RequestBody>, endpoint: Arc<EndpointState>, policy: ReusePolicy) -> Self {
        let now = Instant::now();
        Self {
            sender,
            endpoint,
            policy,
            requests: 0,
            opened: now,
            idle_since: now,
            _away: None,
        }
    }

    /// Whether it has been open for so long.
    pub(crate) fn has_served(&self, time: Duration) -> bool {
        self.opened.elapsed() >= time
    }

    /// Whether it is good for another request, as far as anybody can know.
    pub(crate) fn may_be_reused(&self, now: Instant) -> bool {
        let within =
            |since: Instant, max: Option<Duration>| max.is_none_or(|max| now.saturating_duration_since(since) < max);
        !self.sender.is_closed()
            && !self.endpoint.is_removed()
            && self.policy.requests_max.is_none_or(|max| self.requests < max)
            && within(self.opened, self.policy.age_max)
            && within(self.idle_since, self.policy.idle_max)
    }
}

/// Idle connections of one worker to one cluster, by the endpoint's id.
struct Idle {
    admission: Arc<Admission>,
    endpoints: FxHashMap<u64, Vec<UpstreamConnection>>,
    /// Requests that went out on one of them since the last sweep.
    reused: u64,
}

/// The idle connections of one worker.
pub(crate) struct Pool {
    /// By the address of the cluster's admission, which an entry keeps from being used again.
    clusters: RefCell<FxHashMap<*const Admission, Idle>>,
    asks: Asks,
    /// Connections of this worker that others use.
    away: Arc<AtomicUsize>,
    closed: Cell<bool>,
}

impl Pool {
    /// An empty pool; `asks` is where its worker hears that a cluster needs idle connections.
    pub(crate) fn new(asks: Asks) -> Rc<Self> {
        Rc::new(Self {
            clusters: RefCell::default(),
            asks,
            away: Arc::default(),
            closed: Cell::new(false),
        })
    }

    /// The connection that became idle last: the others get the chance to grow old.
    ///
    /// `now` may be a request old: reading the clock costs more than the precision of an idle limit is worth.
    pub(crate) fn take(&self, endpoint: &EndpointState, now: Instant) -> Option<UpstreamConnection> {
        let mut clusters = self.clusters.borrow_mut();
        let cluster = clusters.get_mut(&Arc::as_ptr(&endpoint.admission))?;
        let connections = cluster.endpoints.get_mut(&endpoint.id)?;
        while let Some(connection) = connections.pop() {
            if connection.may_be_reused(now) {
                cluster.reused += 1;
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose response has been read to its end, if it may be used again, unless somebody waits for one.
    pub(crate) fn put(&self, mut connection: UpstreamConnection) {
        let now = Instant::now();
        connection.idle_since = now;
        if self.closed.get() || !connection.may_be_reused(now) {
            return;
        }
        let admission = &connection.endpoint.admission;
        self.enlist(admission);
        if admission.has_surplus() {
            return;
        }
        // After enlisting: whoever begins to wait later asks this worker, and finds the connection.
        if admission.has_waiters() {
            let admission = admission.clone();
            match admission.hand_over(self.send_away(connection)) {
                None => return,
                Some(back) => connection = *back,
            }
        }
        let mut clusters = self.clusters.borrow_mut();
        if let Some(cluster) = clusters.get_mut(&Arc::as_ptr(&connection.endpoint.admission)) {
            let connections = cluster.endpoints.entry(connection.endpoint.id).or_default();
            if connections.len() < IDLE_PER_ENDPOINT_MAX {
                connections.push(connection);
            }
        }
    }

    /// Gives idle connections of a cluster to those who wait for one; closes some where a limit has been lowered.
    pub(crate) fn surrender(&self, admission: &Arc<Admission>) {
        let now = Instant::now();
        for _ in 0..admission.figures().connections.surplus() {
            // Permits come back when the connections have closed, which is later: each is one less from here on.
            if self.pop_any(admission).is_none() {
                return;
            }
        }
        while admission.has_waiters() {
            let Some(connection) = self.pop_any(admission) else {
                return;
            };
            if connection.may_be_reused(now)
                && let Some(back) = admission.hand_over(self.send_away(connection))
            {
                return self.put(*back);
            }
        }
    }

    /// Closes what has expired, has been closed by its upstream, or leads to an endpoint that is gone.
    pub(crate) fn sweep(&self, now: Instant) {
        self.clusters.borrow_mut().retain(|_, cluster| {
            cluster.endpoints.retain(|_, connections| {
                connections.retain(|connection| connection.may_be_reused(now));
                connections.shrink_to(8);
                !connections.is_empty()
            });
            cluster.admission.reused.add(std::mem::take(&mut cluster.reused));
            let stays = !cluster.endpoints.is_empty();
            if !stays {
                cluster.admission.delist(&self.asks);
            }
            stays
        });
    }

    /// Closes all of them, and each that comes back: the worker is about to end.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        for (_, cluster) in self.clusters.take() {
            cluster.admission.delist(&self.asks);
        }
    }

    /// Whether connections that are driven by this worker are in the hands of others.
    pub(crate) fn is_needed(&self) -> bool {
        // Relaxed: seen a quarter of a second later is early enough.
        self.away.load(Relaxed) > 0
    }

    /// How many connections are idle.
    pub(crate) fn len(&self) -> usize {
        let clusters = self.clusters.borrow();
        clusters
            .values()
            .flat_map(|cluster| cluster.endpoints.values())
            .map(Vec::len)
            .sum()
    }

    fn enlist(&self, admission: &Arc<Admission>) {
        self.clusters
            .borrow_mut()
            .entry(Arc::as_ptr(admission))
            .or_insert_with(|| {
                admission.enlist(&self.asks);
                Idle {
                    admission: admission.clone(),
                    endpoints: FxHashMap::default(),
                    reused: 0,
                }
            });
    }

    fn pop_any(&self, admission: &Arc<Admission>) -> Option<UpstreamConnection> {
        let mut clusters = self.clusters.borrow_mut();
        let cluster = clusters.get_mut(&Arc::as_ptr(admission))?;
        cluster.endpoints.values_mut().find_map(Vec::pop)
    }

    fn send_away(&self, mut connection: UpstreamConnection) -> Box<UpstreamConnection> {
        if connection._away.is_none() {
            connection._away = Some(AwayGuard::new(&self.away));
        }
        Box::new(connection)
    }
}

/// A connection in use. Dropped before [`Lease::complete`], it is closed.
pub(crate) struct Lease {
    connection: UpstreamConnection,
    pool: Rc<Pool>,
}

impl Lease {
    pub(crate) fn new(connection: UpstreamConnection, pool: Rc<Pool>) -> Self {
        Self { connection, pool }
    }

    /// The response has been read to its end: the connection goes back.
    pub(crate) fn complete(self) {
        self.pool.put(self.connection);
    }
}

/// Counts a connection as away from the worker that drives it.
#[derive(Debug)]
struct AwayGuard(Arc<AtomicUsize>);

impl AwayGuard {
    fn new(away: &Arc<AtomicUsize>) -> Self {
        // Relaxed here and below: the count is looked at by itself.
        away.fetch_add(1, Relaxed);
        Self(away.clone())
    }
}

impl Drop for AwayGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
