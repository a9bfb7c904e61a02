//! in → out: a request and an endpoint that speaks HTTP/2 → the response head on a stream, or exactly one failure.
//! owns: the form that a request has in HTTP/2, and sending again what an ended connection had not looked at.
//! may not touch: picking, what the failure looks like to the client.

use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONNECTION, HOST, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;

use super::cluster::Cluster;
use super::endpoint::EndpointState;
use super::h2_connection::{self, Unanswered};
use super::h2_pool::StreamLease;
use crate::http::body::RequestBody;
use crate::http::exchange::Exchange;
use crate::http::failure::{Failure, UpstreamFailure};
use crate::worker::Worker;

/// Connections that may turn out to be ended before the request is on its way.
const STALE_CONNECTIONS_MAX: u32 = 3;

/// Sends the request in `slot` on a stream, and leaves it there if the upstream has not looked at it. The exchange tells
/// meanwhile whether it is the endpoint that is waited for, and not a place below the limits. Cancel safe: dropping the
/// future resets the stream.
pub(super) async fn send(
    worker: &Rc<Worker>,
    cluster: &Cluster,
    endpoint: &Arc<EndpointState>,
    slot: &mut Option<Request<RequestBody>>,
    exchange: &mut Exchange,
) -> Result<(Response<Incoming>, StreamLease), Failure> {
    slot.as_mut().map(take_form);
    let mut ended_before = false;
    for _ in 0..=STALE_CONNECTIONS_MAX {
        exchange.asked().set(false);
        let acquired = worker.http2_pool.acquire(worker, cluster, endpoint, exchange.asked());
        let mut lease = acquired.await?;
        exchange.asked().set(true);
        exchange.admit()?;
        let copy = slot.as_ref().and_then(copy_of);
        let Some(request) = slot.take() else { break };
        match h2_connection::send(&mut lease, request).await {
            Ok(response) => return Ok((response, lease)),
            Err(Unanswered::Returned(returned)) => {
                worker.http2_pool.retire(&lease);
                *slot = Some(*returned);
            }
            Err(Unanswered::Refused(failure)) => {
                *slot = copy;
                // What it refuses for itself the rule's retries may send again: here that would multiply with them. The
                // end of a connection says nothing about the request.
                if failure != UpstreamFailure::GoAway {
                    return Err(Failure::Upstream(failure));
                }
                worker.http2_pool.retire(&lease);
                if slot.is_none() || ended_before {
                    return Err(Failure::Upstream(failure));
                }
                ended_before = true;
            }
            Err(Unanswered::Failed(failure)) => return Err(Failure::Upstream(failure)),
        }
    }
    Err(Failure::Upstream(UpstreamFailure::Stale))
}

/// A request without a body can be sent again as it is.
fn copy_of(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let RequestBody::Empty = request.body() else {
        return None;
    };
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// `Host` becomes `:authority`, and what upgrades a connection goes: there is none to upgrade (RFC 9113, sections 8.2.2
/// and 8.3.1). A `Host` that is no authority stays what it is.
fn take_form(request: &mut Request<RequestBody>) {
    let headers = request.headers_mut();
    headers.remove(CONNECTION);
    headers.remove(UPGRADE);
    let authority = headers
        .get(HOST)
        .and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let Some(authority) = authority else {
        if request.uri().authority().is_some() {
            // It has the form already: this is another try.
            return;
        }
        // Without an authority the codec asks for a version that may lack it.
        *request.version_mut() = Version::HTTP_11;
        return;
    };
    let path = request.uri().path_and_query().cloned();
    let uri = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(authority)
        .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
        .build();
    if let Ok(uri) = uri {
        *request.uri_mut() = uri;
        request.headers_mut().remove(HOST);
    } else {
        *request.version_mut() = Version::HTTP_11;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_becomes_the_authority() {
        for (host, path, uri, left) in [
            ("a.test:8080", "/x?y=z", "http://a.test:8080/x?y=z", false),
            ("a b", "/x", "/x", true),
        ] {
            let mut request = Request::builder()
                .uri(path)
                .version(Version::HTTP_2)
                .header(HOST, host)
                .header(CONNECTION, "upgrade")
                .header(UPGRADE, "websocket")
                .header("te", "trailers")
                .body(RequestBody::Empty)
                .unwrap();
            take_form(&mut request);
            assert_eq!(request.uri(), uri);
            assert_eq!(request.headers().contains_key(HOST), left);
            assert!(!request.headers().contains_key(CONNECTION) && !request.headers().contains_key(UPGRADE));
            assert_eq!(request.headers()["te"], "trailers");
        }
    }
}
