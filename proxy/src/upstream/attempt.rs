//! in → out: a cluster and a request → the response head of one endpoint, or exactly one failure.
//! owns: the attempt: pick, connection, send.
//! may not touch: route matching, what the failure looks like to the client.

use std::error::Error;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use weft_proxy_core::balance::{Cursor, pick};
use weft_proxy_core::cluster::Balance;

use super::cluster::Cluster;
use super::connect::connect;
use super::endpoint::EndpointState;
use super::pool::{Lease, UpstreamConnection};
use super::response;
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
    pub(crate) lease: Lease,
}

/// Sends a request to one endpoint of a cluster.
///
/// Cancel safe in the sense of a time limit: dropping the future closes the connection that the request is on.
pub(crate) async fn send(
    worker: &Rc<Worker>,
    cluster: &Arc<Cluster>,
    mut request: Request<RequestBody>,
    exchange: &mut Exchange,
) -> Result<Answer, Failure> {
    let endpoint = pick_endpoint(worker, cluster)?;
    exchange.set_destination(&endpoint.labels);
    exchange.set_active(endpoint.start());
    for tried in 0..=STALE_CONNECTIONS_MAX {
        let pooled = if tried < STALE_CONNECTIONS_MAX {
            worker.pool.take(&endpoint)
        } else {
            None
        };
        let connection = match pooled {
            Some(connection) => connection,
            None => connect(cluster, &endpoint).await.map_err(Failure::Upstream)?,
        };
        match send_on(worker, connection, request).await {
            Ok(answer) => return Ok(answer),
            Err(Unsent::Returned(returned)) => request = *returned,
            Err(Unsent::Failed(failure)) => {
                endpoint.counters.failures.increment();
                return Err(Failure::Upstream(failure));
            }
        }
    }
    endpoint.counters.failures.increment();
    Err(Failure::Upstream(UpstreamFailure::Stale))
}

fn pick_endpoint(worker: &Worker, cluster: &Cluster) -> Result<Arc<EndpointState>, Failure> {
    let live = cluster.state.endpoints();
    let pick = |cursor: &mut Cursor| pick(&cluster.config, &live.set, &**live, worker.random(), cursor);
    let place = match cluster.config.balance {
        Balance::RoundRobin => worker.with_cursor(cluster.slot, pick),
        Balance::LeastRequest { .. } | Balance::Random | Balance::Hash(_) | Balance::OriginalDst => {
            pick(&mut Cursor::starting_at(0))
        }
    };
    match place {
        Ok(place) => Ok(live.states[place].clone()),
        Err(_none) => Err(Failure::Route(RouteFailure::NoEndpoint)),
    }
}

enum Unsent {
    /// Nothing of it has left: it can go on another connection.
    Returned(Box<Request<RequestBody>>),
    Failed(UpstreamFailure),
}

async fn send_on(
    worker: &Rc<Worker>,
    mut connection: UpstreamConnection,
    request: Request<RequestBody>,
) -> Result<Answer, Unsent> {
    if !connection.sender.is_ready() && connection.sender.ready().await.is_err() {
        return Err(Unsent::Returned(Box::new(request)));
    }
    connection.requests = connection.requests.saturating_add(1);
    match connection.sender.try_send_request(request).await {
        Ok(response) if !response::has_one_length(response.headers()) => Err(Unsent::Failed(UpstreamFailure::Protocol)),
        Ok(response) => Ok(Answer {
            response,
            endpoint: connection.endpoint.clone(),
            lease: Lease::new(connection, worker.pool.clone()),
        }),
        Err(mut error) => match error.take_message() {
            Some(request) => Err(Unsent::Returned(Box::new(request))),
            None => Err(Unsent::Failed(failure_of(error.error()))),
        },
    }
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
