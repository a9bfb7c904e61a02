//! in → out: a request from its head to the end of its reply → one sample, whatever happens on the way.
//! owns: what is counted about one request, and that it is counted exactly once.
//! may not touch: routing, bodies.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::time::Instant;

use super::body::Upload;
use super::conn::ConnContext;
use super::conn_state::ConnState;
use super::failure::{Failure, RequestFailure};
use super::flags::{Flag, Flags};
use super::grpc;
use crate::telemetry::labels::{DestinationLabels, Reporter};
use crate::telemetry::shard::Sample;
use crate::upstream::admit::Overflow;
use crate::upstream::endpoint::{ActiveGuard, EndpointState};
use crate::worker::Worker;

/// One request and its reply. Dropped before [`Exchange::complete`] or [`Exchange::fail`], the client has left.
pub(crate) struct Exchange {
    worker: Rc<Worker>,
    reporter: Reporter,
    /// `None` for a copy: no client waits for it.
    connection: Option<Arc<ConnState>>,
    started: Instant,
    /// `None` until configuration has named one.
    destination: Option<Arc<DestinationLabels>>,
    active: Option<ActiveGuard>,
    original_destination: Option<SocketAddr>,
    /// Whether the endpoint has something to do with it by now, rather than our own limits.
    asked: Cell<bool>,
    upload: Option<Arc<Upload>>,
    request_bytes: u64,
    response_bytes: u64,
    code: u16,
    flags: Flags,
    reason: Option<&'static str>,
    grpc: bool,
    grpc_status: Option<u8>,
    ended: bool,
}

impl Exchange {
    /// Begins at the moment at which the head has been read.
    pub(crate) fn begin(context: &ConnContext, head_bytes: u64) -> Self {
        context.state.began();
        Self::new(context, Some(context.state.clone()), head_bytes)
    }

    /// A copy, which is an exchange of its own with the other cluster.
    pub(crate) fn begin_copy(context: &ConnContext, head_bytes: u64) -> Self {
        Self::new(context, None, head_bytes)
    }

    fn new(context: &ConnContext, connection: Option<Arc<ConnState>>, head_bytes: u64) -> Self {
        Self {
            worker: context.worker.clone(),
            reporter: context.origin.direction.into(),
            connection,
            started: Instant::now(),
            destination: None,
            active: None,
            original_destination: None,
            asked: Cell::new(false),
            upload: None,
            request_bytes: head_bytes,
            response_bytes: 0,
            code: 0,
            flags: Flags::NONE,
            reason: None,
            grpc: false,
            grpc_status: None,
            ended: false,
        }
    }

    pub(crate) fn is_grpc(&self) -> bool {
        self.grpc
    }

