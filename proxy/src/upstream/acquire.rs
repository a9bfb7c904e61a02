//! in → out: a cluster → an HTTP/1 connection to one of its endpoints, ready for a request that counts as in flight.
//! owns: the way of a request to its connection: idle, newly dialled, or waited for at the limit.
//! may not touch: requests, the limits' arithmetic.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use weft_proxy_core::balance::Load;
use weft_proxy_core::cluster::{Balance, Health};

use super::admit::{Grant, Overflow, PendingPermit, Wants};
use super::cluster::Cluster;
use super::connect::connect;
use super::endpoint::EndpointState;
use super::pool::UpstreamConnection;
use super::tries::Tries;
use crate::http::exchange::Exchange;
use crate::http::failure::Failure;
use crate::worker::Worker;

/// Endpoints among which that of an offered connection is looked up; in larger sets the offer is declined instead.
const LOOKED_UP_MAX: usize = 1024;

/// Requests for which a connection at the limit stays with its endpoint although those who wait would go elsewhere: its
/// handshake is worth some requests, and the others get their turn after them.
const TURN_REQUESTS: u32 = 16;
/// So many will do when they have taken long: at a slow endpoint a handshake is worth less.
const LONG_TURN_REQUESTS: u32 = 4;
const LONG_TURN: Duration = Duration::from_millis(100);

/// Where the connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// An idle one, if there is one.
    Any,
    /// Only one whose upstream has just been asked whether it is alive: dialled, or handed over and ready.
    Fresh,
}

/// A connection with which a request may go out.
///
/// Cancel safe: dropping the future leaves the queue and closes what is being dialled.
pub(super) async fn acquire(
    worker: &Rc<Worker>,
    cluster: &Arc<Cluster>,
    source: Source,
    tries: &Tries<'_>,
    exchange: &mut Exchange,
) -> Result<UpstreamConnection, Failure> {
    let endpoint = tries.pick(worker, cluster)?;
    if source == Source::Any
        && let Some(mut connection) = worker.pool.take(&endpoint, exchange.started())
    {
        start(&endpoint, exchange);
        if is_ready(&mut connection).await {
            return admit(worker, connection, exchange);
        }
        exchange.clear_active();
    }
    // Before the box: a refusal is cheap.
    let pending = cluster.state.admission.pending(Wants::Connection).await?;
    // Boxed: requests that find an idle connection do not carry its size.
    Box::pin(connect_or_wait(worker, cluster, endpoint, pending, tries, exchange)).await
}

/// The request is pending until it has a connection.
async fn connect_or_wait(
    worker: &Rc<Worker>,
    cluster: &Arc<Cluster>,
    mut endpoint: Arc<EndpointState>,
    pending: PendingPermit<'_>,
    tries: &Tries<'_>,
    exchange: &mut Exchange,
) -> Result<UpstreamConnection, Failure> {
    let admission = &cluster.state.admission;
    let mut place = None;
    let mut permit = admission.try_connection();
    loop {
        if let Some(permit) = permit.take() {
            admission.has_room()?;
            start(&endpoint, exchange);
            let dialling = admission.dialling();
            let connection = connect(cluster, &endpoint, permit).await.map_err(Failure::Upstream)?;
            drop(dialling);
            // Before it is in flight: whoever finds no idle connection finds the place free.
            drop(pending);
            return admit(worker, connection, exchange);
        }
        if cluster.config.limits.connections_max == 0 {
            return Err(Failure::Overflow(Overflow::Connections));
        }
        let waiting = admission.wait(&worker.pool, place);
        // Should what is granted be of no use, the request goes on waiting where it was.
        place = Some(waiting.ticket());
        let grant = waiting.await?;
        // Who waits has no endpoint: it is picked among those of now.
        endpoint = tries.pick(worker, cluster)?;
        match grant {
            Grant::Permit(granted) => permit = Some(granted),
            Grant::Connection(mut connection)
                if connection.endpoint.id == endpoint.id
                    || tries.allows(&connection.endpoint) && suits(cluster, &connection, &endpoint) =>
            {
                start(&connection.endpoint, exchange);
                if is_ready(&mut connection).await {
                    drop(pending);
                    return admit(worker, *connection, exchange);
                }
                exchange.clear_active();
            }
            // It leads elsewhere: its close brings the permit for the one that is needed.
            // Nobody lends a stream to who speaks HTTP/1.
            Grant::Connection(_) | Grant::Stream(_) => {}
        }
    }
}

/// Whether a connection to `offered` will do for a request whose turn fell on `picked`. Where the least loaded is wanted, one
/// that has less to do is as good a pick, and so is one that has as much. If that is nothing only for a turn: at a limit of one
/// connection the first endpoint would keep it.
fn suits(cluster: &Cluster, connection: &UpstreamConnection, picked: &Arc<EndpointState>) -> bool {
    let by_load = matches!(cluster.config.balance, Balance::LeastRequest { .. });
    let offered = &connection.endpoint;
    let (active, other) = (offered.active(), picked.active());
    let is_over = other == 0
        && (connection.requests >= TURN_REQUESTS
            || connection.requests >= LONG_TURN_REQUESTS && connection.has_served(LONG_TURN));
    if !by_load || offered.is_removed() || active > other || is_over {
        return false;
    }
    let live = cluster.state.endpoints();
    let place_of = |endpoint| {
        let mut states = live.states.iter().take(LOOKED_UP_MAX);
        states.position(|one| Arc::ptr_eq(one, endpoint))
    };
    let (Some(place), Some(turn)) = (place_of(offered), place_of(picked)) else {
        return false;
    };
    let endpoints = live.set.endpoints();
    endpoints[place].health == Health::Healthy
        && endpoints[place].priority == endpoints[turn].priority
        && endpoints[place].weight == endpoints[turn].weight
        && !live.is_ejected(place)
}

fn start(endpoint: &Arc<EndpointState>, exchange: &mut Exchange) {
    exchange.set_destination(&endpoint.labels);
    exchange.set_active(endpoint.start_request());
}

/// With its connection the request is in flight; the connection is of use to others if it may not be.
fn admit(
    worker: &Worker,
    connection: UpstreamConnection,
    exchange: &mut Exchange,
) -> Result<UpstreamConnection, Failure> {
    match exchange.admit() {
        Ok(()) => Ok(connection),
        Err(overflow) => {
            worker.pool.put(connection);
            Err(Failure::Overflow(overflow))
        }
    }
}

/// Whether the connection takes a request. A driver that has not run since the last response is given its turn.
async fn is_ready(connection: &mut UpstreamConnection) -> bool {
    connection.sender.is_ready() || connection.sender.ready().await.is_ok()
}
