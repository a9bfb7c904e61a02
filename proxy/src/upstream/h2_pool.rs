//! in → out: an endpoint → a place for one stream on an HTTP/2 connection to it.
//! owns: the HTTP/2 connections of one worker: one to an endpoint, more only when the streams of the first are used up.
//! may not touch: requests, other workers' connections, the limits' arithmetic.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::admit::{Admission, Asks, ConnectionPermit, Grant, Overflow};
use super::cluster::Cluster;
use super::connect::connect_http2;
use super::endpoint::EndpointState;
use super::h2_connection::Http2Connection;
use crate::http::failure::Failure;
use crate::worker::Worker;

/// How long a connection is used before it is given up for those who wait for one at the limit: its handshake is worth
/// some requests, and a waiter waits no longer than that for its turn.
const TURN: Duration = Duration::from_millis(50);

/// The HTTP/2 connections of one worker.
pub(crate) struct Http2Pool {
    endpoints: RefCell<FxHashMap<u64, Rc<Shared>>>,
    /// Where this worker hears that a cluster needs its idle connections.
    asks: Asks,
    /// Clusters that know this worker as one to ask, by the address of their admission.
    enlisted: RefCell<FxHashMap<*const Admission, Weak<Enlisted>>>,
}

/// What requests of one worker to one endpoint share.
#[derive(Default)]
struct Shared {
    /// Connections that take requests. One that takes no more leaves, and closes when its last stream ends.
    open: RefCell<Vec<Rc<Http2Connection>>>,
    /// At most one dial at a time: who comes meanwhile shares what it brings.
    dial: RefCell<Option<Rc<Dial>>>,
    /// A stream has ended or a connection has left.
    changed: Notify,
}

#[derive(Default)]
struct Dial {
    over: Notify,
    /// Set when it has failed: whoever waits for it fails with it.
    failure: Cell<Option<Failure>>,
}

/// Kept by every connection: with the last of a cluster the worker is not asked any more.
pub(super) struct Enlisted {
    admission: Arc<Admission>,
    asks: Asks,
}

impl Drop for Enlisted {
    fn drop(&mut self) {
        self.admission.delist(&self.asks);
    }
}

impl Http2Pool {
    /// An empty pool; `asks` is where its worker hears that a cluster needs idle connections.
    pub(crate) fn new(asks: Asks) -> Rc<Self> {
        Rc::new(Self {
            endpoints: RefCell::default(),
            asks,
            enlisted: RefCell::default(),
        })
    }

    /// A place on a connection to the endpoint, dialled or waited for if there is none; pending until then.
    ///
    /// `asked` becomes true while it dials. Cancel safe: a dial that is dropped lets the next of those who wait dial.
    pub(super) async fn acquire(
        &self,
        worker: &Rc<Worker>,
        cluster: &Cluster,
        endpoint: &Arc<EndpointState>,
        asked: &Cell<bool>,
    ) -> Result<StreamLease, Failure> {
        let shared = self.shared(endpoint.id);
        if let Some(lease) = shared.take() {
            return Ok(lease);
        }
        let admission = &cluster.state.admission;
        let _pending = admission.pending()?;
        loop {
            let under_way = shared.dial.borrow().clone();
            if let Some(dial) = under_way {
                dial.over.notified().await;
                if let Some(failure) = dial.failure.get() {
                    return Err(failure);
                }
            } else if let Some(permit) = admission.try_connection() {
                self.dial(worker, cluster, endpoint, &shared, Some(permit), asked)
                    .await?;
            } else if shared.open.borrow().is_empty() {
                self.dial(worker, cluster, endpoint, &shared, None, asked).await?;
            } else {
                // At the limit, and the streams of what is open are used up: mostly one of them ends before others would give
                // way. A permit that comes free elsewhere, or a raised limit, is looked for after a turn; to queue for it would
                // make our own connection give way.
                let ended = tokio::time::timeout(TURN, shared.changed.notified()).await;
                tracing::trace!(ended = ended.is_ok(), "waited for a stream at the limit");
            }
            asked.set(false);
            if let Some(lease) = shared.take() {
                return Ok(lease);
            }
        }
    }

    /// Opens a connection, with a permit that is at hand or with the one that the queue gives.
    async fn dial(
        &self,
        worker: &Rc<Worker>,
        cluster: &Cluster,
        endpoint: &Arc<EndpointState>,
        shared: &Rc<Shared>,
        permit: Option<ConnectionPermit>,
        asked: &Cell<bool>,
    ) -> Result<(), Failure> {
        let dial = Rc::new(Dial::default());
        *shared.dial.borrow_mut() = Some(dial.clone());
        let _over = DialGuard(shared);
        let connecting = async {
            let permit = match permit {
                Some(permit) => permit,
                None => wait(worker, cluster).await?,
            };
            asked.set(true);
            let enlisted = self.enlist(&endpoint.admission);
            connect_http2(cluster, endpoint, permit, enlisted)
                .await
                .map_err(Failure::Upstream)
        };
        let connection = connecting
            .await
            .inspect_err(|failure| dial.failure.set(Some(*failure)))?;
        shared.open.borrow_mut().push(Rc::new(connection));
        Ok(())
    }

