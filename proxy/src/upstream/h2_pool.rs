//! in → out: an endpoint → a place for one stream on an HTTP/2 connection to it.
//! owns: the HTTP/2 connections of one worker: one to an endpoint, more only when the streams of the first are used up.
//! may not touch: requests, other workers' connections.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::cluster::Cluster;
use super::connect::connect_http2;
use super::endpoint::EndpointState;
use super::h2_connection::Http2Connection;
use crate::http::failure::UpstreamFailure;

/// The HTTP/2 connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Http2Pool {
    /// Connections that take requests. One that takes no more leaves, and closes when its last stream ends.
    open: RefCell<FxHashMap<u64, Vec<Rc<Http2Connection>>>>,
    /// At most one dial to an endpoint at a time: who comes meanwhile shares what it brings.
    dials: RefCell<FxHashMap<u64, Rc<Dial>>>,
}

#[derive(Debug, Default)]
struct Dial {
    over: Notify,
    /// Set when it has failed: whoever waits for it fails with it.
    failure: Cell<Option<UpstreamFailure>>,
}

impl Http2Pool {
    /// A place on a connection to the endpoint, dialled if there is none.
    ///
    /// Cancel safe: a dial that is dropped lets the next of those who wait dial.
    pub(super) async fn acquire(
        self: &Rc<Self>,
        cluster: &Cluster,
        endpoint: &Arc<EndpointState>,
    ) -> Result<StreamLease, UpstreamFailure> {
        loop {
            if let Some(lease) = self.take(endpoint.id) {
                return Ok(lease);
            }
            let under_way = self.dials.borrow().get(&endpoint.id).cloned();
            match under_way {
                Some(dial) => {
                    dial.over.notified().await;
                    if let Some(failure) = dial.failure.get() {
                        return Err(failure);
                    }
                }
                None => self.dial(cluster, endpoint).await?,
            }
        }
    }

    async fn dial(&self, cluster: &Cluster, endpoint: &Arc<EndpointState>) -> Result<(), UpstreamFailure> {
        let dial = Rc::new(Dial::default());
        self.dials.borrow_mut().insert(endpoint.id, dial.clone());
        let _over = DialGuard {
            pool: self,
            endpoint: endpoint.id,
        };
        let connection = connect_http2(cluster, endpoint)
            .await
            .inspect_err(|failure| dial.failure.set(Some(*failure)))?;
        let mut open = self.open.borrow_mut();
        open.entry(endpoint.id).or_default().push(Rc::new(connection));
        Ok(())
    }

    /// A place on an open connection. The first that has one: later ones get the chance to grow idle.
    fn take(self: &Rc<Self>, endpoint: u64) -> Option<StreamLease> {
        let mut open = self.open.borrow_mut();
        let connections = open.get_mut(&endpoint)?;
        let now = Instant::now();
        connections.retain(|connection| connection.is_usable(now));
        let connection = connections.iter().find(|connection| connection.reserve())?;
        Some(StreamLease {
            connection: connection.clone(),
        })
    }

    /// Sends no further request on a connection whose peer is going away.
    pub(super) fn retire(&self, lease: &StreamLease) {
        if let Some(connections) = self.open.borrow_mut().get_mut(&lease.connection.endpoint.id) {
            connections.retain(|connection| !Rc::ptr_eq(connection, &lease.connection));
        }
    }

    /// Lets go of what has expired, has ended, or leads to an endpoint that is gone.
    pub(crate) fn sweep(&self, now: Instant) {
        self.open.borrow_mut().retain(|_, connections| {
            connections.retain(|connection| connection.is_usable(now) && !connection.has_expired(now));
            !connections.is_empty()
        });
    }

    /// How many connections have no stream.
    pub(crate) fn idle(&self) -> usize {
        let open = self.open.borrow();
        open.values().flatten().filter(|connection| connection.is_idle()).count()
    }
}

struct DialGuard<'a> {
    pool: &'a Http2Pool,
    endpoint: u64,
}

impl Drop for DialGuard<'_> {
    fn drop(&mut self) {
        if let Some(dial) = self.pool.dials.borrow_mut().remove(&self.endpoint) {
            dial.over.notify_waiters();
        }
    }
}

/// A place for one stream. Given back when it is dropped, whether the stream has ended well or not.
#[derive(Debug)]
pub(crate) struct StreamLease {
    pub(super) connection: Rc<Http2Connection>,
}

impl Drop for StreamLease {
    fn drop(&mut self) {
        self.connection.release();
    }
}
