//! in → out: a request, a retry or a connection that is about to be → a permit, a place in the queue, or `Overflow`.
//! owns: the limits of a cluster, exact across workers; who waits for a connection; what was refused.
//! may not touch: which endpoint is picked, sockets, requests.
//!
//! How it is used, in the order of an attempt:
//! 1. With a connection, be it an idle one of this worker ([`Pool::take`](super::pool::Pool::take)), the request counts against
//!    `max_requests`: [`ActiveGuard::admit`](super::endpoint::ActiveGuard::admit).
//! 2. Otherwise the request is pending until it has a connection: [`Admission::pending`].
//! 3. [`Admission::try_connection`] gives the permit to open one, as long as the limit is not reached and nobody waits.
//!    The socket owns the permit ([`PermittedStream`]), so that it comes back after the close, wherever the socket goes.
//! 4. At the limit, [`Admission::wait`] resolves to a permit or to an open connection that somebody gave up, and
//!    [`Admission::wait_for_stream`] also to a stream of a connection that another worker may drive.
//!
//! Retries ask [`Admission::retry`]; a TCP connection, which never waits, asks [`Admission::connection`].

mod admission;
mod pending;
mod permit;
mod places;
mod stream;
mod wait;

pub(crate) use admission::{Admission, Figures, Overflow};
pub(crate) use pending::Wants;
pub(crate) use permit::{ConnectionPermit, PendingPermit};
pub(crate) use places::Http2Places;
pub(crate) use stream::PermittedStream;
pub(crate) use wait::{Asks, Grant};
