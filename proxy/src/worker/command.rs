//! What the main thread tells a worker.

use std::net::TcpListener;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::telemetry::shard::Drained;

/// An order to one worker. Sent rarely: when listeners change, at a scrape, at the end.
#[derive(Debug)]
pub(crate) enum Command {
    /// Accept on this socket for the listener of that name.
    Listen { name: Arc<str>, socket: TcpListener },
    /// Accept what waits on the listener's socket, then close it; its connections finish their requests.
    Unlisten { name: Arc<str> },
    /// What accepts for a listener accepts for another one from now on: from which, for which. Connections of before finish
    /// their requests. All at once, since listeners may trade places.
    HandOver(Arc<[(Arc<str>, Arc<str>)]>),
    /// The listener of that name has changed: its connections of before finish their requests and close.
    Renew { name: Arc<str> },
    /// Hand over what was counted.
    Scrape(oneshot::Sender<Scrape>),
    /// Stop accepting, let requests in flight finish, close connections.
    Drain,
}

/// A worker's part of a scrape.
#[derive(Debug)]
pub(crate) struct Scrape {
    pub(crate) drained: Drained,
    pub(crate) connections: usize,
    pub(crate) connections_total: u64,
    pub(crate) connections_refused_total: u64,
    pub(crate) idle_upstream_connections: usize,
    /// The latest measured delay of the worker's timer behind its due time, microseconds: how busy the loop is.
    pub(crate) lag_us: u64,
}
