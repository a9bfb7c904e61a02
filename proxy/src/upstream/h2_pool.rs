//! in → out: an endpoint → a place for one stream on an HTTP/2 connection to it.
//! owns: the HTTP/2 connections of one worker: one to an endpoint, more only when the streams of the first are used up.
//! may not touch: requests, other workers' connections but for the places they lend, the limits' arithmetic.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hyper::client::conn::http2::SendRequest;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::admit::{Admission, Asks, ConnectionPermit, Grant, Overflow, Wants};
use super::cluster::Cluster;
use super::connect::connect_http2;
use super::endpoint::EndpointState;
use super::h2_connection::Http2Connection;
use super::h2_lent::{LentStream, Returned};
use crate::http::body::RequestBody;
use crate::http::failure::Failure;
use crate::worker::Worker;

/// How long a connection is used before it is given up for those who wait for one at the limit: its handshake is worth
/// some requests, and a waiter waits no longer than that for its turn.
const TURN: Duration = Duration::from_millis(50);

/// The HTTP/2 connections of one worker.
pub(crate) struct Http2Pool {
    /// By the address of the cluster's admission, which an entry keeps from being used again.
    clusters: RefCell<FxHashMap<*const Admission, Known>>,
    /// Where this worker hears that a cluster needs its connections.
    asks: Asks,
    /// Places of this worker that others use.
    away: Arc<AtomicUsize>,
}

/// What a worker knows of one cluster.
struct Known {
    _admission: Arc<Admission>,
    /// Alive while there is a connection.
    enlisted: Weak<Enlisted>,
    /// By the endpoint's id.
    endpoints: FxHashMap<u64, Rc<Shared>>,
}

/// What requests of one worker to one endpoint share.
#[derive(Default)]
pub(super) struct Shared {
    /// Connections that take requests. One that takes no more leaves, and closes when its last stream ends.
    open: RefCell<Vec<Rc<Http2Connection>>>,
    /// At most one dial at a time: who comes meanwhile shares what it brings.
    dial: RefCell<Option<Rc<Dial>>>,
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
    away: Arc<AtomicUsize>,
}

impl Enlisted {
    pub(super) fn lend(
        &self,
        sender: SendRequest<RequestBody>,
        endpoint: Arc<EndpointState>,
        returned: Arc<Returned>,
    ) -> LentStream {
        LentStream::new(sender, endpoint, returned, self.away.clone(), self.asks.clone())
    }
}

impl Drop for Enlisted {
    fn drop(&mut self) {
        self.admission.delist(&self.asks);
    }
}