    /// The trailers of the reply.
    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) {
        self.response_bytes += head_bytes(trailers);
        if self.grpc
            && let Some(status) = grpc::status(trailers)
        {
            self.grpc_status = Some(status);
        }
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Where the request goes, as far as it is known by now.
    pub(crate) fn set_destination(&mut self, destination: &Arc<DestinationLabels>) {
        self.destination = Some(destination.clone());
    }

    /// The address that the client dialled, where that was somebody else's.
    pub(crate) fn original_destination(&self) -> Option<SocketAddr> {
        self.original_destination
    }

    pub(crate) fn set_original_destination(&mut self, address: Option<SocketAddr>) {
        self.original_destination = address;
    }

    /// The request turns to an endpoint.
    pub(crate) fn set_active(&mut self, active: ActiveGuard) {
        self.active = Some(active);
        self.asked.set(true);
    }

    /// The request has a connection, and is in flight to the endpoint from now on.
    pub(crate) fn admit(&mut self) -> Result<(), Overflow> {
        self.active.as_mut().map_or(Ok(()), ActiveGuard::admit)
    }

    /// The request is not in flight any more, or not yet.
    pub(crate) fn clear_active(&mut self) {
        self.active = None;
    }

    /// The endpoint that the request is at.
    pub(crate) fn endpoint(&self) -> Option<&Arc<EndpointState>> {
        self.active.as_ref().map(ActiveGuard::endpoint)
    }

    /// The same, once it is waited for: not while the request waits for what other requests have.
    pub(crate) fn asked_endpoint(&self) -> Option<&Arc<EndpointState>> {
        self.endpoint().filter(|_| self.asked.get())
    }

    /// Whether the endpoint is waited for, to be said by whoever makes the request wait for something else.
    pub(crate) fn asked(&self) -> &Cell<bool> {
        &self.asked
    }

    /// A further flag of a request that may still go well.
    pub(crate) fn raise(&mut self, flag: Flag) {
        self.flags.raise(flag);
    }

    pub(crate) fn set_upload(&mut self, upload: Arc<Upload>) {
        self.upload = Some(upload);
    }

    /// The body on its way, if there is one.
    pub(crate) fn upload(&self) -> Option<&Arc<Upload>> {
        self.upload.as_ref()
    }

    pub(crate) fn upload_failed(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| upload.has_failed())
    }

    /// Whether all of it is with the upstream, so that the upstream's connection is free again with the response.
    pub(crate) fn is_upload_sent(&self) -> bool {
        self.upload.as_ref().is_none_or(|upload| upload.is_sent())
    }

    /// Whether the request's own bytes have ended, so that its connection is free again with the response.
    pub(crate) fn is_upload_complete(&self) -> bool {
        self.upload.as_ref().is_none_or(|upload| upload.has_ended())
    }

    pub(crate) fn set_grpc(&mut self) {
        self.grpc = true;
    }

    /// The head of the reply.
    pub(crate) fn reply(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.code = status.as_u16();
        self.response_bytes += head_bytes(headers);
        if self.grpc {
            self.grpc_status = grpc::status(headers);
        }
    }

    pub(crate) fn add_response_bytes(&mut self, bytes: u64) {
        self.response_bytes += bytes;
    }

    /// The reply was complete.
    pub(crate) fn complete(&mut self) {
        self.end();
    }

    /// The request failed, or its reply broke off.
    pub(crate) fn fail(&mut self, failure: Failure) {
        let verdict = failure.verdict();
        self.flags.raise(verdict.flag);
        self.reason = Some(verdict.reason);
        self.end();
    }

    fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.active = None;
        self.connection.iter().for_each(|connection| connection.replied());
        let upload = self.upload.as_ref().map_or(0, |upload| upload.bytes());
        self.worker.observe(&Sample {
            reporter: self.reporter,
            destination: self
                .destination
                .as_ref()
                .unwrap_or(&self.worker.shared.unknown_destination),
            code: self.code,
            flags: self.flags,
            reason: self.reason,
            grpc: self.grpc,
            grpc_status: self.grpc_status,
            duration_us: u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            request_bytes: self.request_bytes + upload,
            response_bytes: self.response_bytes,
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.ended {
            let failure = if self
                .connection
                .as_ref()
                .is_some_and(|connection| connection.is_not_reading())
            {
                RequestFailure::NotReading
            } else {
                RequestFailure::Left
            };
            self.fail(Failure::Request(failure));
        }
    }
}

/// The size of a request's head as HTTP/1 writes it, short of its empty line.
pub(crate) fn request_head_bytes(method: &Method, uri: &Uri, headers: &HeaderMap) -> u64 {
    /// What a request line has besides its method and path: two spaces, the version, the end of the line.
    const REST: usize = " ".len() * 2 + "HTTP/1.1".len() + "\r\n".len();
    (method.as_str().len() + uri.path().len() + REST) as u64 + head_bytes(headers)
}

/// Size of header lines on the wire: name, value, colon, blank and line end.
pub(crate) fn head_bytes(headers: &HeaderMap) -> u64 {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64)
        .sum()
}
