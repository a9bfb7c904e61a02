//! The queue at the connection limit: who waits, who is asked for idle connections, who is told.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot::{self, error::TryRecvError};
use weft_proxy_core::limit::{Permit, Ticket};

use super::admission::{Admission, Overflow};
use super::permit::ConnectionPermit;
use crate::upstream::endpoint::EndpointState;
use crate::upstream::h2_lent::LentStream;
use crate::upstream::pool::{Pool, UpstreamConnection};

/// Where a worker hears that a cluster needs its idle connections. Unbounded, since who asks may not wait: a cluster asks a
/// worker once each time that its queue stops being empty.
pub(crate) type Asks = UnboundedSender<Arc<Admission>>;

/// Waiters that are looked at for one that goes where a free stream leads.
const LOOKED_AT_MAX: usize = 64;

/// A request in the queue.
#[derive(Debug)]
pub(super) struct Waiter {
    tell: oneshot::Sender<Grant>,
    /// The id of the endpoint whose streams it can use. `None`: it speaks HTTP/1, to any.
    streams_of: Option<u64>,
}

/// What a waiter gets.
#[derive(Debug)]
pub(crate) enum Grant {
    /// It may open a connection.
    Permit(ConnectionPermit),
    /// It may use this one, if it leads where the waiter goes; else the waiter closes it and waits for its permit.
    Connection(Box<UpstreamConnection>),
    /// It may send on a stream of this one, which another worker may drive.
    Stream(Box<LentStream>),
}

/// A place in the queue. Resolves once; dropped before, it leaves the queue and passes on what it was given.
pub(crate) struct Waiting {
    admission: Arc<Admission>,
    pool: Rc<Pool>,
    ticket: Ticket,
    granted: oneshot::Receiver<Grant>,
}

impl Admission {
    /// Waits for a connection; `place` is where the request has waited before. The limit must have been found reached.
    pub(crate) fn wait(self: &Arc<Self>, pool: &Rc<Pool>, place: Option<Ticket>) -> Waiting {
        self.enter(pool, place, None)
    }

    /// The same for a request that a stream of an open connection to this endpoint serves as well.
    pub(crate) fn wait_for_stream(
        self: &Arc<Self>,
        pool: &Rc<Pool>,
        place: Option<Ticket>,
        endpoint: &EndpointState,
    ) -> Waiting {
        self.enter(pool, place, Some(endpoint.id))
    }

    fn enter(self: &Arc<Self>, pool: &Rc<Pool>, place: Option<Ticket>, streams_of: Option<u64>) -> Waiting {
        let (tell, granted) = oneshot::channel();
        let (ticket, is_first) = self.connections.enter(place, Waiter { tell, streams_of });
        let waiting = Waiting {
            admission: self.clone(),
            pool: pool.clone(),
            ticket,
            granted,
        };
        if place.is_none() {
            self.refused.connections.increment();
        }
        self.serve();
        // While the queue stays as long as it is, or shorter but not empty, workers that were asked keep handing over what
        // becomes idle: they see a queue that has not been empty since. Only its first needs to ask, and who can use a stream:
        // one that was of no use to the waiters before may be free.
        if (is_first || streams_of.is_some()) && self.has_waiters() {
            self.ask();
        }
        waiting
    }

    /// Hands an open connection to the first waiter; it comes back when nobody waits.
    pub(crate) fn hand_over(&self, mut connection: Box<UpstreamConnection>) -> Option<Box<UpstreamConnection>> {
        while let Some(waiter) = self.connections.pop() {
            match waiter.tell.send(Grant::Connection(connection)) {
                Ok(()) => {
                    self.lent.increment();
                    return None;
                }
                Err(Grant::Connection(back)) => connection = back,
                // It is what was sent.
                Err(Grant::Permit(_) | Grant::Stream(_)) => return None,
            }
        }
        Some(connection)
    }

    /// Lends a free stream to the first waiter that can use it; it comes back when there is none.
    pub(crate) fn lend(&self, mut stream: Box<LentStream>) -> Option<Box<LentStream>> {
        let endpoint = Some(stream.endpoint.id);
        while let Some(waiter) = self.pop_stream_waiter(endpoint) {
            match waiter.tell.send(Grant::Stream(stream)) {
                Ok(()) => {
                    self.lent.increment();
                    return None;
                }
                Err(Grant::Stream(back)) => stream = back,
                // It is what was sent.
                Err(Grant::Permit(_) | Grant::Connection(_)) => return None,
            }
        }
        Some(stream)
    }

    fn pop_stream_waiter(&self, endpoint: Option<u64>) -> Option<Waiter> {
        self.connections
            .pop_where(LOOKED_AT_MAX, |waiter| waiter.streams_of == endpoint)
    }

    /// Whether the first of those who wait cannot use a stream to this endpoint: a connection to it has to make way.
    pub(crate) fn is_wanted_elsewhere(&self, endpoint: &EndpointState) -> bool {
        self.has_waiters()
            && self
                .connections
                .first_is(|waiter| waiter.streams_of != Some(endpoint.id))
    }

    /// This worker has idle connections from now on: it is asked for them.
    ///
    /// Called before it looks for waiters. Either the one who asks finds it on the list, or, the list being locked later
    /// here than there, it finds the waiter.
    pub(crate) fn enlist(&self, asks: &Asks) {
        self.lenders().push(asks.clone());
    }

    /// This worker has none any more.
    pub(crate) fn delist(&self, asks: &Asks) {
        self.lenders().retain(|one| !one.same_channel(asks));
    }

    /// Asks workers for idle connections: for waiters, or because there are too many.
    pub(super) fn ask(self: &Arc<Self>) {
        for asks in self.lenders().iter() {
            // A worker that has ended has no idle connection.
            asks.send(self.clone()).ok();
        }
    }

    /// Gives waiters what is free.
    pub(super) fn serve(self: &Arc<Self>) {
        while let Some(found) = self.connections.next() {
            self.tell(found);
        }
    }

    /// A connection has been closed.
    pub(super) fn give_back(self: &Arc<Self>, permit: Permit) {
        if let Some(found) = self.connections.pass(permit) {
            self.tell(found);
        }
    }

    fn tell(self: &Arc<Self>, found: (Waiter, Permit)) {
        let mut next = Some(found);
        while let Some((waiter, permit)) = next {
            let grant = Grant::Permit(ConnectionPermit::new(self.clone(), permit));
            let refused = match waiter.tell.send(grant) {
                Ok(()) | Err(Grant::Connection(_) | Grant::Stream(_)) => None,
                // It has left; a loop rather than its drop, since a thousand may leave at once.
                Err(Grant::Permit(permit)) => permit.into_inner(),
            };
            next = refused.and_then(|permit| self.connections.pass(permit));
        }
    }

    fn lenders(&self) -> MutexGuard<'_, Vec<Asks>> {
        self.lenders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// The place, to be kept when what was granted turns out to be of no use.
    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }
}

impl Future for Waiting {
    type Output = Result<Grant, Overflow>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A sender that is dropped without a word: the cluster may have no connection at all any more.
        Pin::new(&mut self.granted)
            .poll(cx)
            .map(|granted| granted.map_err(|_| Overflow::Connections))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.admission.connections.leave(self.ticket));
        self.granted.close();
        match self.granted.try_recv() {
            // A good connection is too dear to be closed because its user has left.
            Ok(Grant::Connection(connection)) => self.pool.put(*connection),
            // Dropping a permit or a stream passes it on.
            Ok(Grant::Permit(_) | Grant::Stream(_)) | Err(TryRecvError::Empty | TryRecvError::Closed) => {}
        }
    }
}