impl Http2Pool {
    /// An empty pool; `asks` is where its worker hears that a cluster needs its connections.
    pub(crate) fn new(asks: Asks) -> Rc<Self> {
        Rc::new(Self {
            clusters: RefCell::default(),
            asks,
            away: Arc::default(),
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
        let shared = self.shared(endpoint);
        if let Some(lease) = shared.take() {
            return Ok(lease);
        }
        // Before the box: a refusal is cheap.
        let _pending = cluster.state.admission.pending(Wants::Stream).await?;
        // Boxed: requests that find a place do not carry its size.
        Box::pin(self.dial_or_wait(worker, cluster, endpoint, &shared, asked)).await
    }

    async fn dial_or_wait(
        &self,
        worker: &Rc<Worker>,
        cluster: &Cluster,
        endpoint: &Arc<EndpointState>,
        shared: &Rc<Shared>,
        asked: &Cell<bool>,
    ) -> Result<StreamLease, Failure> {
        let admission = &cluster.state.admission;
        let mut place = None;
        let mut permit = None;
        loop {
            let under_way = shared.dial.borrow().clone();
            if let Some(dial) = under_way {
                // Somebody else makes use of it.
                drop(permit.take());
                dial.over.notified().await;
                if let Some(failure) = dial.failure.get() {
                    return Err(failure);
                }
            } else if let Some(permit) = permit.take().or_else(|| admission.try_connection()) {
                admission.has_room()?;
                if let Some(lease) = self.dial(cluster, endpoint, shared, permit, asked).await? {
                    return Ok(lease);
                }
            } else if cluster.config.limits.connections_max == 0 {
                return Err(Failure::Overflow(Overflow::Connections));
            } else {
                let waiting = admission.wait_for_stream(&worker.pool, place, endpoint);
                // Should what is granted be of no use, the request goes on waiting where it was.
                place = Some(waiting.ticket());
                match waiting.await? {
                    Grant::Permit(granted) => permit = Some(granted),
                    Grant::Stream(stream) if stream.is_usable() => return Ok(StreamLease::lent(stream)),
                    // The one has ended; the other speaks HTTP/1: its close brings the permit.
                    Grant::Stream(_) | Grant::Connection(_) => {}
                }
            }
            // A permit that is not needed after all is passed on.
            if let Some(lease) = shared.take() {
                return Ok(lease);
            }
        }
    }

    /// Opens a connection, and takes the first place on it.
    async fn dial(
        &self,
        cluster: &Cluster,
        endpoint: &Arc<EndpointState>,
        shared: &Rc<Shared>,
        permit: ConnectionPermit,
        asked: &Cell<bool>,
    ) -> Result<Option<StreamLease>, Failure> {
        let dial = Rc::new(Dial::default());
        *shared.dial.borrow_mut() = Some(dial.clone());
        let _over = DialGuard(shared);
        asked.set(true);
        let enlisted = self.enlist(&endpoint.admission);
        let connection = connect_http2(cluster, endpoint, permit, enlisted)
            .await
            .map_err(Failure::Upstream)
            .inspect_err(|failure| dial.failure.set(Some(*failure)))?;
        asked.set(false);
        let connection = Rc::new(connection);
        shared.open.borrow_mut().push(connection.clone());
        // Whoever has dialled it sends on it, also when others would rather have it closed.
        let lease = shared.reserve(&connection);
        shared.lend();
        Ok(lease)
    }

    fn known<T>(&self, admission: &Arc<Admission>, with: impl FnOnce(&mut Known) -> T) -> T {
        let mut clusters = self.clusters.borrow_mut();
        with(clusters.entry(Arc::as_ptr(admission)).or_insert_with(|| Known {
            _admission: admission.clone(),
            enlisted: Weak::new(),
            endpoints: FxHashMap::default(),
        }))
    }

    fn shared(&self, endpoint: &EndpointState) -> Rc<Shared> {
        self.known(&endpoint.admission, |known| {
            known.endpoints.entry(endpoint.id).or_default().clone()
        })
    }

    fn enlist(&self, admission: &Arc<Admission>) -> Rc<Enlisted> {
        self.known(admission, |known| {
            known.enlisted.upgrade().unwrap_or_else(|| {
                admission.enlist(&self.asks);
                let enlisted = Rc::new(Enlisted {
                    admission: admission.clone(),
                    asks: self.asks.clone(),
                    away: self.away.clone(),
                });
                known.enlisted = Rc::downgrade(&enlisted);
                enlisted
            })
        })
    }

    /// Lends what is free of the connections to a cluster to those who wait, and closes what is in their way or too much.
    pub(crate) fn surrender(&self, admission: &Admission) {
        // Copied: closing a connection may come back here.
        let known: Vec<Rc<Shared>> = match self.clusters.borrow().get(&std::ptr::from_ref(admission)) {
            Some(known) => known.endpoints.values().cloned().collect(),
            None => return,
        };
        known.iter().for_each(|shared| shared.settle());
    }

    /// Sends no further request on a connection whose peer is going away.
    pub(super) fn retire(&self, lease: &StreamLease) {
        // One that was lent leaves when its worker finds it closed.
        if let Place::Own { connection, shared } = &lease.place {
            shared.let_go(|one| Rc::ptr_eq(one, connection));
        }
    }

    /// Lets go of what has expired, has ended, is wanted by others, or leads to an endpoint that is gone.
    pub(crate) fn sweep(&self, now: Instant) {
        self.clusters.borrow_mut().retain(|_, known| {
            known.endpoints.retain(|_, shared| {
                shared.let_go(|connection| !connection.is_usable(now) || connection.has_expired(now));
                shared.settle();
                // Somebody holds it: a stream, a dial or one who waits.
                !shared.open.borrow().is_empty() || Rc::strong_count(shared) > 1
            });
            !known.endpoints.is_empty()
        });
    }

    /// Whether connections that are driven by this worker are in use by others.
    pub(crate) fn is_needed(&self) -> bool {
        // Relaxed: seen a quarter of a second later is early enough.
        self.away.load(Relaxed) > 0
    }

    /// How many connections have no stream.
    pub(crate) fn idle(&self) -> usize {
        let idle = |shared: &Rc<Shared>| shared.open.borrow().iter().filter(|one| one.is_idle()).count();
        let clusters = self.clusters.borrow();
        clusters
            .values()
            .flat_map(|known| known.endpoints.values())
            .map(idle)
            .sum()
    }
}

/// Whether a connection is one too many, or in the way of somebody who cannot use its streams: at once when it has none, else
/// after its turn.
fn makes_way(connection: &Http2Connection, now: Instant) -> bool {
    let admission = &connection.endpoint.admission;
    (connection.is_idle() || connection.has_served(TURN, now))
        && (admission.has_surplus() || admission.is_wanted_elsewhere(&connection.endpoint))
}

impl Shared {
    /// A place on an open connection. The first that has one: later ones get the chance to grow idle.
    fn take(self: &Rc<Self>) -> Option<StreamLease> {
        let now = Instant::now();
        // Idle ones, too: whoever cannot use it waits for longer.
        self.let_go(|connection| !connection.is_usable(now) || makes_way(connection, now));
        let open = self.open.borrow();
        open.iter().find_map(|connection| self.reserve(connection))
    }

    fn reserve(self: &Rc<Self>, connection: &Rc<Http2Connection>) -> Option<StreamLease> {
        connection.reserve().then(|| StreamLease {
            place: Place::Own {
                connection: connection.clone(),
                shared: self.clone(),
            },
        })
    }

    /// Something has changed: places that were lent come back, who waits gets what is free, what is in the way goes.
    fn settle(&self) {
        let now = Instant::now();
        self.open.borrow().iter().for_each(|connection| connection.collect());
        self.lend();
        self.let_go(|connection| makes_way(connection, now));
    }

    /// Lends free places to those of the queue who can use them.
    fn lend(&self) {
        let now = Instant::now();
        for connection in &*self.open.borrow() {
            let admission = &connection.endpoint.admission;
            while admission.has_waiters() && connection.is_usable(now) && !makes_way(connection, now) {
                let Some(stream) = connection.lend() else { break };
                if let Some(unwanted) = admission.lend(Box::new(stream)) {
                    unwanted.keep_quiet();
                    connection.release();
                    break;
                }
            }
        }
    }

    fn let_go(&self, is_over: impl Fn(&Rc<Http2Connection>) -> bool) {
        let gone: Vec<Rc<Http2Connection>> = self.open.borrow_mut().extract_if(.., |one| is_over(one)).collect();
        // Outside the borrow: the close of the last of them gives a permit to somebody.
        drop(gone);
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
    pub(super) place: Place,
}

pub(super) enum Place {
    /// On a connection of this worker.
    Own {
        connection: Rc<Http2Connection>,
        shared: Rc<Shared>,
    },
    /// At the limit, on whosoever's.
    Lent(Box<LentStream>),
}

impl StreamLease {
    fn lent(stream: Box<LentStream>) -> Self {
        Self {
            place: Place::Lent(stream),
        }
    }
}

impl Drop for StreamLease {
    fn drop(&mut self) {
        if let Place::Own { connection, shared } = &self.place {
            connection.release();
            let admission = &connection.endpoint.admission;
            if admission.has_waiters() || admission.has_surplus() {
                shared.settle();
            }
        }
    }
}
