//! in → out: an endpoint → an idle HTTP/1 connection to it, and back when a response has been read to its end.
//! owns: the idle connections of one worker and their age.
//! may not touch: requests, other workers' connections.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

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
}

/// An open HTTP/1 connection to an endpoint.
pub(crate) struct UpstreamConnection {
    pub(crate) sender: SendRequest<RequestBody>,
    pub(crate) endpoint: Arc<EndpointState>,
    policy: ReusePolicy,
    /// Requests sent on it.
    pub(crate) requests: u32,
    idle_since: Instant,
}

impl UpstreamConnection {
    pub(crate) fn new(sender: SendRequest<RequestBody>, endpoint: Arc<EndpointState>, policy: ReusePolicy) -> Self {
        Self {
            sender,
            endpoint,
            policy,
            requests: 0,
            idle_since: Instant::now(),
        }
    }

    fn may_be_reused(&self) -> bool {
        !self.sender.is_closed()
            && !self.endpoint.is_removed()
            && self.policy.requests_max.is_none_or(|max| self.requests < max)
    }

    fn has_expired(&self, now: Instant) -> bool {
        self.policy
            .idle_max
            .is_some_and(|max| now.saturating_duration_since(self.idle_since) >= max)
    }
}

/// The idle connections of one worker.
#[derive(Default)]
pub(crate) struct Pool {
    idle: RefCell<FxHashMap<u64, Vec<UpstreamConnection>>>,
}

impl Pool {
    /// The connection that became idle last: the others get the chance to grow old.
    pub(crate) fn take(&self, endpoint: &EndpointState) -> Option<UpstreamConnection> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&endpoint.id)?;
        while let Some(connection) = connections.pop() {
            if connection.may_be_reused() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose response has been read to its end, if it may be used again.
    pub(crate) fn put(&self, mut connection: UpstreamConnection) {
        if !connection.may_be_reused() {
            return;
        }
        connection.idle_since = Instant::now();
        let mut idle = self.idle.borrow_mut();
        let connections = idle.entry(connection.endpoint.id).or_default();
        if connections.len() < IDLE_PER_ENDPOINT_MAX {
            connections.push(connection);
        }
    }

    /// Closes what has expired, has been closed by its upstream, or leads to an endpoint that is gone.
    pub(crate) fn sweep(&self, now: Instant) {
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain(|connection| connection.may_be_reused() && !connection.has_expired(now));
            connections.shrink_to(8);
            !connections.is_empty()
        });
    }

    /// How many connections are idle.
    pub(crate) fn len(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
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
