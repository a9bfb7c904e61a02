//! The upstream side: cluster, endpoint, socket.

use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;
use weft_proxy_core::chain::{Listener, Origin, TcpProxy};
use weft_proxy_core::outlier::Event;

use super::tally::Tally;
use crate::http::conn_state::ConnState;
use crate::http::failure::{Failure, RouteFailure};
use crate::telemetry::labels::DestinationLabels;
use crate::upstream::admit::{Admission, ConnectionPermit};
use crate::upstream::attempt::pick_endpoint;
use crate::upstream::cluster::Cluster;
use crate::upstream::connect::dial;
use crate::upstream::endpoint::ActiveGuard;
use crate::worker::Worker;

/// An open connection to an endpoint.
pub(crate) struct Opened {
    pub(super) stream: TcpStream,
    /// To be dropped after the stream: what the connection counts for, at its endpoint and against the limit.
    pub(super) held: Held,
    pub(super) tally: Tally,
    admission: Arc<Admission>,
}

/// What a connection counts for, until it is closed.
pub(crate) struct Held {
    _active: ActiveGuard,
    _permit: ConnectionPermit,
}

impl Opened {
    /// Resolves when the upstream has sent something (`true`) or has ended.
    ///
    /// Cancel safe: nothing is taken from the socket.
    pub(crate) async fn speaks(&self) -> bool {
        let mut byte = [0];
        matches!(self.stream.peek(&mut byte).await, Ok(1..))
    }

    /// Whether a request waits for the limit that the connection counts against.
    pub(crate) fn is_wanted(&self) -> bool {
        self.admission.has_waiters() || self.admission.has_surplus()
    }
}

/// Connects to an endpoint of the cluster whose turn it is, for a client that has not spoken. `None` when that cannot be
/// done now; only an endpoint that does not answer takes notice of it.
///
/// Cancel safe: dropping the future closes the socket.
pub(crate) async fn guess(
    worker: &Rc<Worker>,
    proxy: &TcpProxy,
    origin: &Origin,
    state: &Arc<ConnState>,
) -> Option<Opened> {
    let tally = Tally::guess(worker.clone(), origin);
    let slot = proxy.choose().slot;
    let cluster = worker.with_snapshot(|snapshot| snapshot.cluster(slot).cloned())?;
    let permit = cluster.state.admission.try_connection()?;
    connect(worker, proxy, origin, state, (cluster, permit, tally))
        .await
        .ok()
}

/// Connects to an endpoint of the cluster whose turn it is. Each try picks anew.
///
/// Cancel safe: dropping the future closes the socket.
pub(super) async fn open(
    worker: &Rc<Worker>,
    proxy: &TcpProxy,
    (listener, origin): (&Arc<Listener>, &Origin),
    state: &Arc<ConnState>,
    mut tally: Tally,
) -> Result<Opened, (Failure, Tally)> {
    let cluster = match cluster(worker, listener, proxy) {
        Ok(cluster) => cluster,
        Err(failure) => return Err((failure, tally)),
    };
    tally.set_destination(&cluster.labels);
    // Nobody waits here: over the limit, the client is told at once.
    match cluster.state.admission.connection() {
        Ok(permit) => connect(worker, proxy, origin, state, (cluster, permit, tally)).await,
        Err(overflow) => Err((overflow.into(), tally)),
    }
}

fn cluster(worker: &Worker, listener: &Arc<Listener>, proxy: &TcpProxy) -> Result<Arc<Cluster>, Failure> {
    let slot = proxy.choose().slot;
    worker
        .with_snapshot(|snapshot| snapshot.cluster_for(listener, slot).cloned())
        .ok_or(Failure::Route(RouteFailure::NoCluster))
}

async fn connect(
    worker: &Rc<Worker>,
    proxy: &TcpProxy,
    origin: &Origin,
    state: &Arc<ConnState>,
    (cluster, permit, mut tally): (Arc<Cluster>, ConnectionPermit, Tally),
) -> Result<Opened, (Failure, Tally)> {
    let admission = cluster.state.admission.clone();
    let goal = Goal {
        cluster,
        permit,
        attempts_max: proxy.connect_attempts_max,
    };
    match reach(worker, goal, origin, state, |labels| tally.set_destination(labels)).await {
        Ok(Reached { stream, held }) => Ok(Opened {
            stream,
            held,
            tally,
            admission,
        }),
        Err(failure) => Err((failure, tally)),
    }
}

/// Where a connection is to go, and its right to.
pub(crate) struct Goal {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) permit: ConnectionPermit,
    pub(crate) attempts_max: u32,
}

/// A connection to an endpoint, and what it counts for; to be dropped in this order.
pub(crate) struct Reached {
    pub(crate) stream: TcpStream,
    pub(crate) held: Held,
}

/// Connects to an endpoint of a cluster. Each try picks anew; `note` learns where the connection goes.
///
/// Cancel safe: dropping the future closes the socket.
pub(crate) async fn reach(
    worker: &Rc<Worker>,
    goal: Goal,
    origin: &Origin,
    state: &Arc<ConnState>,
    mut note: impl FnMut(&Arc<DestinationLabels>),
) -> Result<Reached, Failure> {
    let cluster = goal.cluster;
    let mut tries = goal.attempts_max;
    loop {
        let endpoint = pick_endpoint(worker, &cluster, origin.original_destination(), None)?;
        note(&endpoint.labels);
        let active = endpoint.start();
        match dial(&cluster, &endpoint).await {
            Ok(stream) => {
                endpoint.observe(Event::ConnectedTcp);
                let held = Held {
                    _active: active,
                    _permit: goal.permit,
                };
                return Ok(Reached { stream, held });
            }
            Err(failure) => {
                endpoint.counters.failures.increment();
                endpoint.observe(Event::Unreachable);
                tries = tries.saturating_sub(1);
                if tries == 0 || state.is_draining() {
                    return Err(Failure::Upstream(failure));
                }
            }
        }
    }
}
