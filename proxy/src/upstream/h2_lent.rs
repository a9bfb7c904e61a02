//! A place for one stream, used by another request than those of the worker that drives the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use hyper::client::conn::http2::SendRequest;

use super::admit::Asks;
use super::endpoint::EndpointState;
use crate::http::body::RequestBody;

/// Places that have been used and are free again, until the connection's own worker takes note of them.
#[derive(Debug, Default)]
pub(super) struct Returned(AtomicU32);

impl Returned {
    pub(super) fn take(&self) -> u32 {
        // Relaxed: only the count matters, and who returns a place sends a message afterwards.
        self.0.swap(0, Relaxed)
    }
}

/// A place for one stream on an HTTP/2 connection at the limit. Given back when it is dropped, wherever that is.
#[derive(Debug)]
pub(crate) struct LentStream {
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) endpoint: Arc<EndpointState>,
    returned: Arc<Returned>,
    /// Places of the worker that others use: it stays until they are back.
    away: Arc<AtomicUsize>,
    /// Where the worker hears that there is something to be done for the cluster.
    owner: Option<Asks>,
}

impl LentStream {
    pub(super) fn new(
        sender: SendRequest<RequestBody>,
        endpoint: Arc<EndpointState>,
        returned: Arc<Returned>,
        away: Arc<AtomicUsize>,
        owner: Asks,
    ) -> Self {
        // Relaxed here and below: the count is looked at by itself.
        away.fetch_add(1, Relaxed);
        Self {
            sender,
            endpoint,
            returned,
            away,
            owner: Some(owner),
        }
    }

    /// Whether its connection takes a request.
    pub(super) fn is_usable(&self) -> bool {
        !self.sender.is_closed() && !self.endpoint.is_removed()
    }

    /// Its place goes back without a word: the worker of the connection itself found no use for it.
    pub(super) fn keep_quiet(mut self) {
        self.owner = None;
    }
}

impl Drop for LentStream {
    fn drop(&mut self) {
        self.away.fetch_sub(1, Relaxed);
        if let Some(owner) = &self.owner {
            self.returned.0.fetch_add(1, Relaxed);
            // A worker that has ended has no connection.
            owner.send(self.endpoint.admission.clone()).ok();
        }
    }
}
