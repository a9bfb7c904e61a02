//! A connection between its acceptance and the chain that takes it.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use socket2::SockRef;
use tokio::net::TcpStream;
use weft_proxy_core::chain::{Listener, Origin, Spoken};

use crate::http::conn_state::{ConnState, Order};
use crate::worker::{ConnectionGuard, Worker};

/// An accepted connection and what is known of it by now.
pub(crate) struct Accepted {
    /// The listener that serves it: the one that accepted it, or the one of its original destination.
    pub(crate) listener: Arc<Listener>,
    pub(crate) stream: TcpStream,
    pub(crate) origin: Origin,
    /// What was read to find out what it speaks; whoever takes the connection reads this first.
    pub(crate) first: Bytes,
    /// Its client dialled the listener itself, although that takes what was meant for others.
    pub(crate) is_direct: bool,
    /// The accepting listener has no socket any more.
    leaving: bool,
    guard: Option<ConnectionGuard>,
}

impl Accepted {
    /// Finds out where the connection was meant to go, and the listener of that address.
    ///
    /// # Errors
    /// When the connection has ended already.
    pub(super) fn new(worker: &Worker, by: Arc<Listener>, stream: TcpStream, leaving: bool) -> io::Result<Self> {
        let (source, local) = (stream.peer_addr()?, stream.local_addr()?);
        let is_restored = by.use_original_dst || by.inspectors.original_dst;
        let destination = match is_restored {
            true => original_destination(&stream).unwrap_or(local),
            false => local,
        };
        let listener = match by.use_original_dst {
            true => worker.with_snapshot(|snapshot| {
                let found = snapshot.listeners.hand_over(&by, destination);
                // One whose routes are still on their way would answer 404: until then it is as if it were not there.
                if super::is_warm(found, snapshot) {
                    found.clone()
                } else {
                    by.clone()
                }
            }),
            false => by.clone(),
        };
        let origin = Origin {
            source,
            destination,
            is_restored,
            direction: listener.direction,
            spoken: Spoken::Unknown,
        };
        Ok(Self {
            is_direct: is_restored && destination == local && Arc::ptr_eq(&listener, &by),
            listener,
            stream,
            origin,
            first: Bytes::new(),
            leaving,
            guard: None,
        })
    }

    /// Enters the connection into the worker's list, or puts another state in the place of the one before. `false` when the
    /// worker has as many connections as it may.
    pub(crate) fn enter(&mut self, worker: &Rc<Worker>, state: &Arc<ConnState>) -> bool {
        if self.leaving || worker.is_draining() {
            state.command(Order::Drain);
        }
        match &self.guard {
            Some(guard) => guard.replace(state.clone()),
            None => {
                let max = worker.shared.connections_max;
                self.guard = worker.connections.enter(self.listener.name.clone(), state.clone(), max);
            }
        }
        self.guard.is_some()
    }

    /// The parts that whoever takes the connection needs: the stream, what was read of it, and its place in the list.
    pub(crate) fn into_stream(self) -> (TcpStream, Bytes, Option<ConnectionGuard>) {
        (self.stream, self.first, self.guard)
    }
}

/// The address that a client dialled before the kernel's rules redirected the connection to us. `None` where nothing did, or
/// the kernel does not keep track.
fn original_destination(stream: &TcpStream) -> Option<std::net::SocketAddr> {
    let socket = SockRef::from(stream);
    let is_v4 = stream.local_addr().ok()?.ip().to_canonical().is_ipv4();
    let found = if is_v4 {
        socket.original_dst_v4()
    } else {
        socket.original_dst_v6()
    };
    found.ok()?.as_socket()
}