    fn shared(&self, endpoint: u64) -> Rc<Shared> {
        self.endpoints.borrow_mut().entry(endpoint).or_default().clone()
    }

    fn enlist(&self, admission: &Arc<Admission>) -> Rc<Enlisted> {
        let mut all = self.enlisted.borrow_mut();
        let known = all.entry(Arc::as_ptr(admission)).or_default();
        known.upgrade().unwrap_or_else(|| {
            admission.enlist(&self.asks);
            let enlisted = Rc::new(Enlisted {
                admission: admission.clone(),
                asks: self.asks.clone(),
            });
            *known = Rc::downgrade(&enlisted);
            enlisted
        })
    }

    /// Closes idle connections to a cluster: for those who wait, or because there are too many.
    pub(crate) fn surrender(&self, admission: &Admission) {
        for shared in self.endpoints.borrow().values() {
            shared.let_go(|connection| {
                std::ptr::eq(Arc::as_ptr(&connection.endpoint.admission), admission) && is_wanted(connection)
            });
        }
    }

    /// Sends no further request on a connection whose peer is going away.
    pub(super) fn retire(&self, lease: &StreamLease) {
        let gone = &lease.connection;
        lease.shared.let_go(|connection| Rc::ptr_eq(connection, gone));
    }

    /// Lets go of what has expired, has ended, is wanted by others, or leads to an endpoint that is gone.
    pub(crate) fn sweep(&self, now: Instant) {
        self.endpoints.borrow_mut().retain(|_, shared| {
            shared.let_go(|connection| {
                !connection.is_usable(now) || connection.has_expired(now) || is_wanted(connection)
            });
            // Somebody holds it: a stream, a dial or one who waits.
            !shared.open.borrow().is_empty() || Rc::strong_count(shared) > 1
        });
        self.enlisted.borrow_mut().retain(|_, one| one.strong_count() > 0);
    }

    /// How many connections have no stream.
    pub(crate) fn idle(&self) -> usize {
        let idle = |shared: &Rc<Shared>| shared.open.borrow().iter().filter(|one| one.is_idle()).count();
        self.endpoints.borrow().values().map(idle).sum()
    }
}

/// Waits in the cluster's queue for the permit to open a connection.
async fn wait(worker: &Rc<Worker>, cluster: &Cluster) -> Result<ConnectionPermit, Failure> {
    let admission = &cluster.state.admission;
    if cluster.config.limits.connections_max == 0 {
        return Err(Failure::Overflow(Overflow::Connections));
    }
    let mut place = None;
    loop {
        let waiting = admission.wait(&worker.pool, place);
        place = Some(waiting.ticket());
        match waiting.await? {
            Grant::Permit(permit) => return Ok(permit),
            // It speaks HTTP/1: its close brings the permit.
            Grant::Connection(_) => {}
        }
    }
}

/// Whether an idle connection is in the way of somebody else, or one too many.
fn is_wanted(connection: &Http2Connection) -> bool {
    let admission = &connection.endpoint.admission;
    connection.is_idle() && (admission.has_waiters() || admission.has_surplus())
}

impl Shared {
    /// A place on an open connection. The first that has one: later ones get the chance to grow idle.
    fn take(self: &Rc<Self>) -> Option<StreamLease> {
        let now = Instant::now();
        self.let_go(|connection| {
            let admission = &connection.endpoint.admission;
            !connection.is_usable(now)
                || connection.has_served(TURN, now) && (admission.has_waiters() || admission.has_surplus())
        });
        let open = self.open.borrow();
        let connection = open.iter().find(|connection| connection.reserve())?;
        Some(StreamLease {
            connection: connection.clone(),
            shared: self.clone(),
        })
    }

    fn let_go(&self, is_over: impl Fn(&Rc<Http2Connection>) -> bool) {
        let mut open = self.open.borrow_mut();
        let before = open.len();
        open.retain(|connection| !is_over(connection));
        if open.len() < before {
            self.changed.notify_waiters();
        }
    }
}

struct DialGuard<'a>(&'a Shared);

impl Drop for DialGuard<'_> {
    fn drop(&mut self) {
        if let Some(dial) = self.0.dial.borrow_mut().take() {
            dial.over.notify_waiters();
        }
    }
}

/// A place for one stream. Given back when it is dropped, whether the stream has ended well or not.
pub(crate) struct StreamLease {
    pub(super) connection: Rc<Http2Connection>,
    shared: Rc<Shared>,
}

impl Drop for StreamLease {
    fn drop(&mut self) {
        self.connection.release();
        self.shared.let_go(|connection| is_wanted(connection));
        self.shared.changed.notify_one();
    }
}
