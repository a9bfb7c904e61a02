//! in → out: a cluster and a request → the response head of one endpoint, or exactly one failure.
//! owns: one attempt: pick, connection, send.
//! may not touch: route matching, what the failure looks like to the client.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response, Version};
use hyper::body::Incoming;
use weft_proxy_core::balance::{Cursor, HashChoice, Load, NoEndpoint, pick};
use weft_proxy_core::cluster::{Balance, ClusterKind};

use super::acquire::{Source, acquire};
use super::cluster::{Cluster, LiveEndpoints};
use super::endpoint::EndpointState;
use super::h2;
use super::h2_pool::StreamLease;
use super::pool::{Lease, UpstreamConnection};
use super::tries::Tries;
use super::{original, response};
use crate::http::body::RequestBody;
use crate::http::exchange::Exchange;
use crate::http::failure::{Failure, RouteFailure, UpstreamFailure};
use crate::worker::Worker;

/// Pooled connections that may turn out to be closed before the request is on its way; the next try dials.
const STALE_CONNECTIONS_MAX: u32 = 3;

/// A response whose head has arrived, with the connection that its body still comes from.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) endpoint: Arc<EndpointState>,
    pub(crate) hold: Hold,
}

/// What a response keeps busy until it has been read.
pub(crate) enum Hold {
    /// A whole connection. Dropped before [`Hold::complete`], it is closed.
    Http1(Lease),
    /// A stream, given back in either case.
    Http2(StreamLease),
}

impl Hold {
    /// The response has been read to its end.
    pub(crate) fn complete(self) {
        match self {
            Self::Http1(lease) => lease.complete(),
            Self::Http2(stream) => drop(stream),
        }
    }
}

/// Sends the request in `slot` to one endpoint of a cluster, and leaves it there if nothing of it has left.
///
/// Cancel safe in the sense of a time limit: dropping the future closes the connection that the request is on.
pub(super) async fn send(
    worker: &Rc<Worker>,
    cluster: &Arc<Cluster>,
    slot: &mut Option<Request<RequestBody>>,
    tries: &Tries<'_>,
    exchange: &mut Exchange,
) -> Result<Answer, Failure> {
    if tries.version == Version::HTTP_2 {
        // Boxed: requests to HTTP/1 do not carry its size.
        return Box::pin(send_on_stream(worker, cluster, slot, tries, exchange)).await;
    }
    for tried in 0..=STALE_CONNECTIONS_MAX {
        let source = if tried < STALE_CONNECTIONS_MAX {
            Source::Any
        } else {
            Source::Fresh
        };
        let connection = acquire(worker, cluster, source, tries, exchange).await?;
        if let Some(sent) = send_on(worker, connection, slot).await {
            return sent.map_err(Failure::Upstream);
        }
        exchange.clear_active();
    }
    Err(Failure::Upstream(UpstreamFailure::Stale))
}

async fn send_on_stream(
    worker: &Rc<Worker>,
    cluster: &Arc<Cluster>,
    slot: &mut Option<Request<RequestBody>>,
    tries: &Tries<'_>,
    exchange: &mut Exchange,
) -> Result<Answer, Failure> {
    let endpoint = tries.pick(worker, cluster)?;
    exchange.set_destination(&endpoint.labels);
    exchange.set_active(endpoint.start_request());
    match h2::send(worker, cluster, &endpoint, slot, exchange).await {
        Ok((response, stream)) => Ok(Answer {
            response,
            endpoint,
            hold: Hold::Http2(stream),
        }),
        Err(failure) => {
            if let Failure::Upstream(_) = failure {
                endpoint.counters.failures.increment();
            }
            Err(failure)
        }
    }
}

/// The key by which a request chooses an endpoint, where its cluster hashes; it rides with the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EndpointKeyHash(pub(crate) u64);

/// An endpoint of the cluster, as its balancing says; `destination` is what the client dialled, where that is known.
pub(crate) fn pick_endpoint(
    worker: &Worker,
    cluster: &Cluster,
    destination: Option<SocketAddr>,
    hash: Option<EndpointKeyHash>,
) -> Result<Arc<EndpointState>, Failure> {
    if let ClusterKind::OriginalDst(kind) = &cluster.config.kind {
        return original::find(worker, cluster, kind, destination);
    }
    let live = cluster.state.endpoints();
    pick_among(worker, cluster, &live, &**live, hash, 0)
}

/// The same, among endpoints whose load is seen in another light; `attempt` counts the picks for one try.
pub(super) fn pick_among(
    worker: &Worker,
    cluster: &Cluster,
    live: &LiveEndpoints,
    load: &impl Load,
    hash: Option<EndpointKeyHash>,
    attempt: u32,
) -> Result<Arc<EndpointState>, Failure> {
    let pick = |cursor: &mut Cursor| pick(&cluster.config, &live.set, load, worker.random(), cursor);
    let place = match cluster.config.balance {
        Balance::RoundRobin => worker.with_cursor(cluster.slot, pick),
        Balance::Hash(_) => {
            let hash = hash.map_or_else(|| worker.random(), |EndpointKeyHash(hash)| hash);
            pick_by_hash(cluster, live, load, hash, attempt)
        }
        Balance::LeastRequest { .. } | Balance::Random | Balance::OriginalDst => pick(&mut Cursor::starting_at(0)),
    };
    match place {
        Ok(place) => Ok(live.states[place].clone()),
        Err(_none) => Err(Failure::Route(RouteFailure::NoEndpoint)),
    }
}

fn pick_by_hash(
    cluster: &Cluster,
    live: &LiveEndpoints,
    load: &impl Load,
    hash: u64,
    attempt: u32,
) -> Result<usize, NoEndpoint> {
    let choice = HashChoice::new(&cluster.config, &live.set, load, hash).unwrap_or(Err(NoEndpoint::Empty))?;
    let table = live.tables.table(&choice, &live.set, load);
    table.pick(hash, attempt).ok_or(NoEndpoint::Unhealthy)
}

/// `None` when nothing of the request has left: it is in `slot` again and can go on another connection.
async fn send_on(
    worker: &Rc<Worker>,
    mut connection: UpstreamConnection,
    slot: &mut Option<Request<RequestBody>>,
) -> Option<Result<Answer, UpstreamFailure>> {
    let request = slot.take()?;
    connection.requests = connection.requests.saturating_add(1);
    let failure = match connection.sender.try_send_request(request).await {
        Ok(response) if !response::has_one_length(response.headers()) => UpstreamFailure::Protocol,
        Ok(response) => {
            return Some(Ok(Answer {
                response,
                endpoint: connection.endpoint.clone(),
                hold: Hold::Http1(Lease::new(connection, worker.pool.clone())),
            }));
        }
        Err(mut error) => match error.take_message() {
            Some(request) => {
                *slot = Some(request);
                return None;
            }
            None => failure_of(error.error()),
        },
    };
    connection.endpoint.counters.failures.increment();
    Some(Err(failure))
}

/// What hyper's error means. Its text is never looked at.
fn failure_of(error: &hyper::Error) -> UpstreamFailure {
    if error.is_parse() || error.is_parse_too_large() {
        UpstreamFailure::Protocol
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() || is_io(error) {
        UpstreamFailure::Closed
    } else {
        UpstreamFailure::Protocol
    }
}

fn is_io(error: &hyper::Error) -> bool {
    error.source().is_some_and(|source| source.is::<io::Error>())
}
